"""Protections against mains voltage outside its band: charges are suspended and resume by themselves. Pure."""

from cabinet.model import Fault
from cabinet.protections.inputs import OutletInputs, ProtectionLimits


class _Voltage:
    """Suspend after a set time outside the band; allow the charge to resume after a set time inside."""

    latched = False
    whole_cabinet = False
    suspends = True

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits
        self._since_ns: int | None = None  # start of the time outside
        self._last_ns: int | None = None  # last time outside, after long enough to suspend

    def _limit_mv(self) -> int:
        raise NotImplementedError

    def _outside(self, voltage_mv: int) -> bool:
        raise NotImplementedError

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        voltage = inputs.voltage_mv
        if voltage.value is None:
            return None
        if not self._outside(voltage.value):
            self._since_ns = None
            return None
        self._since_ns = voltage.at_ns if self._since_ns is None else self._since_ns
        if voltage.at_ns - self._since_ns < self._limits.voltage_ns:
            return None
        self._last_ns = inputs.at_ns
        return {"voltage_mv": voltage.value, "limit_mv": self._limit_mv()} if inputs.closed else None

    def present(self, inputs: OutletInputs) -> bool:
        return self._last_ns is not None and inputs.at_ns - self._last_ns < self._limits.voltage_back_ns

    def reset(self) -> None:
        """Keep the state: switching an outlet does not change the voltage."""


class Overvoltage(_Voltage):
    fault = Fault.OVERVOLTAGE

    def _limit_mv(self) -> int:
        return self._limits.highest_mv

    def _outside(self, voltage_mv: int) -> bool:
        return voltage_mv > self._limits.highest_mv


class Undervoltage(_Voltage):
    fault = Fault.UNDERVOLTAGE

    def _limit_mv(self) -> int:
        return self._limits.lowest_mv

    def _outside(self, voltage_mv: int) -> bool:
        return voltage_mv < self._limits.lowest_mv
