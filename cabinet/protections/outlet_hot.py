"""Temperature protection of an outlet's contacts, and the plausibility check of thermometers. Pure."""

from collections import deque
from typing import Annotated, Any

from cabinet.model import Fault, Quality, Reading
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import NS, Section, number

RISE_WINDOW_NS = 30 * NS  # a slope over less would only be the thermometer's 0.0625 K step (TMP102 data sheet)
JUMP_K = 5  # between two readings: a thermometer in a plug cannot rise by more than this plus JUMP_K_PER_S
JUMP_K_PER_S = 2


class OutletHotSection(Section, frozen=True):
    """Contacts too hot, or heating too fast: the outlet opens and is latched."""

    ASCENDING = (("warn_c", "trip_c"),)
    trip_c: Annotated[float, number("contacts hotter than this open", least=40, most=90)] = 75.0
    warn_c: Annotated[float, number("staff are warned", least=35, most=85)] = 65.0
    rise_k_per_min: Annotated[
        float, number("rising faster than this above `rise_above_c` opens", above=0, most=100)
    ] = 8.0
    rise_above_c: Annotated[float, number("a rise from a cold night is no fault below this", least=0, most=80)] = 45.0
    hysteresis_k: Annotated[float, number("must have cooled by this before it may close again", least=1, most=30)] = (
        10.0
    )


class OutletHot(OutletProtection):
    """Trip on contacts that are too hot, or that heat up faster than any charge heats them."""

    fault = Fault.OUTLET_HOT
    section = OutletHotSection
    latched = True
    trip_mc: int
    warn_mc: int
    rise_mk_per_min: int
    rise_above_mc: int
    hysteresis_mk: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._history: deque[Reading] = deque(maxlen=64)

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        reading = inputs.temperature_mc
        if reading.quality is not Quality.OK or reading.value is None:
            return None
        rise = self._rise_mc_per_min(reading)
        if not inputs.closed:
            return None
        if reading.value >= self.trip_mc:
            return {"temperature_mc": reading.value, "limit_mc": self.trip_mc}
        if rise > self.rise_mk_per_min and reading.value > self.rise_above_mc:
            return {
                "temperature_mc": reading.value,
                "rise_mc_per_min": rise,
                "limit_mc_per_min": self.rise_mk_per_min,
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
        return value is not None and value >= self.warn_mc

    def present(self, inputs: OutletInputs) -> bool:
        value = inputs.temperature_mc.value
        return value is not None and value > self.trip_mc - self.hysteresis_mk

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
