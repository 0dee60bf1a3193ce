"""Client of the simulated bus and pins in another process. Light import: the guard loads it without the world.

A transfer takes the same time as on the wire, counted from the start of the call. The call sleeps for that time and
then reads the answer, so the simulator's computing time is hidden if it is shorter.
"""

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cabinet.errors import HardwareError, SimError
from cabinet.sim import frames
from cabinet.sim.pins import LineFactory, OnEdge
from cabinet.sim.smbus import Message, SmbusCalls, wire_bits

ANSWER_WITHIN_S = 1  # the kernel's timeout if an adapter hangs
MIN_SLEEP_NS = 25_000  # a shorter time is over before a sleep has begun
MAX_LATE_NS = 100_000  # maximum delay of a wake-up to learn from; a later one is an outlier


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", ANSWER_WITHIN_S, 0))
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise HardwareError(f"no simulator at {path} ({error.strerror}); start it with: cabinet sim serve") from error
    return connection


class _Alarm:
    """A timer that sleeps until a deadline. It learns the wake-up delay and shortens its sleep by that."""

    def __init__(self) -> None:
        self._late_ns = 0

    def sleep_until(self, deadline_ns: int) -> None:
        """Return at about the deadline; only `wait_until` ensures that it is no earlier."""
        wake_ns = deadline_ns - self._late_ns
        left_ns = wake_ns - time.monotonic_ns()
        if left_ns > MIN_SLEEP_NS:
            time.sleep(left_ns * 1e-9)
            late_ns = min(time.monotonic_ns() - wake_ns, MAX_LATE_NS)
            self._late_ns += (late_ns - self._late_ns) // 8

    def wait_until(self, deadline_ns: int) -> None:
        """Return no earlier than the deadline; the rest after the sleep is a busy wait."""
        self.sleep_until(deadline_ns)
        while time.monotonic_ns() < deadline_ns:
            pass


def _ask(connection: socket.socket, frame: bytes, before: Callable[[], None] | None = None) -> bytes:
    """Send one request and return the answer; `before` is called before reading it.

    Raises OSError: ETIMEDOUT if the simulator does not answer, EIO if it is gone. Raises SimError if it refuses.
    """
    try:
        connection.send(frame)
        if before is not None:
            before()
        answer = connection.recv(frames.MAX_FRAME_BYTES)
    except BlockingIOError:
        raise OSError(errno.ETIMEDOUT, "the simulator does not answer") from None
    except OSError as error:
        raise OSError(errno.EIO, f"the simulator is gone ({error.strerror})") from None
    if not answer:
        raise OSError(errno.EIO, "the simulator is gone")
    if answer[:1] == frames.REFUSED:
        raise SimError(answer[1:].decode())
    return answer


class WireBus(SmbusCalls):
    """`smbus2.SMBus` over the simulator's socket; one owner, like a real bus. Raises HardwareError if none listens."""

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path)
        self._alarm = _Alarm()
        self._bit_ns = frames.unpack_bit(_ask(self._connection, frames.SPEED))

    def transfer(self, messages: Sequence[Message]) -> bytes:
        start_ns = time.monotonic_ns()
        expected_ns = start_ns + int(wire_bits(messages) * self._bit_ns)
        frame = frames.pack_transfer(messages, start_ns)
        answer = _ask(self._connection, frame, lambda: self._alarm.sleep_until(expected_ns))
        done_ns, failed, data = frames.unpack_done(answer)
        self._alarm.wait_until(done_ns)  # later than expected if the bus was busy or hung
        if failed:
            raise OSError(failed, f"simulated bus: {errno.errorcode.get(failed, failed)}")
        return data

    def close(self) -> None:
        self._connection.close()


class _WireDoor:
    """Lines over two connections: one for reading and driving, one on which a thread waits for edges."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _connect(path)
        self._lock = threading.Lock()
        self._edges: socket.socket | None = None
        self._watched: dict[int, OnEdge] = {}
        self._confirmed = threading.Semaphore(0)

    def _show(self, number: int) -> int:
        with self._lock:
            return frames.unpack_line(_ask(self._connection, frames.pack_line(frames.LEVEL, number)))[1]

    def read_line(self, number: int) -> bool:
        return bool(self._show(number) & 1)

    def is_output(self, number: int) -> bool:
        return bool(self._show(number) & 2)

    def _tell(self, frame: bytes) -> None:
        """Send a frame without waiting for an answer."""
        try:
            self._connection.send(frame)
        except OSError as error:
            raise OSError(errno.EIO, f"the simulator is gone ({error.strerror})") from None

    def drive_line(self, number: int, high: bool) -> None:
        self._tell(frames.pack_line(frames.DRIVE, number, high))

    def release_line(self, number: int) -> None:
        with contextlib.suppress(OSError):  # the simulator has ended: there is no line to release
            self._connection.send(frames.pack_line(frames.RELEASE, number))

    def pull_line(self, number: int, up: bool | None) -> None:
        self._tell(frames.pack_line(frames.PULL, number, frames.PULLS.index(up)))

    def watch_line(self, number: int, on_edge: OnEdge) -> None:
        self._watched[number] = on_edge
        if self._edges is None:
            self._edges = _connect(self._path)
            self._edges.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
            threading.Thread(target=self._listen, args=(self._edges,), name="sim-edges", daemon=True).start()
        self._edges.send(frames.pack_line(frames.WATCH, number))
        if not self._confirmed.acquire(timeout=ANSWER_WITHIN_S):
            raise OSError(errno.ETIMEDOUT, "the simulator does not answer")

    def unwatch_line(self, number: int) -> None:
        if self._watched.pop(number, None) is not None and self._edges is not None:
            with contextlib.suppress(OSError):  # the simulator may have ended
                self._edges.send(frames.pack_line(frames.UNWATCH, number))

    def _listen(self, edges: socket.socket) -> None:
        while True:
            try:
                frame = edges.recv(frames.MAX_FRAME_BYTES)
            except OSError:
                return
            if not frame:
                return
            if frame[:1] == frames.WATCHING:
                self._confirmed.release()
                continue
            number, high, at_ns = frames.unpack_edge(frame)
            on_edge = self._watched.get(number)
            if on_edge is not None:
                on_edge(high, at_ns)

    def close_door(self) -> None:
        self._watched.clear()
        for connection in (self._edges, self._connection):
            if connection is not None:
                with contextlib.suppress(OSError):  # no longer connected
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


class WirePinFactory(LineFactory):
    """A gpiozero pin factory over the simulator's socket; open it after a fork, never before."""

    def __init__(self, path: Path) -> None:
        super().__init__(_WireDoor(path))
