"""Over-current lines of the meter chips: an edge wakes the loop and says which outlet to read first."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping

from gpiozero import DigitalInputDevice
from gpiozero.pins import Factory

from cabinet.clock import Clock


class AlertLines:
    """Active-low lines, one an outlet (the chip's outputs are push-pull and never share a line).

    Edges arrive in the pin factory's own thread; all it does is to note the outlet and wake the loop.
    """

    def __init__(self, pins: Mapping[int, int], pin_factory: Factory, clock: Clock) -> None:
        self._clock = clock
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._noted: deque[tuple[int, int]] = deque()
        self._lines = {
            outlet: DigitalInputDevice(pin, pull_up=None, active_state=False, pin_factory=pin_factory)
            for outlet, pin in pins.items()
        }
        for outlet, line in self._lines.items():
            line.when_activated = self._noter(outlet)

    def _noter(self, outlet: int) -> Callable[[], None]:
        def note() -> None:
            now_ns = self._clock.monotonic_ns()
            os.eventfd_write(self.wake_fd, 1)  # before the note: `take` reads the one for the other
            self._noted.append((outlet, now_ns))

        return note

    def take(self) -> dict[int, int]:
        """Outlets whose line went low since the last call and when it did, first one first."""
        if not self._noted:
            return {}
        with contextlib.suppress(BlockingIOError):  # an earlier call read the wake-up before its note was there
            os.eventfd_read(self.wake_fd)
        edges: dict[int, int] = {}
        while self._noted:
            outlet, at_ns = self._noted.popleft()
            edges.setdefault(outlet, at_ns)
        return edges

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        os.close(self.wake_fd)
