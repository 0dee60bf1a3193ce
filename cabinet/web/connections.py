"""Connections of the web server: their number in total and per source, and a deadline for each stage.

uvicorn has one limit for all clients (`limit_concurrency`) and a timeout only between two requests: a client that
sends nothing, or one byte a second, keeps its place for ever, and enough of these clients lock out all others.
Therefore this module accepts the connections. Each connection takes a seat, and each of its stages has a deadline. If
no seat is free, the source with the most connections loses one that has no complete request in progress.

A trusted proxy stands for many people: its connections have deadlines, but no limit per source.
"""

import asyncio
import contextlib
import enum
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cabinet.web.address import Networks, source_of
from cabinet.web.source_log import SourceLog
from cabinet.web.turns import Turn, Turns

ACCEPT_TURN_S = 0.005
"""Maximum time for accepting connections before the event loop continues with other work. A refusal takes
microseconds; if connections arrived faster than they are accepted, the kernel's queue would fill up, and a client that
is not in the queue waits 1 s or 3 s."""

HANDSHAKES_OF_SOURCE = 8
"""TLS handshakes of one source at the same time: each takes some milliseconds of arithmetic, and many at once would
delay all other clients."""

ACCEPT_AGAIN_S = 0.1  # after accept() has failed: the system is out of descriptors or memory
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: the kernel keeps nothing of the connection


class Stage(enum.Enum):
    """Stages of a connection; all except ANSWER have a deadline."""

    HANDSHAKE = "handshake"
    IDLE = "idle"  # no byte of a request yet
    HEADER = "header"
    BODY = "body"
    ANSWER = "answer"  # the application works or sends; it sets its own time limits
    CLOSING = "closing"


class ConnectionLimits(NamedTuple):
    max_connections: int = 500
    max_of_source: int = 100
    handshake_s: float = 5.0
    first_byte_s: float = 5.0
    header_s: float = 10.0
    body_s: float = 60.0  # the largest file, 4 MB, at half a megabit a second
    stalled_s: float = 30.0  # the peer reads none of the data sent to it

    def deadline_s(self, stage: Stage) -> float | None:
        return {
            Stage.HANDSHAKE: self.handshake_s,
            Stage.IDLE: self.first_byte_s,
            Stage.HEADER: self.header_s,
            Stage.BODY: self.body_s,
            Stage.ANSWER: None,
            Stage.CLOSING: self.stalled_s,
        }[stage]


