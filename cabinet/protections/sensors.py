"""Protections against sensors with missing or wrong readings: an outlet without monitoring is open. Pure."""

from cabinet.model import Fault
from cabinet.protections.evidence import PlausibleReadings
from cabinet.protections.inputs import NS, OutletInputs, ProtectionLimits

SENSOR_BACK_NS = 3 * NS // 10  # readings must be valid again for this long before an outlet may close


class SensorLost:
    """Trip if there is no valid reading for too long: an unmonitored outlet is open. A lost sensor is never 0 A."""

    fault = Fault.SENSOR_LOST
    latched = False
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits
        self._missing_at_ns: int | None = None

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        missing = self._missing(inputs)
        if missing is None:
            return None
        self._missing_at_ns = inputs.at_ns
        return missing if inputs.closed else None

    def _missing(self, inputs: OutletInputs) -> dict[str, int] | None:
        limits = self._limits
        if (age_ns := inputs.at_ns - inputs.peak_valid_at_ns) > limits.peak_lost_ns:
            return {"peak_age_ms": age_ns // 1_000_000}
        oldest_ns = inputs.at_ns - limits.slow_lost_ns
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
            limits.thermometer_fitted
            and (age_ns := inputs.at_ns - inputs.temperature_mc.at_ns) > limits.temperature_lost_ns
        ):
            return {"temperature_age_ms": age_ns // 1_000_000}
        return None

    def present(self, inputs: OutletInputs) -> bool:
        """Return True until everything has been valid for `SENSOR_BACK_NS`."""
        return self._missing_at_ns is not None and inputs.at_ns - self._missing_at_ns < SENSOR_BACK_NS

    def reset(self) -> None:
        """Keep the state: a missing reading is detected again by itself."""


class SensorReset:
    """Trip if a chip with altered settings is not set up again in time, as its measurements are wrong.

    The limit is `reset_ns` for a meter, and for a thermometer the time that a temperature may be missing.
    """

    fault = Fault.SENSOR_RESET
    latched = False
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if not inputs.closed or (inputs.reset_at_ns is None and inputs.thermometer_reset_at_ns is None):
            return None  # runs every tick, so it is kept small
        for unmeasured_ns, limit_ns in (self._meter(inputs), self._thermometer(inputs)):
            if unmeasured_ns > limit_ns:
                return {"unmeasured_ms": unmeasured_ns // 1_000_000, "limit_ms": limit_ns // 1_000_000}
        return None

    def _meter(self, inputs: OutletInputs) -> tuple[int, int]:
        """Return for how long the meter has not measured since its reset, and the limit for that."""
        return 0 if inputs.reset_at_ns is None else inputs.at_ns - inputs.peak_valid_at_ns, self._limits.reset_ns

    def _thermometer(self, inputs: OutletInputs) -> tuple[int, int]:
        lost = inputs.thermometer_reset_at_ns is not None and self._limits.thermometer_fitted
        return inputs.at_ns - inputs.temperature_mc.at_ns if lost else 0, self._limits.temperature_lost_ns

    def present(self, inputs: OutletInputs) -> bool:
        """Return whether the last good reading is too old: a chip that is in reset does not count as lost."""
        return any(
            unmeasured_ns > limit_ns for unmeasured_ns, limit_ns in (self._meter(inputs), self._thermometer(inputs))
        )

    def reset(self) -> None:
        """Do nothing: there is no state."""


class SensorFrozen:
    """Trip on a reading that is frozen, or that another one contradicts: its sensor no longer measures."""

    fault = Fault.SENSOR_FROZEN
    latched = True
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._readings = PlausibleReadings(limits.frozen_ns, limits.slow_lost_ns)
        self._slow_read = -1

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        why = None
        if inputs.window is not None:
            self._readings.note_peak(inputs)
            why = self._readings.still_peaks(inputs)
        if inputs.slow_reads == self._slow_read:
            return why
        self._slow_read = inputs.slow_reads
        found = self._readings.slow(inputs)
        return why or found or inputs.still_thermometer

    def present(self, inputs: OutletInputs) -> bool:
        return False

    def reset(self) -> None:
        self._readings.clear()
