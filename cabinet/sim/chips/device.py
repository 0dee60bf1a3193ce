"""What the simulated bus asks of a chip."""

from collections.abc import Callable
from typing import Protocol

from cabinet.errors import SimError

Schedule = Callable[[int, Callable[[int], None]], "Cancellable"]


class Cancellable(Protocol):
    """A planned event that may be called off."""

    def cancel(self) -> None: ...


class Device(Protocol):
    """A chip on a segment of the bus. Times are nanoseconds; STOP may lie a little ahead of the transfer's bytes."""

    def answers(self, at_ns: int) -> bool:
        """Whether the chip acknowledges its address."""

    def receive(self, data: bytes, at_ns: int) -> None:
        """The bytes of one write message, without the address."""

    def send(self, count: int, at_ns: int) -> bytes:
        """The bytes of one read message."""

    def stop(self, at_ns: int) -> None:
        """STOP after a transfer in which the chip was addressed."""


def unmodelled(chip: str, what: str) -> SimError:
    """The error for a driver that uses a part of the chip this model does not have."""
    return SimError(f"{chip}: {what} is not modelled")