class Seat:
    """Place of one connection, from its acceptance to its end. `drop` ends the connection."""

    def __init__(self, seats: "Seats", host: str, proxied: bool, drop: Callable[[], object]) -> None:
        self.host = host
        self.source = source_of(host)
        self.proxied = proxied
        self.drop = drop
        self.stage = Stage.HANDSHAKE
        self._seats = seats
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Start the first deadline, after the seat is taken."""
        self._arm(self._seats.limits.deadline_s(self.stage))

    def enter(self, stage: Stage) -> None:
        """Begin a stage and its deadline; if the connection is in this stage already, its deadline does not change."""
        if stage is self.stage:
            return
        self.stage = stage
        self._arm(self._seats.limits.deadline_s(stage))

    def stall(self) -> None:
        """Start the stall timer: the peer does not read the data sent to it."""
        if self._stalled is None:
            limits = self._seats.limits
            self._stalled = asyncio.get_running_loop().call_later(limits.stalled_s, lambda: self.drop())

    def flow(self) -> None:
        """Cancel the stall timer: the peer reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def leave(self) -> None:
        """Free the seat at the end of the connection. Idempotent."""
        self._arm(None)
        self.flow()
        self._seats.free(self)

    def _arm(self, after_s: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = (
            None if after_s is None else asyncio.get_running_loop().call_later(after_s, lambda: self.drop())
        )


class Seats:
    """All connections, grouped by source, the oldest first."""

    def __init__(self, limits: ConnectionLimits, proxies: Networks) -> None:
        self.limits = limits
        self.dropped = 0  # to make room
        self.refused = 0
        self._proxies = proxies
        self._taken: dict[str, dict[Seat, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, source: str) -> int:
        return len(self._taken.get(source, ()))

    def take(self, host: str, drop: Callable[[], object]) -> Seat | None:
        """Return a seat for a connection from `host`, or None if the connection is refused.

        If the source is at its own limit, one of its connections without a complete request is dropped. If all seats
        are taken, the source with the most connections loses one; a proxy loses one only if no other source can.
        """
        proxied = host in self._proxies
        seat = Seat(self, host, proxied, drop)
        has_all = not proxied and self.of(seat.source) >= self.limits.max_of_source
        if has_all and not self._drop_idle(seat.source):
            self.refused += 1
            return None
        if self._count >= self.limits.max_connections and not self._make_room():
            self.refused += 1
            return None
        self._taken.setdefault(seat.source, {})[seat] = None
        self._count += 1
        seat.arm()
        return seat

    def free(self, seat: Seat) -> None:
        of_source = self._taken.get(seat.source, {})
        if seat not in of_source:
            return
        del of_source[seat]
        self._count -= 1
        if not of_source:
            del self._taken[seat.source]

    def _make_room(self) -> bool:
        def order(source: str) -> tuple[bool, int]:
            seats = self._taken[source]
            return next(iter(seats)).proxied, -len(seats)

        return any(self._drop_idle(source) for source in sorted(self._taken, key=order))

    def _drop_idle(self, source: str) -> bool:
        """Drop the oldest connection of the source that has no complete request in progress; False if it has none."""
        victim = next((seat for seat in self._taken.get(source, ()) if seat.stage is not Stage.ANSWER), None)
        if victim is None:
            return False
        self.dropped += 1
        victim.drop()
        victim.leave()
        return True


class SeatedProtocol(H11Protocol):
    """uvicorn's protocol in a seat. It reports its stage to the seat and logs through the logger of its source."""

    def __init__(self, seat: Seat, log: SourceLog, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._seat = seat
        self.logger = log.logger("uvicorn.error", seat.source)  # type: ignore[assignment]  # an adapter will do

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        self._seat.drop = transport.abort
        self._seat.enter(Stage.IDLE)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._tell()

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP. If the application still works on an earlier request, mark it disconnected."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # in the middle of an answer, or after the last one
            self.transport.abort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._tell()

    def pause_writing(self) -> None:
        self._seat.stall()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._seat.flow()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seat.leave()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn does not cancel the timer of a broken connection

    def _tell(self) -> None:
        self._seat.enter(self._stage())

    def _stage(self) -> Stage:
        if self.transport.is_closing():
            return Stage.CLOSING
        if self.conn.their_state is h11.SEND_BODY:  # also if the answer was sent before the end of the body
            return Stage.BODY
        if self.cycle is not None and not self.cycle.response_complete:
            return Stage.ANSWER
        if self.conn.their_state is h11.IDLE:
            return Stage.HEADER if self.conn.trailing_data[0] else Stage.IDLE
        return Stage.CLOSING


class Acceptor:
    """Acceptor of a listening socket, until closed. It has the part of `asyncio.Server` that uvicorn's server uses."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[Seat], asyncio.Protocol],
        seats: Seats,
        log: SourceLog,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._seats = seats
        self._log = log
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._handshakes: dict[str, Turns] = {}
        self._again: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._again is not None:
            self._again.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _accept(self) -> None:
        until = self._loop.time() + ACCEPT_TURN_S
        try:
            while self._loop.time() < until:
                connection, address = self._listener.accept()
                self._seat(connection, str(address[0]))
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._log.logger("cabinet.web", "web server").error("no connection can be accepted: %s", error)
            self._loop.remove_reader(self._listener)
            self._again = self._loop.call_later(ACCEPT_AGAIN_S, self._loop.add_reader, self._listener, self._accept)

    def _seat(self, connection: socket.socket, host: str) -> None:
        seat = self._seats.take(host, lambda: None)
        if seat is None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()
            self._log.logger("cabinet.web", source_of(host)).warning("connections refused: it has too many")
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection, seat))
        seat.drop = task.cancel  # until the protocol takes over
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, seat: Seat) -> None:
        """Do the TLS handshake, if TLS is in use, and start the protocol."""
        timeouts = {}
        if self._tls is not None:
            limits = self._seats.limits
            timeouts = {"ssl_handshake_timeout": limits.handshake_s, "ssl_shutdown_timeout": limits.handshake_s}
        turn = Turn(self._handshakes, seat.source, HANDSHAKES_OF_SOURCE)
        try:
            if self._tls is not None:
                await turn.begin()
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(seat), connection, ssl=self._tls, **timeouts
            )
        except (OSError, asyncio.CancelledError):  # the handshake failed, took too long, or was dropped to free a seat
            seat.leave()
            connection.close()
        finally:
            turn.end()
