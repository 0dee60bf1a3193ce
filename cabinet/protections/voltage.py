"""Protections against mains voltage outside its band: charges are suspended and resume by themselves. Pure."""

from typing import Annotated, ClassVar

from cabinet.model import Fault
from cabinet.protections.inputs import OutletInputs, OutletProtection
from cabinet.sections import Section, number


class VoltageSection(Section, frozen=True):
    """Outside these limits charges are suspended and none begins; they continue after a while inside."""

    ASCENDING = (("lowest_v", "highest_v"),)
    lowest_v: Annotated[float, number("undervoltage below", least=50, most=240)] = 176.0
    highest_v: Annotated[float, number("overvoltage above", least=100, most=300)] = 264.0
    after_s: Annotated[float, number("outside for so long suspends", least=0.2, most=10)] = 1.0
    back_s: Annotated[float, number("inside for so long before anything closes again", least=1, most=600)] = 60.0


class _Voltage(OutletProtection):
    """Suspend after a set time outside the band; allow the charge to resume after a set time inside."""

    section = VoltageSection
    suspends = True
    resumes = True
    upper: ClassVar[bool]  # which end of the band
    lowest_mv: int
    highest_mv: int
    after_ns: int
    back_ns: int
    _since_ns: int | None = None  # start of the time outside
    _last_ns: int | None = None  # last time outside, after long enough to suspend

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        voltage, limit_mv = inputs.voltage_mv, self.highest_mv if self.upper else self.lowest_mv
        if voltage.value is None:
            return None
        if not (voltage.value > limit_mv if self.upper else voltage.value < limit_mv):
            self._since_ns = None
            return None
        self._since_ns = voltage.at_ns if self._since_ns is None else self._since_ns
        if voltage.at_ns - self._since_ns < self.after_ns:
            return None
        self._last_ns = inputs.at_ns
        return {"voltage_mv": voltage.value, "limit_mv": limit_mv} if inputs.closed else None

    def present(self, inputs: OutletInputs) -> bool:
        return self._last_ns is not None and inputs.at_ns - self._last_ns < self.back_ns


class Overvoltage(_Voltage):
    fault = Fault.OVERVOLTAGE
    latched = False
    upper = True


class Undervoltage(_Voltage):
    fault = Fault.UNDERVOLTAGE
    latched = False
    upper = False
