"""A serial cable made of two pseudo-terminals, for a machine without a serial port.

The console opens `device` by pyserial, as it opens a UART; a person opens `terminal` with any terminal program. While
no program has it open the cable is out; when it is closed, `device` vanishes, as a USB adapter does.
"""

import contextlib
import os
import select
import threading
import tty

from cabinet.console.line import UnpluggedError

CHUNK = 4096
POLL_S = 0.2  # how soon it is noticed that a program opened the terminal: the kernel has no event for that


class Cable:
    """Carries bytes both ways in a thread of its own until `close`."""

    def __init__(self) -> None:
        self._outer, slave = os.openpty()
        tty.setraw(slave)
        self.terminal = os.ttyname(slave)
        os.close(slave)  # from now on the kernel tells us whether anybody else has it open
        os.set_blocking(self._outer, False)
        self._stop_reading, self._stop = os.pipe()
        self._plugged = threading.Condition()
        self._device: str | None = None
        self._thread = threading.Thread(target=self._carry, name="console cable", daemon=True)
        self._thread.start()

    def device(self, timeout_s: float) -> str:
        """Path of the console's end. Raises UnpluggedError where the cable is out and stays so for `timeout_s`."""
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
            inner, slave = os.openpty()  # ours stays open: the console may close and open its end as it likes
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
        """What was typed just before the terminal was closed is nothing that the next one has typed."""
        with contextlib.suppress(OSError):
            while os.read(self._outer, CHUNK):
                pass

    def _announce(self, device: str | None) -> None:
        with self._plugged:
            self._device = device
            self._plugged.notify_all()

    def _wait_for_terminal(self) -> bool:
        """True when a program has the terminal open; False when the cable is to be closed."""
        hung_up = select.poll()
        hung_up.register(self._outer, 0)
        stop = select.poll()
        stop.register(self._stop_reading, select.POLLIN)
        while hung_up.poll(0):
            if stop.poll(POLL_S * 1000):
                return False
        return not stop.poll(0)

    def _pump(self, inner: int) -> None:
        """Until the terminal is closed or the cable is to be. What one side does not take yet, the other waits with."""
        waiting = {self._outer: b"", inner: b""}  # destination → bytes it has not taken
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
    """How many bytes were taken, possibly none."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
