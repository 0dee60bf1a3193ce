"""Missing readings: an outlet without monitoring is open. Pure."""

from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import NS, Section, number

SENSOR_BACK_NS = 3 * NS // 10  # readings must be valid again for this long before an outlet may close


class SensorLostSection(Section, frozen=True):
    """An outlet that cannot be measured opens; it may close again when readings return."""

    peak_after_s: Annotated[float, number("no valid peak reading for so long opens the outlet", least=0.02, most=1)] = (
        0.1
    )
    slow_after_s: Annotated[
        float, number("no valid current, power or voltage for so long opens the outlet", least=0.2, most=10)
    ] = 1.0
    temperature_after_s: Annotated[
        float, number("no valid temperature for so long opens the outlet, where one is fitted", least=0.5, most=60)
    ] = 5.0


class SensorLost(OutletProtection):
    """Trip if there is no valid reading for too long: an unmonitored outlet is open. A lost sensor is never 0 A."""

    fault = Fault.SENSOR_LOST
    latched = False
    section = SensorLostSection
    each_tick = True
    resumes = True
    peak_after_ns: int
    slow_after_ns: int
    temperature_after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._thermometer_fitted = outlet.thermometer is not None
        self._missing_at_ns: int | None = None
        self._slow_read = -1
        self._slow_until_ns = 0  # until then no slow value is too old

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        at_ns = inputs.at_ns
        if inputs.slow_reads != self._slow_read:
            self._slow_read, self._slow_until_ns = inputs.slow_reads, self._oldest_until_ns(inputs)
        if at_ns - inputs.peak_valid_at_ns <= self.peak_after_ns and at_ns <= self._slow_until_ns:
            return None
        missing = self._missing(inputs)
        if missing is None:
            return None
        self._missing_at_ns = inputs.at_ns
        return missing if inputs.closed else None

    def _oldest_until_ns(self, inputs: OutletInputs) -> int:
        """Return when the first of the slow values will be too old, unless another one is read."""
        oldest_ns = min(inputs.current_ma.at_ns, inputs.power_mw.at_ns, inputs.voltage_mv.at_ns)
        until_ns = oldest_ns + self.slow_after_ns
        if self._thermometer_fitted:
            until_ns = min(until_ns, inputs.temperature_mc.at_ns + self.temperature_after_ns)
        return until_ns

    def _missing(self, inputs: OutletInputs) -> dict[str, int] | None:
        if (age_ns := inputs.at_ns - inputs.peak_valid_at_ns) > self.peak_after_ns:
            return {"peak_age_ms": age_ns // 1_000_000}
        oldest_ns = inputs.at_ns - self.slow_after_ns
        if (
            inputs.current_ma.at_ns < oldest_ns
            or inputs.power_mw.at_ns < oldest_ns
            or inputs.voltage_mv.at_ns < oldest_ns
        ):
            return {
                "current_age_ms": (inputs.at_ns - inputs.current_ma.at_ns) // 1_000_000,
                "power_age_ms": (inputs.at_ns - inputs.power_mw.at_ns) // 1_000_000,
                "voltage_age_ms": (inputs.at_ns - inputs.voltage_mv.at_ns) // 1_000_000,
            }
        if (
            self._thermometer_fitted
            and (age_ns := inputs.at_ns - inputs.temperature_mc.at_ns) > self.temperature_after_ns
        ):
            return {"temperature_age_ms": age_ns // 1_000_000}
        return None

    def present(self, inputs: OutletInputs) -> bool:
        """Return True until everything has been valid for `SENSOR_BACK_NS`."""
        return self._missing_at_ns is not None and inputs.at_ns - self._missing_at_ns < SENSOR_BACK_NS
