"""Server of `guard.sock` in the guard: takes commands, publishes snapshots and events, never waits for a client.

If a client does not read, it loses snapshots, gets its events later, and is dropped when a reply does not fit. The
roles that a client may take follow from its user, as the kernel reports it (`PeerRoles`), not from its claim. Each role
has its own places: no number of viewers or of silent connections keeps service or console out.
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
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import (
    ALLOWED,
    Acknowledge,
    AskBus,
    AskEvents,
    AskMaintenance,
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
from cabinet.link.peer_roles import PeerRoles
from cabinet.maintenance import MaintenanceState
from cabinet.model import Event, Snapshot
from cabinet.system.socket_peer import peer_uid

log = logging.getLogger(__name__)

# Connections at once. A connection of a user with one role counts there from the beginning; others are silent until
# they have sent their role, and the longest silent one gives way.
MAX_OF_ROLE = {Role.SERVICE: 4, Role.CONSOLE: 6, Role.VIEWER: 6}
MAX_SILENT = 8
MAX_WAITING = 64  # not accepted yet; a flood fills this, but a client in blocking mode still gets its turn
ACCEPTS_A_TURN = 4
WARN_NS = NS  # a client that causes warnings causes at most one a second
FRAMES_A_TURN = 16  # of all clients together: endless senders do not hold up the loop
HELLO_NS = 2 * NS
EVENTS_A_TURN = 32
RECENT_EVENTS = 100  # sent on request; half of `guard_protocol.MAX_FRAME` at their longest
MAX_EVENTS = 10_000  # kept for an absent service; a day of trips of every outlet every minute


class EventLog:
    """Events not yet acknowledged, oldest first, and the number of the last one."""

    def __init__(self, guard_run: str) -> None:
        self.guard_run = guard_run
        self.last_seq = 0
        self.kept: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)  # acknowledged ones too

    def add(self, event: Event) -> Event:
        """Number the event and keep it."""
        self.last_seq += 1
        numbered = msgspec.structs.replace(event, guard_run=self.guard_run, seq=self.last_seq)
        self.kept.append(numbered)
        self.recent.append(numbered)
        return numbered

    def acknowledge(self, guard_run: str, seq: int) -> None:
        """Drop events up to `seq`; ignore numbers of another guard's run."""
        if guard_run == self.guard_run:
            while self.kept and self.kept[0].seq <= seq:
                self.kept.popleft()

    def after(self, seq: int, most: int) -> list[Event]:
        """Return up to `most` kept events above `seq`, in order."""
        if not self.kept or self.kept[-1].seq <= seq:
            return []
        skip = max(0, seq + 1 - self.kept[0].seq)
        return [self.kept[index] for index in range(skip, min(len(self.kept), skip + most))]


class _Client:
    def __init__(self, sock: socket.socket, came_at_ns: int, uid: int, roles: frozenset[Role]) -> None:
        self.socket = sock
        self.came_at_ns = came_at_ns
        self.uid = uid
        self.roles = roles
        self.place = _own_role(roles)  # the role that its connection is counted under
        self.role: Role | None = None
        self.snapshots = False
        self.sent_seq = 0


