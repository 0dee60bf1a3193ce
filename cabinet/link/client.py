"""The guard's client for console and tools, which may wait; the guard never waits for them."""

import itertools
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cabinet.errors import LinkError, Refused
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import (
    AskBus,
    AskEvents,
    AskMaintenance,
    AskSnapshot,
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
from cabinet.maintenance import MaintenanceState
from cabinet.model import Snapshot

T = TypeVar("T")


class BlockingGuard:
    """One connection to the guard for a process that requests and waits. Raises LinkError if the guard is gone."""

    def __init__(self, path: Path, role: Role, timeout_s: float = 2.0) -> None:
        self._path = path
        self._ids = itertools.count(1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(timeout_s))
            self._socket.connect(str(path))  # blocking: in a flood of connections the kernel then keeps a turn for us
            self._socket.settimeout(timeout_s)
            self._socket.send(guard_protocol.encode(Hello(role, snapshots=False)))
            self.welcome = self._welcomed(role)
        except OSError as error:
            self._socket.close()
            raise LinkError(f"{path}: no guard answers ({error.strerror or error})") from error
        except LinkError:
            self._socket.close()
            raise

    def snapshot(self) -> Snapshot:
        """Return the cabinet's present state."""
        return self._ask(AskSnapshot, Snapshot)

    def bus(self, scan: bool = False) -> BusView:
        """Return the bus as last read by the guard; with `scan`, also begin a search for unexpected chips."""
        return self._ask(lambda number: AskBus(number, scan), BusView)

    def recent(self) -> Recent:
        """Return the newest events."""
        return self._ask(AskEvents, Recent)

    def maintenance_state(self) -> MaintenanceState:
        """Return locks, wear, calibration and the running job."""
        return self._ask(AskMaintenance, MaintenanceState)

    def request(self, make: Callable[[int], Command]) -> None:
        """Send a command as `GuardLink.request`, but raise LinkError if the guard does not answer."""
        command_id = next(self._ids)
        self._send(make(command_id))
        while True:
            reply = self._next()
            if isinstance(reply, Done) and reply.id == command_id:
                return
            if isinstance(reply, Refusal) and reply.id == command_id:
                raise Refused(reply.code, **reply.params)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "BlockingGuard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: guard_protocol.FromClient) -> None:
        try:
            self._socket.send(guard_protocol.encode(message))
        except OSError as error:
            raise LinkError(f"{self._path}: the guard went away ({error.strerror or error})") from error

    def _welcomed(self, role: Role) -> Welcome:
        message = self._next()
        if isinstance(message, Welcome):
            return message
        raise LinkError(f"{self._path}: the guard does not take user {os.geteuid()} as {role.value}")

    def _ask(self, make: Callable[[int], Question], kind: type[T]) -> T:
        self._send(make(next(self._ids)))
        found = self._receive(kind)
        self._receive(Done)
        return found

    def _receive(self, kind: type[T]) -> T:
        """Return the next message of `kind`; skip others in between."""
        while True:
            message = self._next()
            if isinstance(message, kind):
                return message

    def _next(self) -> guard_protocol.FromGuard:
        try:
            frame = self._socket.recv(guard_protocol.MAX_FRAME)
        except OSError as error:
            raise LinkError(f"{self._path}: the guard does not answer ({error.strerror or error})") from error
        if not frame:
            raise LinkError(f"{self._path}: the guard went away")
        return guard_protocol.decode_from_guard(frame)


def timeval(seconds: float) -> bytes:
    """Return the value of a socket's SO_SNDTIMEO."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
