"""A small MQTT 5 client for simulated cabinets: ten thousand connections fit into one process.

It has what a cabinet's connection needs and no more: will with delay, persistent session, QoS 1 without a store of its
own (facts are sent again by the cabinet), ping. The products use a library.
"""

import asyncio
import ssl
import struct
from collections.abc import Callable

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP = 1, 2, 3, 4, 8, 9, 12, 13
DISCONNECT = 14
SESSION_EXPIRY, WILL_DELAY = 0x11, 0x18
CONNECT_TIMEOUT_S = 20.0


class MqttClosed(Exception):
    """The connection was refused or lost."""


class MqttConnection(asyncio.Protocol):
    """One connection; `received` gets payloads of the topic that was subscribed to."""

    def __init__(self, identifier: str, received: Callable[[bytes], None], keepalive_s: int = 60) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._identifier = identifier
        self._received = received
        self._keepalive_s = keepalive_s
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._packet_id = 0
        self._ping: asyncio.TimerHandle | None = None

    async def connect(
        self,
        host: str,
        port: int,
        topic: str,
        will: tuple[str, bytes],
        will_delay_s: int,
        session_s: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect, subscribe to `topic`, and return when both are confirmed. Raises MqttClosed or OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: self, host, port, ssl=tls)
            properties = bytes([SESSION_EXPIRY]) + struct.pack(">I", session_s)
            will_properties = bytes([WILL_DELAY]) + struct.pack(">I", will_delay_s)
            flags = 0x04 | 0x08 | 0x20  # a will with QoS 1 that is retained; no clean start
            body = _text(b"MQTT") + struct.pack(">BBH", 5, flags, self._keepalive_s)
            body += _prefixed(properties) + _text(self._identifier.encode()) + _prefixed(will_properties)
            body += _text(will[0].encode()) + _text(will[1])
            await self._ask(CONNECT, 0, body, CONNACK)
            self._packet_id += 1
            await self._ask(
                SUBSCRIBE, 2, struct.pack(">H", self._packet_id) + b"\0" + _text(topic.encode()) + b"\1", SUBACK
            )
        self._schedule_ping()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish with QoS 1."""
        self._packet_id = self._packet_id % 65535 + 1
        body = _text(topic.encode()) + struct.pack(">H", self._packet_id) + b"\0" + payload
        self._write(PUBLISH, 0x02 | retain, body)

    def abort(self) -> None:
        """Close without a goodbye: the will follows."""
        if self._transport is not None:
            self._transport.abort()

    async def _ask(self, kind: int, flags: int, body: bytes, answer: int) -> None:
        future = self._answers[answer] = asyncio.get_running_loop().create_future()
        self._write(kind, flags, body)
        done, _ = await asyncio.wait([future, self.closed], return_when=asyncio.FIRST_COMPLETED)
        if future not in done or future.result() >= 0x80:
            raise MqttClosed(f"{self._identifier}: refused")

    def _write(self, kind: int, flags: int, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(bytes([kind << 4 | flags]) + _length(len(body)) + body)

    def _schedule_ping(self) -> None:
        def ping() -> None:
            self._write(PINGREQ, 0, b"")
            self._schedule_ping()

        self._ping = asyncio.get_running_loop().call_later(self._keepalive_s * 0.7, ping)

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ping is not None:
            self._ping.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (packet := self._packet()) is not None:
            head, body = packet
            kind = head >> 4
            if kind == PUBLISH:
                self._publication(head, body)
            elif kind in (CONNACK, SUBACK):
                future = self._answers.pop(kind, None)
                if future is not None and not future.done():
                    future.set_result(body[1] if kind == CONNACK else body[-1])
            elif kind == DISCONNECT:
                self.abort()

    def _packet(self) -> tuple[int, bytes] | None:
        """Take one whole packet off the buffer."""
        length, shift, start = 0, 0, 1
        while True:
            if len(self._buffer) <= start:
                return None
            byte = self._buffer[start]
            length |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if byte < 0x80:
                break
        if len(self._buffer) < start + length:
            return None
        head, body = self._buffer[0], bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return head, body

    def _publication(self, head: int, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        if head & 0x06:
            self._write(PUBACK, 0, body[at : at + 2])
            at += 2
        properties, size = body[at], 1
        if properties >= 0x80:  # no broker sends this much to a cabinet
            properties, size = (properties & 0x7F) | body[at + 1] << 7, 2
        self._received(body[at + size + properties :])


def _text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _prefixed(properties: bytes) -> bytes:
    return _length(len(properties)) + properties


def _length(value: int) -> bytes:
    """Return a variable byte integer."""
    found = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        found.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(found)
