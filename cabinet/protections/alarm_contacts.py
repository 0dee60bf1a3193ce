"""Alarm contacts: smoke and water. Pure."""

from typing import ClassVar

from cabinet.model import Fault
from cabinet.protections.inputs import CabinetInputs, CabinetProtection
from cabinet.sections import NS


class AlarmContact(CabinetProtection):
    """An alarm contact that is open, or has a cut wire, for at least `least_ns`. A subclass reads it in `present`."""

    latched = True
    each_tick = True
    least_ns: ClassVar[int]
    _since_ns: int | None = None

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        if not self.present(inputs):
            self._since_ns = None
            return None
        self._since_ns = inputs.at_ns if self._since_ns is None else self._since_ns
        past_ns = inputs.at_ns - self._since_ns
        return {"alarm_ms": past_ns // 1_000_000} if past_ns >= self.least_ns else None


class Smoke(AlarmContact):
    fault = Fault.SMOKE
    siren = True
    least_ns = NS // 10  # rejects a contact that bounces in the draught of a door

    def present(self, inputs: CabinetInputs) -> bool:
        return inputs.smoke is True


class Water(AlarmContact):
    fault = Fault.WATER
    siren = True
    least_ns = NS

    def present(self, inputs: CabinetInputs) -> bool:
        return inputs.water is True
