"""Chips with altered settings: their measurements are wrong until they are set up again. Pure."""

from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import Section, nanoseconds, number


class SensorResetSection(Section, frozen=True):
    """A meter chip back at its power-on values is set up again; if that takes too long, its outlets open."""

    after_s: Annotated[float, number("not set up again for so long opens the outlet", least=0.05, most=1)] = 0.1


class SensorReset(OutletProtection):
    """Trip if a chip with altered settings is not set up again in time, as its measurements are wrong.

    The limit is `after_ns` for a meter, and for a thermometer the time that a temperature may be missing.
    """

    fault = Fault.SENSOR_RESET
    latched = False
    section = SensorResetSection
    each_tick = True
    only_unusual = True
    resumes = True
    after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._thermometer_fitted = outlet.thermometer is not None
        self._temperature_lost_ns = nanoseconds(config.protections.sensor_lost.temperature_after_s)

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if not inputs.closed or (inputs.reset_at_ns is None and inputs.thermometer_reset_at_ns is None):
            return None  # runs every tick, so it is kept small
        for unmeasured_ns, limit_ns in (self._meter(inputs), self._thermometer(inputs)):
            if unmeasured_ns > limit_ns:
                return {"unmeasured_ms": unmeasured_ns // 1_000_000, "limit_ms": limit_ns // 1_000_000}
        return None

    def _meter(self, inputs: OutletInputs) -> tuple[int, int]:
        """Return for how long the meter has not measured since its reset, and the limit for that."""
        return 0 if inputs.reset_at_ns is None else inputs.at_ns - inputs.peak_valid_at_ns, self.after_ns

    def _thermometer(self, inputs: OutletInputs) -> tuple[int, int]:
        lost = inputs.thermometer_reset_at_ns is not None and self._thermometer_fitted
        return inputs.at_ns - inputs.temperature_mc.at_ns if lost else 0, self._temperature_lost_ns

    def present(self, inputs: OutletInputs) -> bool:
        """Return whether the last good reading is too old: a chip that is in reset does not count as lost."""
        return any(
            unmeasured_ns > limit_ns for unmeasured_ns, limit_ns in (self._meter(inputs), self._thermometer(inputs))
        )