class LinkServer:
    """Server on `path` within the guard's loop; every call returns at once."""

    def __init__(
        self,
        path: Path,
        welcome: Welcome,
        events: EventLog,
        handle: Callable[[Command], Done | Refusal],
        snapshot: Callable[[], Snapshot],
        bus: Callable[[bool], BusView],
        clock: Clock,
        maintenance_state: Callable[[], MaintenanceState] = lambda: MaintenanceState(0, [], 0),
        peer_roles: PeerRoles | None = None,
    ) -> None:
        """Listen on `path`. `bus` is called with True to begin a search for unexpected chips.

        Without `peer_roles`, only root and the user of this process may be more than a viewer.
        """
        self._note_success = guard_protocol.encode(welcome)
        self._events = events
        self._handle = handle
        self._snapshot = snapshot
        self._bus = bus
        self._maintenance_state = maintenance_state
        self._clock = clock
        self._peer_roles = peer_roles or PeerRoles(os.geteuid(), {})
        self._warn_from_ns = 0
        self._first = 0
        self._clients: dict[int, _Client] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # left by a killed guard; two guards cannot run, as the bus has one owner
        self._listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._listener.bind(str(path))
        os.chmod(path, 0o660)
        self._listener.listen(MAX_WAITING)
        self.descriptors: list[int] = [self._listener.fileno()]

    def serve(self, ready: list[int]) -> None:
        """Accept, and take a frame in turn from each descriptor that has one, up to the limit of a turn."""
        if not ready:
            return
        if self._listener.fileno() in ready:
            self._accept()
        talking = [self._clients[descriptor] for descriptor in ready if descriptor in self._clients]
        self._first += 1  # begin with another one each time, as the turn may end before the last
        talking = talking[self._first % len(talking) :] + talking[: self._first % len(talking)] if talking else []
        left = FRAMES_A_TURN
        while talking and left > 0:
            turn = talking[:left]
            left -= len(turn)
            talking = [client for client in turn if self._read(client)]

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot to every client that requested snapshots; skip a client if its queue is full."""
        self._drop_silent()
        watching = [client for client in self._clients.values() if client.snapshots]
        if not watching:
            return
        frame = guard_protocol.encode(snapshot)
        for client in watching:
            self._send(client, frame, must=False)

    def push_events(self) -> None:
        """Send services the events that they have not got yet, as far as their queues have room."""
        if not self._events.kept:
            return
        for client in list(self._clients.values()):
            if client.role is not Role.SERVICE:
                continue
            for event in self._events.after(client.sent_seq, EVENTS_A_TURN):
                if not self._send(client, guard_protocol.encode(event), must=False):
                    break
                client.sent_seq = event.seq

    def close(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _accept(self) -> None:
        """Accept a few of the waiting connections: the loop has other work."""
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # none is waiting any more
            uid = peer_uid(sock)
            client = _Client(sock, self._clock.monotonic_ns(), uid, self._peer_roles.roles(uid))
            if not self._make_room(client):
                self._warn("refused a client of user %d: it has too many already", uid)
                sock.close()
                continue
            sock.setblocking(False)
            self._clients[sock.fileno()] = client
            self.descriptors.append(sock.fileno())

    def _make_room(self, client: _Client) -> bool:
        """Return whether there is room for `client`; if there is none, drop the longest silent one counted with it."""
        others = [each for each in self._clients.values() if each.place is client.place and each is not client]
        if len(others) < (MAX_SILENT if client.place is None else MAX_OF_ROLE[client.place]):
            return True
        silent = [each for each in others if each.role is None]
        if silent:
            self._drop(min(silent, key=lambda each: each.came_at_ns))
        return bool(silent)

    def _warn(self, message: str, *arguments: object) -> None:
        """Log a warning, at most one a second: a client may send without end."""
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._warn_from_ns:
            self._warn_from_ns = now_ns + WARN_NS
            log.warning(f"guard.sock: {message}", *arguments)

    def _drop_silent(self) -> None:
        """Drop the clients that have not sent their role in time."""
        oldest_ns = self._clock.monotonic_ns() - HELLO_NS
        for client in [c for c in self._clients.values() if c.role is None and c.came_at_ns < oldest_ns]:
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Read one frame of `client`. Return False if it has no more, or is gone."""
        try:
            frame = client.socket.recv(guard_protocol.MAX_COMMAND + 1)
        except BlockingIOError:
            return False
        except OSError:
            frame = b""
        if not frame:
            self._drop(client)
            return False
        try:
            if len(frame) > guard_protocol.MAX_COMMAND:
                raise LinkError(f"a frame of more than {guard_protocol.MAX_COMMAND} bytes")
            self._take(client, guard_protocol.decode_from_client(frame))
        except LinkError as error:
            self._warn("dropped a client of user %d: %s", client.uid, error)
            self._drop(client)
            return False
        return client.socket.fileno() >= 0

    def _take(self, client: _Client, message: guard_protocol.FromClient) -> None:
        if isinstance(message, Hello):
            if message.version != guard_protocol.VERSION:
                raise LinkError(f"client speaks version {message.version}, this guard {guard_protocol.VERSION}")
            self._take_role(client, message.role)
            client.snapshots = message.snapshots
            self._send(client, self._note_success)
            return
        if client.role is None:
            raise LinkError("a command before hello")
        if client.role not in ALLOWED[type(message)]:
            if not isinstance(message, Acknowledge):
                self._send(client, guard_protocol.encode(Refusal(message.id, "not_allowed")))
            return
        if isinstance(message, Acknowledge):
            self._events.acknowledge(message.guard_run, message.seq)
        elif isinstance(message, Question):
            self._send(client, guard_protocol.encode(self._answer(message)))
            self._send(client, guard_protocol.encode(Done(message.id)))
        else:
            self._send(client, guard_protocol.encode(self._handle(message)))

    def _take_role(self, client: _Client, role: Role) -> None:
        """Give the client that role. Raises LinkError if its user may not have it or there is no place."""
        if role not in client.roles:
            self._send(client, guard_protocol.encode(Refusal(0, "not_allowed")))
            raise LinkError(f"it may not be {role.value} here")
        if _own_role(client.roles) is None:  # a user with one role has that role's places, whatever role it claims
            client.place = role
            if not self._make_room(client):
                raise LinkError(f"there are {MAX_OF_ROLE[role]} of role {role.value} already")
        client.role = role

    def _answer(self, question: Question) -> Snapshot | BusView | Recent | MaintenanceState:
        if isinstance(question, AskBus):
            return self._bus(question.scan)
        if isinstance(question, AskEvents):
            return Recent(self._clock.monotonic_ns(), list(self._events.recent))
        if isinstance(question, AskMaintenance):
            return self._maintenance_state()
        return self._snapshot()

    def _send(self, client: _Client, frame: bytes, must: bool = True) -> bool:
        """Return False if the frame was not sent; drop a client without room for a frame that it must have."""
        try:
            client.socket.send(frame)
        except BlockingIOError:
            if must:
                self._warn("dropped a client of user %d that does not read its replies", client.uid)
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


def _own_role(roles: frozenset[Role]) -> Role | None:
    """Return the role that a connection is counted under before its hello; None if its user may have several."""
    if roles == frozenset(Role):
        return None
    return next(iter(roles - {Role.VIEWER}), Role.VIEWER)
