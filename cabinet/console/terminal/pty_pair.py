"""Virtual serial cable of two pseudo-terminals, for a machine without a serial port.

The console opens `device` by pyserial, as it opens a UART; a person opens `terminal` with any terminal program. While
no program has it open, the cable is unplugged; when the program closes it, `device` disappears, as a USB adapter does.
"""

import contextlib
import os
import select
import threading
import tty

from cabinet.console.terminal.serial_port import UnpluggedError

CHUNK = 4096
POLL_S = 0.2  # poll interval for a program that opens the terminal: the kernel has no event for that


class PtyPair:
    """Pair of pseudo-terminals that transfers bytes both ways in its own thread until `close`."""

    def __init__(self) -> None:
        self._outer, slave = os.openpty()
        tty.setraw(slave)
        self.terminal = os.ttyname(slave)
        os.close(slave)  # from now on the kernel reports POLLHUP while no other process has it open
        os.set_blocking(self._outer, False)
        self._stop_reading, self._stop = os.pipe()
        self._plugged = threading.Condition()
        self._device: str | None = None
        self._thread = threading.Thread(target=self._carry, name="console cable", daemon=True)
        self._thread.start()

    def device(self, timeout_s: float) -> str:
        """Return the path of the console's end. Raises UnpluggedError if the cable stays unplugged for `timeout_s`."""
        with self._plugged:
            if not self._plugged.wait_for(lambda: self._device is not None, timeout_s) or self._device is None:
                raise UnpluggedError("no terminal at the other end")
            return self._device

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._outer)
        os.close(self._stop_reading)

    def _carry(self) -> None:
        while self._wait_for_terminal():
            inner, slave = os.openpty()  # ours stays open: the console may close and reopen its end at any time
            try:
                tty.setraw(slave)
                os.set_blocking(inner, False)
                self._announce(os.ttyname(slave))
                self._pump(inner)
            finally:
                self._announce(None)
                self._drop_rest()
                os.close(slave)
                os.close(inner)

    def _drop_rest(self) -> None:
        """Discard input from just before the terminal was closed: it does not belong to the next user."""
        with contextlib.suppress(OSError):
            while os.read(self._outer, CHUNK):
                pass

    def _announce(self, device: str | None) -> None:
        with self._plugged:
            self._device = device
            self._plugged.notify_all()

    def _wait_for_terminal(self) -> bool:
        """Wait until a program opens the terminal, then return True; return False if the cable is to be closed."""
        hung_up = select.poll()
        hung_up.register(self._outer, 0)
        stop = select.poll()
        stop.register(self._stop_reading, select.POLLIN)
        while hung_up.poll(0):
            if stop.poll(POLL_S * 1000):
                return False
        return not stop.poll(0)

    def _pump(self, inner: int) -> None:
        """Transfer bytes until the terminal closes or the cable is to be closed.

        While one side does not accept data, no more is read from the other.
        """
        waiting = {self._outer: b"", inner: b""}  # destination → bytes that it has not accepted yet
        while True:
            poll = select.poll()
            poll.register(self._stop_reading, select.POLLIN)
            for here, there in ((self._outer, inner), (inner, self._outer)):
                poll.register(here, (0 if waiting[there] else select.POLLIN) | (select.POLLOUT if waiting[here] else 0))
            events = dict(poll.poll())
            if self._stop_reading in events or events.get(self._outer, 0) & select.POLLHUP:
                return
            for here, there in ((self._outer, inner), (inner, self._outer)):
                if events.get(here, 0) & select.POLLIN:
                    waiting[there] = os.read(here, CHUNK)
                if waiting[there]:
                    waiting[there] = waiting[there][_write(there, waiting[there]) :]


def _write(descriptor: int, data: bytes) -> int:
    """Write `data`; return the number of bytes accepted, possibly 0."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
