"""Relay that does not close. Pure."""

from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import SQRT2_PER_MILLE, Configuration, OutletInputs, OutletProtection
from cabinet.sections import Section, milli, number


class RelayStuckOpenSection(Section, frozen=True):
    """A relay that should be closed, is found open and carries no current: the charge ends, the outlet is latched."""

    after_s: Annotated[float, number("found open for so long", least=0.5, most=10)] = 1.0


class RelayStuckOpen(OutletProtection):
    """Trip if the relay is commanded closed, its output is found open, and no current flows."""

    fault = Fault.RELAY_STUCK_OPEN
    section = RelayStuckOpenSection
    latched = True
    each_tick = True
    only_unusual = True
    after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._peak_limit_ma = milli(config.protections.relay_welded.current_a) * SQRT2_PER_MILLE // 1000

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if inputs.found_open_at_ns is None or inputs.window is None or not inputs.closed:
            return None
        open_ns = inputs.at_ns - inputs.found_open_at_ns
        if open_ns < self.after_ns or inputs.window.peak_ma > self._peak_limit_ma + inputs.crosstalk_ma:
            return None
        return {"open_ms": open_ns // 1_000_000, "peak_ma": inputs.window.peak_ma}
