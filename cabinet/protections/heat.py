"""Temperature protection of an outlet's contacts, and the plausibility check of thermometers. Pure."""

from collections import deque

from cabinet.model import Fault, Quality, Reading
from cabinet.protections.inputs import NS, OutletInputs, ProtectionLimits

RISE_WINDOW_NS = 30 * NS  # a slope over less would only be the thermometer's 0.0625 K step (TMP102 data sheet)
JUMP_K = 5  # between two readings: a thermometer in a plug cannot rise by more than this plus JUMP_K_PER_S
JUMP_K_PER_S = 2


class OutletHot:
    """Trip on contacts that are too hot, or that heat up faster than any charge heats them."""

    fault = Fault.OUTLET_HOT
    latched = True
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits
        self._history: deque[Reading] = deque(maxlen=64)

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        reading = inputs.temperature_mc
        limits = self._limits
        if reading.quality is not Quality.OK or reading.value is None:
            return None
        rise = self._rise_mc_per_min(reading)
        if not inputs.closed:
            return None
        if reading.value >= limits.hot_trip_mc:
            return {"temperature_mc": reading.value, "limit_mc": limits.hot_trip_mc}
        if rise > limits.hot_rise_mc_per_min and reading.value > limits.hot_rise_above_mc:
            return {
                "temperature_mc": reading.value,
                "rise_mc_per_min": rise,
                "limit_mc_per_min": limits.hot_rise_mc_per_min,
            }
        return None

    def _rise_mc_per_min(self, reading: Reading) -> int:
        """Return the slope over the last RISE_WINDOW_NS; 0 until readings cover that span."""
        history = self._history
        if not history or reading.at_ns - history[-1].at_ns >= NS:
            history.append(reading)
        while len(history) > 1 and reading.at_ns - history[1].at_ns >= RISE_WINDOW_NS:
            history.popleft()
        oldest = history[0]
        past_ns = reading.at_ns - oldest.at_ns
        if past_ns < RISE_WINDOW_NS or reading.value is None or oldest.value is None:
            return 0
        return (reading.value - oldest.value) * 60 * NS // past_ns

    def warm(self, inputs: OutletInputs) -> bool:
        """Return whether the temperature is above the warning threshold."""
        value = inputs.temperature_mc.value
        return value is not None and value >= self._limits.hot_warn_mc

    def present(self, inputs: OutletInputs) -> bool:
        value = inputs.temperature_mc.value
        return value is not None and value > self._limits.hot_trip_mc - self._limits.hot_hysteresis_mc

    def reset(self) -> None:
        self._history.clear()


def plausible(temperature_mc: int, at_ns: int, before: Reading) -> bool:
    """Return whether a thermometer in a plug can go from `before` to this value; if not, the sensor is faulty."""
    if not -40_000 <= temperature_mc <= 125_000:  # the TMP102's range
        return False
    if before.value is None:
        return True
    allowed_mc = 1000 * JUMP_K + 1000 * JUMP_K_PER_S * (at_ns - before.at_ns) // NS
    return abs(temperature_mc - before.value) <= allowed_mc
