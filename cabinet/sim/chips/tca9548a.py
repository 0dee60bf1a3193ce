"""TCA9548A, the eight-channel bus switch (SCPS207): one control byte, effective only after STOP (p. 17)."""

from collections.abc import Callable
from typing import ClassVar

from cabinet.errors import SimError
from cabinet.sim.chips.stuck import Stickable


class Tca9548a(Stickable):
    """One switch. `on_channels()` is called when the set of connected channels changes."""

    name = "TCA9548A"
    register_names: ClassVar = {"channels": (0,)}

    def __init__(self, on_channels: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._control = 0  # power-on: all channels off
        self._pending = 0
        self._held_in_reset = False
        self._on_channels = on_channels
        self.present = True

    @property
    def joined(self) -> int:
        """Bit mask: if bit n is set, channel n is connected to the upstream bus."""
        return self._control

    def reset_pin(self, high: bool) -> None:
        """Set the RESET pin, active low: all channels are off while it is low."""
        self._held_in_reset = not high
        if not high:
            self._pending = 0
            self._join(0)
        elif self._stuck:
            self._set_cell(0, self._stuck[0], 0)

    def answers(self, at_ns: int) -> bool:
        return self.present and not self._held_in_reset

    def receive(self, data: bytes, at_ns: int) -> None:
        """Take the control byte; if a write has several bytes, the last one counts."""
        if data and not self._stuck:
            self._pending = data[-1]

    def send(self, count: int, at_ns: int) -> bytes:
        """Return the control byte as written, even before STOP puts it into effect."""
        if count < 1:
            raise SimError(f"{self.name}: a read of no bytes")
        return bytes([self._pending]) * count

    def stop(self, at_ns: int) -> None:
        self._join(self._pending)

    def _bits(self, address: int) -> int:
        return 8

    def _is_stored(self, address: int) -> bool:
        return True

    def _present(self, address: int, at_ns: int) -> int:
        return self._control

    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        if not self._held_in_reset:
            self._pending = value
            self._join(value)

    def _join(self, control: int) -> None:
        if control != self._control:
            self._control = control
            self._on_channels()
