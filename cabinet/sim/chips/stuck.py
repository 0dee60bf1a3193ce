"""Stuck registers of a simulated chip: their content ignores measurements and writes.

Two kinds of register fail in two ways. A *measured* register has a read latch that no longer updates: reads return the
stuck value, while everything behind it (peak detector, comparators, interrupt outputs, clearing on read) works on. A
*stored* register is the cell itself: it takes the stuck value at once, the chip acts on it, and writes are acknowledged
but lost. Both faults survive a reset of the chip, as a silicon defect does.
"""

import abc
import difflib
from collections.abc import Mapping
from typing import ClassVar

from cabinet.errors import SimError

Addresses = tuple[int, ...]  # of one register: several if it can be read at addresses with different side effects


class Stickable(abc.ABC):
    """A chip with registers that can be stuck or upset. A chip model implements the four methods at the end."""

    name: str
    register_names: ClassVar[Mapping[str, Addresses]]  # by the names that people use

    def __init__(self) -> None:
        self._stuck: dict[int, int] = {}  # by address; empty on a healthy chip, which keeps reads fast

    def stick(self, register: str, value: int | None, at_ns: int) -> int:
        """Hold `value` (None: the present one) from `at_ns` on. Return it. Raises SimError as `check` does."""
        addresses = self._addresses(register)
        held = self._present(addresses[0], at_ns) if value is None else self._fitting(register, value)
        self._stuck.update(dict.fromkeys(addresses, held))
        if self._is_stored(addresses[0]):
            self._set_cell(addresses[0], held, at_ns)
        return held

    def release(self, register: str) -> None:
        """End the fault; a stored register keeps its value until it is written."""
        for address in self._addresses(register):
            self._stuck.pop(address, None)

    def upset(self, register: str, value: int, at_ns: int) -> None:
        """Change a stored register once, as by a disturbance; the driver can write it again."""
        self.check(register, value, upset=True)
        address = self._addresses(register)[0]
        if address not in self._stuck:
            self._set_cell(address, value, at_ns)

    def check(self, register: str, value: int | None, upset: bool = False) -> None:
        """Raise SimError if `stick` or `upset` is impossible: unknown register, or a value out of range."""
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

    # ---- Methods of a chip model

    @abc.abstractmethod
    def _bits(self, address: int) -> int:
        """Return the width of a register in bits."""

    @abc.abstractmethod
    def _is_stored(self, address: int) -> bool:
        """Return whether the register is a cell that keeps the written value, not a measurement."""

    @abc.abstractmethod
    def _present(self, address: int, at_ns: int) -> int:
        """Return the value that a read gives now, without the side effects of a read."""

    @abc.abstractmethod
    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        """Set a stored register, with all effects of the new value."""
