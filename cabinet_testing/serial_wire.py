"""A serial wire of a given speed: carries bytes between the console's terminal and one that a program opens.

A pseudo-terminal is as fast as memory; a technician's cable is not. Each direction hands on as many bytes as its baud
rate carries, no more and in order.
"""

import os
import select
import threading
import time
import tty
from pathlib import Path

BITS_A_BYTE = 10  # 8N1
STEP_S = 0.02


class SerialWire:
    """`end` is what a terminal program opens; the console's terminal is opened by the wire itself."""

    def __init__(self, console: Path, baud: int) -> None:
        self._console = os.open(console, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._console)
        self._person, self._held = os.openpty()
        tty.setraw(self._held)
        os.set_blocking(self._person, False)
        self.end = os.ttyname(self._held)
        self._most = max(1, int(baud / BITS_A_BYTE * STEP_S))
        self._stop = threading.Event()
        self.carried = 0  # bytes to the person
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for descriptor in (self._console, self._person, self._held):
            os.close(descriptor)

    def _carry(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            ready, _, _ = select.select([self._console, self._person], [], [], STEP_S)
            if self._console in ready:
                data = os.read(self._console, self._most)
                self.carried += len(data)
                _write_whole(self._person, data)
            if self._person in ready:
                _write_whole(self._console, os.read(self._person, self._most))
            due_s = max(due_s + STEP_S, time.monotonic())
            self._stop.wait(due_s - time.monotonic())


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        select.select([], [descriptor], [], 1)
        data = data[os.write(descriptor, data) :]
