"""Overpower: more than the outlet's rated power. Pure."""

from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import Section, milli, number


class OverpowerSection(Section, frozen=True):
    """Power above the outlet's rating: the charge ends."""

    after_s: Annotated[float, number("above the outlet's `max_power_w` for so long", least=1, most=120)] = 10.0


class Overpower(OutletProtection):
    """Trip on more than the outlet's rated power, for longer than any start-up lasts."""

    fault = Fault.OVERPOWER
    latched = False
    section = OverpowerSection
    after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._limit_mw = milli(outlet.max_power_w)
        self._since_ns: int | None = None
        self._tripped_at_ns: int | None = None

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        power = inputs.power_mw
        if power.value is None or power.value <= self._limit_mw or not inputs.closed:
            self._since_ns = None
            return None
        self._since_ns = power.at_ns if self._since_ns is None else self._since_ns
        if power.at_ns - self._since_ns < self.after_ns:
            return None
        self._tripped_at_ns = inputs.at_ns
        return {"power_mw": power.value, "limit_mw": self._limit_mw}

    def present(self, inputs: OutletInputs) -> bool:
        """Return True for as long again as it took to trip: the next charge should not meet the same load."""
        return self._tripped_at_ns is not None and inputs.at_ns - self._tripped_at_ns < self.after_ns

    def reset(self) -> None:
        self._since_ns = None
