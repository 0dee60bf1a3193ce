"""The guard's end of `guard.sock`: takes commands, publishes snapshots and events, and never waits for a client.

A client that does not read loses snapshots, gets its events later, and is dropped where a reply does not fit. One that
does not say who it is within `HELLO_NS` is dropped, so that no dozen of silent ones can keep the service out.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import LinkError
from cabinet.link import protocol
from cabinet.link.protocol import (
    ALLOWED,
    Acknowledge,
    AskBus,
    AskEvents,
    AskUpkeep,
    BusView,
    Command,
    Done,
    Hello,
    Question,
    Recent,
    Refusal,
    Role,
    Welcome,
)
from cabinet.model import Event, Snapshot
from cabinet.upkeep import Upkeep

log = logging.getLogger(__name__)

MOST_CLIENTS = 16
FRAMES_A_TURN = 16  # of all clients together: those who talk without end do not keep the loop
HELLO_NS = 2 * NS
EVENTS_A_TURN = 32
RECENT_EVENTS = 100  # told to whoever asks; half of `protocol.LONGEST_FRAME` at their longest
MOST_EVENTS = 10_000  # kept for a service that is away; a day of trips of every outlet every minute


class EventLog:
    """Events not yet acknowledged, oldest first, and the number of the last one."""

    def __init__(self, guard_run: str) -> None:
        self.guard_run = guard_run
        self.last_seq = 0
        self.kept: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)  # acknowledged ones too

    def add(self, event: Event) -> Event:
        """Number it and keep it."""
        self.last_seq += 1
        numbered = msgspec.structs.replace(event, guard_run=self.guard_run, seq=self.last_seq)
        self.kept.append(numbered)
        self.recent.append(numbered)
        return numbered

    def acknowledge(self, guard_run: str, seq: int) -> None:
        """Forget up to `seq`; numbers of another guard's run say nothing about ours."""
        if guard_run == self.guard_run:
            while self.kept and self.kept[0].seq <= seq:
                self.kept.popleft()

    def after(self, seq: int, most: int) -> list[Event]:
        """Up to `most` kept events above `seq`, in order."""
        if not self.kept or self.kept[-1].seq <= seq:
            return []
        skip = max(0, seq + 1 - self.kept[0].seq)
        return [self.kept[index] for index in range(skip, min(len(self.kept), skip + most))]


class _Client:
    def __init__(self, sock: socket.socket, came_at_ns: int) -> None:
        self.socket = sock
        self.came_at_ns = came_at_ns
        self.role: Role | None = None
        self.snapshots = False
        self.sent_seq = 0


