"""Interface between the simulated bus and a chip."""

from collections.abc import Callable
from typing import Protocol

from cabinet.errors import SimError

Schedule = Callable[[int, Callable[[int], None]], "Cancellable"]


class Cancellable(Protocol):
    """A planned event that can be cancelled."""

    def cancel(self) -> None: ...


class Device(Protocol):
    """A chip on a segment of the bus. Times are nanoseconds; STOP may be slightly later than the transfer's bytes."""

    def answers(self, at_ns: int) -> bool:
        """Return whether the chip acknowledges its address."""

    def receive(self, data: bytes, at_ns: int) -> None:
        """Take the bytes of one write message, without the address."""

    def send(self, count: int, at_ns: int) -> bytes:
        """Return the bytes of one read message."""

    def stop(self, at_ns: int) -> None:
        """Handle STOP after a transfer in which the chip was addressed."""


def unmodelled(chip: str, what: str) -> SimError:
    """Return the error to raise if a driver uses a part of the chip that is not modelled."""
    return SimError(f"{chip}: {what} is not modelled")
