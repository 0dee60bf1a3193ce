"""The guard's client for the service (asyncio), which may wait; the guard never waits for it."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.link import guard_protocol
from cabinet.link.client import timeval
from cabinet.link.guard_protocol import (
    Acknowledge,
    BusView,
    Command,
    Done,
    Hello,
    Recent,
    Refusal,
    Role,
    Welcome,
)
from cabinet.maintenance import MaintenanceState
from cabinet.model import Event, Snapshot

log = logging.getLogger(__name__)

MIN_RETRY_S = 0.1
MAX_RETRY_S = 2.0
CONNECT_WITHIN_S = 2.0


class GuardLink:
    """Connection to the guard: passes on snapshots and events, sends commands, reconnects by itself.

    `on_event` is awaited event by event, in order, independent of the reading of replies: it may itself call `request`.
    If it raises a CabinetError or OSError, the event is passed on again after the next connection, as it was not
    acknowledged; any other exception is a bug and ends `run`.
    """

    def __init__(
        self,
        path: Path,
        role: Role,
        on_snapshot: Callable[[Snapshot], None],
        on_event: Callable[[Event], Awaitable[None]],
        on_link: Callable[[bool], None],
    ) -> None:
        self._path = path
        self._role = role
        self._on_snapshot = on_snapshot
        self._on_event = on_event
        self._on_link = on_link
        self._socket: socket.socket | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Done | Refusal]] = {}
        self.connected = False
        self.welcome: Welcome | None = None

    async def run(self) -> None:
        """Connect, and reconnect whenever the guard is lost; return only when cancelled."""
        retry_s = MIN_RETRY_S
        while True:
            try:
                await self._connected_life()
                retry_s = MIN_RETRY_S
            except (OSError, CabinetError) as error:
                log.warning("guard link: %s; trying again in %.1f s", error, retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def request(self, make: Callable[[int], Command], timeout_s: float = 2.0) -> None:
        """Send the command that `make` builds with its id; return when the guard has executed it.

        Raises Refused with the guard's code, or with `guard_unreachable` if there is no guard or no answer in time. In
        that case the command may still have been executed, and sending it again is safe.
        """
        if self._socket is None or not self.connected:
            raise Refused("guard_unreachable")
        command_id = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = answer
        try:
            self._send(make(command_id))
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except (OSError, TimeoutError, LinkError) as error:
            raise Refused("guard_unreachable") from error
        finally:
            self._waiting.pop(command_id, None)
        if isinstance(reply, Refusal):
            raise Refused(reply.code, **reply.params)

    def acknowledge(self, guard_run: str, seq: int) -> None:
        """Allow the guard to drop events up to `seq`; the next acknowledgement makes up for a lost one."""
        if self._socket is not None and self.connected:
            with contextlib.suppress(OSError):
                self._send(Acknowledge(guard_run, seq))

    def _send(self, message: guard_protocol.FromClient) -> None:
        """Send one datagram to the guard, which reads every tick. Raises OSError if its queue is full or it is gone."""
        assert self._socket is not None
        self._socket.send(guard_protocol.encode(message))

    async def _connected_life(self) -> None:
        events: asyncio.Queue[Event] = asyncio.Queue()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(CONNECT_WITHIN_S))
            await asyncio.to_thread(sock.connect, str(self._path))  # as BlockingGuard: gets its turn in a flood too
            sock.setblocking(False)
            self._socket = sock
            handler = asyncio.create_task(self._hand_over(events))
            try:
                self._send(Hello(self._role))
                await self._read_until_closed(sock, events, handler)
            finally:
                handler.cancel()
                self._socket = None
                self._lost()

    async def _read_until_closed(
        self, sock: socket.socket, events: asyncio.Queue[Event], handler: asyncio.Task[None]
    ) -> None:
        loop = asyncio.get_running_loop()
        while not handler.done():
            reading = asyncio.ensure_future(loop.sock_recv(sock, guard_protocol.MAX_FRAME))
            await asyncio.wait({reading, handler}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                break
            frame = reading.result()
            if not frame:
                return
            self._take(guard_protocol.decode_from_guard(frame), events)
        await handler  # raises what on_event raised

    def _take(self, message: guard_protocol.FromGuard, events: asyncio.Queue[Event]) -> None:
        if isinstance(message, Snapshot):
            self._on_snapshot(message)
        elif isinstance(message, Event):
            events.put_nowait(message)
        elif isinstance(message, Welcome):
            self.welcome = message
            self.connected = True
            self._on_link(True)
        elif isinstance(message, BusView | Recent | MaintenanceState):
            raise LinkError(f"{self._path}: a {type(message).__name__} that nobody asked for")
        elif not self.connected and isinstance(message, Refusal):
            raise LinkError(f"{self._path}: the guard does not take user {os.geteuid()} as {self._role.value}")
        elif (answer := self._waiting.get(message.id)) is not None and not answer.done():
            answer.set_result(message)

    async def _hand_over(self, events: asyncio.Queue[Event]) -> None:
        while True:
            await self._on_event(await events.get())

    def _lost(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkError(f"{self._path}: the guard went away"))
        if self.connected:
            self.connected = False
            self._on_link(False)
