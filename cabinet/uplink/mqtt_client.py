"""aiomqtt's client with its gaps closed, for the cabinet's uplink and the fleet.

Found with aiomqtt 2.5.1: a connection that is lost just after the broker's first answer counts as open for ever;
publish and subscribe wait for their whole timeout although the connection is lost; after a failed attempt the socket
stays open; a socket that is closed at once is still given to the event loop, by a number that another may have by then.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode


class MqttClient(aiomqtt.Client):
    """One connection: `open`, then publish and read `incoming` until MqttError, then `drop`. Never used again."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._lost = asyncio.Event()
        self._dropped = False
        self._loss = aiomqtt.MqttError("the connection is lost")

    def connect_within(self, seconds: float) -> None:
        """Set the timeout of TCP, and again of TLS."""
        self._client.connect_timeout = seconds

    async def open(self) -> None:
        """Connect. Raises MqttError."""
        connecting = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._drop_late)  # its thread may connect yet
            raise
        self._check()

    def peer_certificate(self) -> dict[str, Any]:
        """Return the broker's certificate, as `ssl` decodes it; empty without TLS."""
        sock = self._client.socket()
        return dict(sock.getpeercert() or {}) if isinstance(sock, ssl.SSLSocket) else {}

    async def publish(self, *words: Any, **options: Any) -> None:
        await self._unless_lost(super().publish(*words, **options))

    async def subscribe(self, *words: Any, **options: Any) -> Any:
        return await self._unless_lost(super().subscribe(*words, **options))

    async def incoming(self) -> AsyncIterator[aiomqtt.Message]:
        """Yield each message. Raises MqttError when the connection is lost."""
        while True:
            yield await self._unless_lost(self._queue.get())

    async def gone(self) -> None:
        """Return when the connection is lost."""
        await self._lost.wait()

    def drop(self) -> None:
        """Close the socket without a farewell: the broker publishes the will unless a new connection is in time."""
        self._dropped = True
        if self._misc_task is not None:
            self._misc_task.cancel()
        with contextlib.suppress(OSError, ValueError):
            self._client._sock_close()
        for pending in (self._connected, self._disconnected):
            if pending.done() and not pending.cancelled():
                pending.exception()  # retrieved: it is no unhandled error

    def _drop_late(self, connecting: "asyncio.Future[Any]") -> None:
        if not connecting.cancelled():
            connecting.exception()
        self.drop()

    # --- called by paho, in the event loop or in the thread that connects ---

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        def watch() -> None:
            if self._dropped:
                self.drop()  # given up while its thread was connecting
            elif self._is_open(sock):
                self._loop.add_reader(sock.fileno(), self._read)
                self._misc_task = self._loop.create_task(self._misc_loop())

        self._loop.call_soon_threadsafe(watch)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        def watch() -> None:
            if self._is_open(sock) and self._client.want_write():
                self._loop.add_writer(sock.fileno(), self._write)

        self._loop.call_soon_threadsafe(watch)

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:
        if sock.fileno() >= 0 and not self._loop.is_closed():
            self._loop.remove_writer(sock.fileno())

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._loop.is_closed():
            return
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
        if self._misc_task is not None:
            self._misc_task.cancel()

    def _is_open(self, sock: Any) -> bool:
        return bool(sock.fileno() >= 0 and self._client.socket() is sock)

    def _read(self) -> None:
        self._guarded(self._client.loop_read)
        sock = self._client.socket()
        while isinstance(sock, ssl.SSLSocket) and sock.pending() and self._client.socket() is sock:
            self._guarded(self._client.loop_read)  # decoded already: the event loop does not see it

    def _write(self) -> None:
        self._guarded(self._client.loop_write)

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # whatever paho raises there: the connection is of no more use
            self._note_loss(error)
            self.drop()

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Any = None
    ) -> None:
        self._loop.call_soon_threadsafe(self._note_loss, reason_code)

    def _note_loss(self, reason: object) -> None:
        if not self._lost.is_set():
            self._loss = aiomqtt.MqttError(f"the connection is lost: {reason}")
        self._lost.set()
        if not self._connected.done():  # TLS 1.3: the broker refuses a certificate after the handshake
            self._connected.set_exception(self._loss)

    def _check(self) -> None:
        if self._lost.is_set():
            raise self._loss

    async def _unless_lost(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what `work` returns. Raises MqttError, at once when the connection is lost."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._lost.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise self._loss
            return tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