class LinkServer:
    """Listens on `path` and serves within the guard's loop; every call returns at once."""

    def __init__(
        self,
        path: Path,
        welcome: Welcome,
        events: EventLog,
        handle: Callable[[Command], Done | Refusal],
        snapshot: Callable[[], Snapshot],
        bus: Callable[[bool], BusView],
        clock: Clock,
        upkeep: Callable[[], Upkeep] = lambda: Upkeep(0, [], 0),
    ) -> None:
        """`bus` is asked with whether a search for unexpected chips is to begin."""
        self._welcome = protocol.encode(welcome)
        self._events = events
        self._handle = handle
        self._snapshot = snapshot
        self._bus = bus
        self._upkeep = upkeep
        self._clock = clock
        self._first = 0
        self._clients: dict[int, _Client] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a guard that was killed; two guards cannot run, the bus has one owner
        self._listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._listener.bind(str(path))
        os.chmod(path, 0o660)
        self._listener.listen(MOST_CLIENTS)
        self.descriptors: list[int] = [self._listener.fileno()]

    def serve(self, ready: list[int]) -> None:
        """Accept, and take a frame in turn from each descriptor that has one, as many as a turn may take."""
        if self._listener.fileno() in ready:
            self._accept()
        talking = [self._clients[descriptor] for descriptor in ready if descriptor in self._clients]
        self._first += 1  # another one first each time, as the turn may be over before the last
        talking = talking[self._first % len(talking) :] + talking[: self._first % len(talking)] if talking else []
        left = FRAMES_A_TURN
        while talking and left > 0:
            turn = talking[:left]
            left -= len(turn)
            talking = [client for client in turn if self._read(client)]

    def publish(self, snapshot: Snapshot) -> None:
        """To everyone who asked for snapshots; skipped for a client whose queue is full."""
        self._drop_silent()
        watching = [client for client in self._clients.values() if client.snapshots]
        if not watching:
            return
        frame = protocol.encode(snapshot)
        for client in watching:
            self._send(client, frame, must=False)

    def push_events(self) -> None:
        """What services have not been sent yet, as far as their queues take it."""
        for client in list(self._clients.values()):
            if client.role is not Role.SERVICE:
                continue
            for event in self._events.after(client.sent_seq, EVENTS_A_TURN):
                if not self._send(client, protocol.encode(event), must=False):
                    break
                client.sent_seq = event.seq

    def close(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # gone again before we came
        if len(self._clients) >= MOST_CLIENTS:
            log.warning("guard.sock: more than %d clients; refused one", MOST_CLIENTS)
            sock.close()
            return
        sock.setblocking(False)
        self._clients[sock.fileno()] = _Client(sock, self._clock.monotonic_ns())
        self.descriptors.append(sock.fileno())

    def _drop_silent(self) -> None:
        """Those who have not said who they are in time."""
        oldest_ns = self._clock.monotonic_ns() - HELLO_NS
        for client in [c for c in self._clients.values() if c.role is None and c.came_at_ns < oldest_ns]:
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """One frame of `client`; False where it has no more, or is gone."""
        try:
            frame = client.socket.recv(protocol.LONGEST_COMMAND + 1)
        except BlockingIOError:
            return False
        except OSError:
            frame = b""
        if not frame:
            self._drop(client)
            return False
        try:
            if len(frame) > protocol.LONGEST_COMMAND:
                raise LinkError(f"a frame of more than {protocol.LONGEST_COMMAND} bytes")
            self._take(client, protocol.decode_from_client(frame))
        except LinkError as error:
            log.warning("guard.sock: dropped a client: %s", error)
            self._drop(client)
            return False
        return client.socket.fileno() >= 0

    def _take(self, client: _Client, message: protocol.FromClient) -> None:
        if isinstance(message, Hello):
            if message.version != protocol.VERSION:
                raise LinkError(f"client speaks version {message.version}, this guard {protocol.VERSION}")
            client.role = message.role
            client.snapshots = message.snapshots
            self._send(client, self._welcome)
            return
        if client.role is None:
            raise LinkError("a command before hello")
        if client.role not in ALLOWED[type(message)]:
            if not isinstance(message, Acknowledge):
                self._send(client, protocol.encode(Refusal(message.id, "not_allowed")))
            return
        if isinstance(message, Acknowledge):
            self._events.acknowledge(message.guard_run, message.seq)
        elif isinstance(message, Question):
            self._send(client, protocol.encode(self._answer(message)))
            self._send(client, protocol.encode(Done(message.id)))
        else:
            self._send(client, protocol.encode(self._handle(message)))

    def _answer(self, question: Question) -> Snapshot | BusView | Recent | Upkeep:
        if isinstance(question, AskBus):
            return self._bus(question.scan)
        if isinstance(question, AskEvents):
            return Recent(self._clock.monotonic_ns(), list(self._events.recent))
        if isinstance(question, AskUpkeep):
            return self._upkeep()
        return self._snapshot()

    def _send(self, client: _Client, frame: bytes, must: bool = True) -> bool:
        """False where it did not go; a client that must have it and has no room is dropped."""
        try:
            client.socket.send(frame)
        except BlockingIOError:
            if must:
                log.warning("guard.sock: dropped a client that does not read its replies")
                self._drop(client)
            return False
        except OSError:
            self._drop(client)
            return False
        return True

    def _drop(self, client: _Client) -> None:
        descriptor = client.socket.fileno()
        if descriptor in self._clients:
            del self._clients[descriptor]
            self.descriptors.remove(descriptor)
            client.socket.close()
