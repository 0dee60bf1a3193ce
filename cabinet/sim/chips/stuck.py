"""Registers of a simulated chip whose content stands still, whatever the chip measures and a driver writes.

Two kinds of register fail in two ways. A *measured* register has a read latch that no longer follows: reads return the
stuck value, while everything behind it (peak detector, comparators, interrupt outputs, clearing on read) goes on. A
*stored* register is the cell itself: it takes the stuck value at once, the chip acts on it, and writes are acknowledged
and lost. Both survive a reset of the chip, as broken silicon does.
"""

import difflib
from collections.abc import Mapping
from typing import ClassVar

from cabinet.errors import SimError

Addresses = tuple[int, ...]  # of one register: several if another address reads it with another side effect


class Stickable:
    """A chip whose registers can be stuck or upset. A chip model fills in the four methods at the end."""

    name: str
    register_names: ClassVar[Mapping[str, Addresses]]  # what people call them

    def __init__(self) -> None:
        self._stuck: dict[int, int] = {}  # by address; empty on a healthy chip, so that a read asks one question

    def stick(self, register: str, value: int | None, at_ns: int) -> int:
        """From `at_ns` on the register holds `value` (None: its present one); returns it. SimError: no such one."""
        addresses = self._addresses(register)
        held = self._present(addresses[0], at_ns) if value is None else self._fitting(register, value)
        self._stuck.update(dict.fromkeys(addresses, held))
        if self._is_stored(addresses[0]):
            self._set_cell(addresses[0], held, at_ns)
        return held

    def release(self, register: str) -> None:
        """The register works again; a stored one keeps its value until it is written."""
        for address in self._addresses(register):
            self._stuck.pop(address, None)

    def upset(self, register: str, value: int, at_ns: int) -> None:
        """A disturbance, not the driver, changes a stored register once; it can be written again."""
        self.check(register, value, upset=True)
        address = self._addresses(register)[0]
        if address not in self._stuck:
            self._set_cell(address, value, at_ns)

    def check(self, register: str, value: int | None, upset: bool = False) -> None:
        """Raise SimError if `stick`, or `upset`, cannot be done: no such register, or a value that does not fit."""
        address = self._addresses(register)[0]
        if upset and not self._is_stored(address):
            raise SimError(f"{self.name}: {register} is measured, a single disturbance is gone at once; use stuck")
        if value is not None:
            self._fitting(register, value)

    def _addresses(self, register: str) -> Addresses:
        found = self.register_names.get(register)
        if found is None:
            near = difflib.get_close_matches(register, self.register_names, 1, cutoff=0.5)
            known = f"did you mean {near[0]}?" if near else f"it has {', '.join(self.register_names)}"
            raise SimError(f"{self.name} has no register {register!r}; {known}")
        return found

    def _fitting(self, register: str, value: int) -> int:
        bits = self._bits(self._addresses(register)[0])
        if not 0 <= value < 1 << bits:
            raise SimError(f"{self.name}: {register} has {bits} bits, {value} does not fit")
        return value

    # ---- what a chip model fills in

    def _bits(self, address: int) -> int:
        """Width of a register."""
        raise NotImplementedError

    def _is_stored(self, address: int) -> bool:
        """Whether the register is a cell that keeps what was written, not a measurement."""
        raise NotImplementedError

    def _present(self, address: int, at_ns: int) -> int:
        """The value that a read would give now, without the read's side effects."""
        raise NotImplementedError

    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        """Put a value into a stored register, with all that follows from it."""
        raise NotImplementedError
