"""The simulator as a process: the bus and pins on one socket, what happens to the cabinet on another, one loop.

Transfers are answered at once with the time of their STOP; the client waits for it. Between requests the loop sleeps
until the next event of the world, so that an alert line falls when the current crosses its level.
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
from cabinet.notify import Notifier, watchdog_interval_s
from cabinet.sim import control, frames
from cabinet.sim.world import World

REALTIME_PRIORITY = 60  # above the guard's: hardware does not wait for software
_LONGEST_WAIT_S = 1.0


class _Client:
    """A connection of the bus-and-pins socket: what it watches, and which outputs it drives."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.watches: dict[int, Callable[[bool, int], None]] = {}
        self.outputs: set[int] = set()


class SimServer:
    """Serves one world. `strict_gpio`: outputs fall back when the process that drives them dies."""

    def __init__(self, world: World, run: Path, strict_gpio: bool = False) -> None:
        """Binds both sockets in the folder `run`; SimError where another simulator lives there."""
        self._world = world
        self._timeline = world.timeline
        self._strict_gpio = strict_gpio
        self._clients: dict[socket.socket, _Client] = {}
        self._controllers: set[socket.socket] = set()
        self._stopping = False
        self._complained: set[str] = set()
        run.mkdir(parents=True, exist_ok=True)
        self._paths = (run / "sim.sock", run / "sim-control.sock")
        self._bus_listener, self._control_listener = (_listen(path) for path in self._paths)
        self._wake_in, self._wake_out = os.pipe()
        self._handlers: dict[int, Callable[[_Client, bytes], bytes | None]] = {
            frames.TRANSFER[0]: self._transfer,
            frames.DRIVE[0]: self._drive,
            frames.LEVEL[0]: self._level,
            frames.RELEASE[0]: self._release,
            frames.PULL[0]: self._pull,
            frames.WATCH[0]: self._watch,
            frames.UNWATCH[0]: self._unwatch,
        }

    def stop(self) -> None:
        """Let `serve` return; may be called from a signal handler or another thread."""
        self._stopping = True
        os.write(self._wake_out, b"x")

    def serve(self, notifier: Notifier | None = None) -> None:
        """Serve until `stop`."""
        notifier = notifier or Notifier()
        notifier.ready(f"simulating {len(self._world.outlets)} outlets")
        interval_s = watchdog_interval_s() or _LONGEST_WAIT_S
        alive_ns = 0
        while not self._stopping:
            now_ns = time.monotonic_ns()
            self._timeline.advance_to(now_ns)
            if now_ns >= alive_ns:
                notifier.alive()
                self._timeline.drop_cancelled()
                alive_ns = now_ns + round(interval_s * 1e9)
            due_ns = min(self._timeline.next_ns, alive_ns)
            wait_s = max(0.0, (due_ns - time.monotonic_ns()) * 1e-9)
            for ready in select.select(self._sources(), (), (), wait_s)[0]:
                self._handle(ready)

    def close(self) -> None:
        for connection in (*self._clients, *self._controllers, self._bus_listener, self._control_listener):
            connection.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _sources(self) -> list[socket.socket | int]:
        return [*self._clients, *self._controllers, self._bus_listener, self._control_listener, self._wake_in]

    def _handle(self, ready: socket.socket | int) -> None:
        if isinstance(ready, int):
            return
        client = self._clients.get(ready)
        if client is not None:
            self._serve_client(client)
        elif ready in self._controllers:
            self._serve_controller(ready)
        elif ready is self._bus_listener:
            connection = ready.accept()[0]
            self._clients[connection] = _Client(connection)
        else:
            self._controllers.add(ready.accept()[0])

    def _serve_client(self, client: _Client) -> None:
        try:
            frame = client.connection.recv(frames.LONGEST)
        except OSError:
            frame = b""
        handler = self._handlers.get(frame[0]) if frame else None
        if handler is None:
            self._drop(client)
            return
        self._timeline.advance_to(time.monotonic_ns())
        try:
            reply = handler(client, frame)
        except SimError as error:
            reply = frames.REFUSED + self._complain(str(error)).encode()
        except struct.error as error:
            reply = frames.REFUSED + self._complain(f"bad frame: {error}").encode()
        if reply is not None:
            try:
                client.connection.send(reply)
            except OSError:
                self._drop(client)

    def _complain(self, text: str) -> str:
        """A driver did what no chip here does: loud in the journal and on the terminal, once each."""
        if text not in self._complained:
            self._complained.add(text)
            print(f"cabinet sim: {text}", file=sys.stderr, flush=True)
        self._world.journal.add(self._timeline.now_ns, "unmodelled", what=text)
        return text

    def _serve_controller(self, connection: socket.socket) -> None:
        try:
            frame = connection.recv(control.LONGEST)
            if frame:
                connection.send(control.answer(self._world, frame))
                return
        except OSError:
            pass  # the asker is gone; so is its connection, below
        self._controllers.discard(connection)
        connection.close()

    def _drop(self, client: _Client) -> None:
        """A client went: nobody is told of its edges, and its outputs stay, unless lines are strict."""
        del self._clients[client.connection]
        client.connection.close()
        for line, watcher in client.watches.items():
            self._world.lines.unwatch(line, watcher)
        if self._strict_gpio:
            now_ns = self._world.sync()
            for line in client.outputs:
                self._world.lines.release(line, now_ns)

    # ---- frames

    def _transfer(self, client: _Client, frame: bytes) -> bytes:
        start_ns, messages = frames.unpack_transfer(frame)
        done = self._world.bus.transfer(messages, min(start_ns, self._timeline.now_ns))
        return frames.pack_done(done.done_ns, done.errno, done.data)

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
            with contextlib.suppress(OSError):  # gone: found out at its next frame
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
    """A listening socket at `path`; one left behind by a dead simulator is replaced."""
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


def become_realtime() -> bool:
    """Ask for SCHED_FIFO and keep the garbage collector out of the way; whether real time was granted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True
