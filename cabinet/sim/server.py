"""The simulator process: bus and pins on one socket, control of the cabinet on another, one loop.

The server answers a transfer at once with the time of its STOP, and the client waits until then. Between requests the
loop sleeps until the next event of the world, because an alert line must fall when the current crosses its level.
"""

import contextlib
import gc
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cabinet.errors import SimError
from cabinet.sim import control, frames
from cabinet.sim.catalogue import warm_up
from cabinet.sim.smbus import Message
from cabinet.sim.world import World
from cabinet.system.sd_notify import Notifier, watchdog_interval_s

REALTIME_PRIORITY = 60  # above the guard's, because hardware does not wait for software
_MAX_WAIT_S = 1.0
_MAX_KNOWN = 1000


class _Client:
    """A connection of the bus-and-pins socket: the lines it watches and the outputs it drives."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.watches: dict[int, Callable[[bool, int], None]] = {}
        self.outputs: set[int] = set()


class SimServer:
    """Server of one world. If `strict_gpio` is set, outputs become inputs when their process ends."""

    def __init__(self, world: World, run: Path, strict_gpio: bool = False) -> None:
        """Bind both sockets in the folder `run`. Raises SimError if another simulator uses it."""
        warm_up()
        self._world = world
        self._timeline = world.timeline
        self._strict_gpio = strict_gpio
        self._clients: dict[socket.socket, _Client] = {}  # by connection
        self._controllers: set[socket.socket] = set()
        self._stopping = False
        self._complained: set[str] = set()
        self._known: dict[bytes, list[Message]] = {}  # transfers seen before, unpacked
        run.mkdir(parents=True, exist_ok=True)
        self._paths = (run / "sim.sock", run / "sim-control.sock")
        self._bus_listener, self._control_listener = (_listen(path) for path in self._paths)
        self._wake_in, self._wake_out = os.pipe()
        self._handlers: dict[int, Callable[[_Client, bytes], bytes | None]] = {
            frames.TRANSFER[0]: self._transfer,
            frames.SPEED[0]: self._speed,
            frames.DRIVE[0]: self._drive,
            frames.LEVEL[0]: self._level,
            frames.RELEASE[0]: self._release,
            frames.PULL[0]: self._pull,
            frames.WATCH[0]: self._watch,
            frames.UNWATCH[0]: self._unwatch,
        }
        self._by_fd: dict[int, _Client] = {}
        self._sources: list[int] = []
        self._list_sources()

    def stop(self) -> None:
        """Make `serve` return. Safe to call from a signal handler or another thread."""
        self._stopping = True
        os.write(self._wake_out, b"x")

    def serve(self, notifier: Notifier | None = None) -> None:
        """Serve until `stop`."""
        notifier = notifier or Notifier()
        notifier.ready(f"simulating {len(self._world.outlets)} outlets")
        interval_s = watchdog_interval_s() or _MAX_WAIT_S
        alive_ns = 0
        timeline = self._timeline
        while not self._stopping:
            now_ns = time.monotonic_ns()
            if now_ns >= alive_ns:
                notifier.alive()
                timeline.drop_cancelled()
                alive_ns = now_ns + round(interval_s * 1e9)
            wait_ns = min(timeline.next_ns, alive_ns) - now_ns
            ready = select.select(self._sources, (), (), wait_ns * 1e-9 if wait_ns > 0 else 0)[0]
            timeline.advance_to(time.monotonic_ns())
            for source in ready:
                self._handle(source)

    def close(self) -> None:
        for connection in (*self._clients, *self._controllers, self._bus_listener, self._control_listener):
            connection.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _list_sources(self) -> None:
        """Update the lists for `select`, on every change of connections instead of every frame."""
        self._by_fd = {client.connection.fileno(): client for client in self._clients.values()}
        self._sources = [
            *self._by_fd,
            *(each.fileno() for each in (*self._controllers, self._bus_listener, self._control_listener)),
            self._wake_in,
        ]

    def _handle(self, source: int) -> None:
        client = self._by_fd.get(source)
        if client is not None:
            self._serve_client(client)
        elif source == self._bus_listener.fileno():
            connection = self._bus_listener.accept()[0]
            connection.setblocking(False)
            self._clients[connection] = _Client(connection)
            self._list_sources()
        elif source == self._control_listener.fileno():
            connection = self._control_listener.accept()[0]
            connection.setblocking(False)
            self._controllers.add(connection)
            self._list_sources()
        else:
            for connection in self._controllers:
                if connection.fileno() == source:
                    self._serve_controller(connection)
                    break

    def _serve_client(self, client: _Client) -> None:
        try:
            frame = client.connection.recv(frames.MAX_FRAME_BYTES)
        except BlockingIOError:
            return
        except OSError:
            frame = b""
        handler = self._handlers.get(frame[0]) if frame else None
        if handler is None:
            self._drop(client)
            return
        try:
            reply = handler(client, frame)
        except SimError as error:
            reply = frames.REFUSED + self._report_unmodelled(str(error)).encode()
        except (struct.error, IndexError) as error:
            reply = frames.REFUSED + self._report_unmodelled(f"bad frame: {error}").encode()
        if reply is not None:
            try:
                client.connection.send(reply)
            except OSError:
                self._drop(client)

    def _report_unmodelled(self, text: str) -> str:
        """Report an unmodelled use of a chip: every time in the journal, each text once on the terminal."""
        if text not in self._complained:
            self._complained.add(text)
            print(f"cabinet sim: {text}", file=sys.stderr, flush=True)
        self._world.journal.add(self._timeline.now_ns, "unmodelled", what=text)
        return text

    def _serve_controller(self, connection: socket.socket) -> None:
        try:
            frame = connection.recv(control.MAX_FRAME_BYTES)
            if frame:
                connection.send(control.answer(self._world, frame))
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # the client is gone; its connection is closed below
        self._controllers.discard(connection)
        connection.close()
        self._list_sources()

    def _drop(self, client: _Client) -> None:
        """Remove a client: its edges are no longer reported; its outputs stay unless `strict_gpio` is set."""
        del self._clients[client.connection]
        client.connection.close()
        self._list_sources()
        for line, watcher in client.watches.items():
            self._world.lines.unwatch(line, watcher)
        if self._strict_gpio:
            now_ns = self._world.sync()
            for line in client.outputs:
                self._world.lines.release(line, now_ns)

    # ---- Frames

    def _transfer(self, client: _Client, frame: bytes) -> bytes:
        body = frame[frames.BODY :]
        messages = self._known.get(body)
        if messages is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            messages = self._known[body] = frames.unpack_messages(body)
        start_ns = min(frames.unpack_start(frame), self._timeline.now_ns)
        done = self._world.bus.transfer(messages, start_ns)
        return frames.pack_done(done.done_ns, done.errno, done.data)

    def _speed(self, client: _Client, frame: bytes) -> bytes:
        return frames.pack_bit(self._world.bus.bit_ns)

    def _drive(self, client: _Client, frame: bytes) -> None:
        line, high = frames.unpack_line(frame)
        client.outputs.add(line)
        self._world.lines.drive(line, bool(high), self._timeline.now_ns)

    def _level(self, client: _Client, frame: bytes) -> bytes:
        line, _ = frames.unpack_line(frame)
        lines = self._world.lines
        return frames.pack_line(frames.SHOWS, line, lines.level(line) | lines.is_output(line) << 1)

    def _release(self, client: _Client, frame: bytes) -> None:
        line, _ = frames.unpack_line(frame)
        client.outputs.discard(line)
        self._world.lines.release(line, self._timeline.now_ns)

    def _pull(self, client: _Client, frame: bytes) -> None:
        line, pull = frames.unpack_line(frame)
        self._world.lines.pull(line, frames.PULLS[pull % 3], self._timeline.now_ns)

    def _watch(self, client: _Client, frame: bytes) -> bytes:
        line, _ = frames.unpack_line(frame)

        def tell(high: bool, at_ns: int) -> None:
            with contextlib.suppress(OSError):  # the client is gone, which its next read detects
                client.connection.send(frames.pack_edge(line, high, at_ns))

        if line not in client.watches:
            client.watches[line] = tell
            self._world.lines.watch(line, tell)
        return frames.WATCHING

    def _unwatch(self, client: _Client, frame: bytes) -> None:
        line, _ = frames.unpack_line(frame)
        watcher = client.watches.pop(line, None)
        if watcher is not None:
            self._world.lines.unwatch(line, watcher)


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`; replace one left by a dead simulator. Raises SimError if one is running."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    if path.exists():
        try:
            listener.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            listener.close()
            raise SimError(f"a simulator is running already at {path}")
        listener.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise SimError(f"cannot listen at {path}: {error.strerror}") from error
    listener.listen(16)
    return listener


def collect_rarely() -> None:
    """Reduce garbage collection: it would delay a transfer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def become_realtime() -> bool:
    """Request SCHED_FIFO. Return whether it was granted.

    The simulator runs on the last processor. The guard's transfers wait for it. On one processor the two would take
    nearly all of its time in turn, and the kernel stops real-time processes for 50 ms of each second in which they
    use 95 % (sched(7), sched_rt_runtime_us): a stall that no real bus has.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    except OSError:
        return False
    return True
