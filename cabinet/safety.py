"""The protection functions: readings and time in, verdicts out.

Pure: nothing here waits, looks at a clock, or knows of relays, buses or sessions. Each protection is a small object
with its own limits, its own state and a `why` that holds the numbers which tripped it. `PROTECTIONS` is the one
ordered table: where several trip in one step, the first in the table names the fault.
"""

import math
from collections import deque
from typing import Protocol

import msgspec

from cabinet.model import ABSENT, Fault, Quality, Reading, Trip

NS = 1_000_000_000
SQRT2_PER_MILLE = 1414

# Thermal image of `overcurrent`: heat runs towards I² with this time constant, and trips at (1.2 In)². From cold that
# is never at 1.13 In, 10.4 s at 1.45 In, 1.6 s at 3 In: the meter's own 0.3 s of lag still leaves 3 In under 2 s.
THERMAL_TAU_S = 9.0
THERMAL_TRIP_SHARE = 1.2

RISE_WINDOW_NS = 30 * NS  # a slope over less would be the thermometer's 0.0625 K step (TMP102 data sheet)
JUMP_K = 5  # between two readings: what is more, plus JUMP_K_PER_S, no thermometer in a plug can make
JUMP_K_PER_S = 2
LONGEST_INRUSH_NS = 3_000_000  # measured ones lasted 1 to 2.7 ms
SENSOR_BACK_NS = 3 * NS // 10  # readings must be valid again for so long before an outlet may close
WELD_HITS = 3  # windows with current: one alone may be a disturbance, and rectifiers draw once in 10 ms
WELD_WINDOW_NS = NS // 10


class Limits(msgspec.Struct, frozen=True):
    """Limits of all protections in milli-units; built from `cabinet.toml` by the guard."""

    short_peak_ma: int
    short_window_ns: int
    hard_peak_ma: int
    rated_ma: int
    hot_trip_mc: int
    hot_warn_mc: int
    hot_rise_mc_per_min: int
    hot_rise_above_mc: int
    hot_hysteresis_mc: int
    peak_lost_ns: int
    slow_lost_ns: int
    temperature_lost_ns: int
    weld_ma: int
    weld_after_ns: int
    late_ns: int
    lowest_mv: int
    highest_mv: int
    half_cycle_ns: int
    thermometer_fitted: bool


class PeakWindow(msgspec.Struct, frozen=True, gc=False):
    """The largest instantaneous current between two reads of the peak register.

    `first_half_cycle` to `last_half_cycle` are the half-cycles the window may touch, counted by the mains' own zero
    crossings; None where the mains phase is not known.
    """

    peak_ma: int
    from_ns: int
    to_ns: int
    first_half_cycle: int | None
    last_half_cycle: int | None


class OutletNow(msgspec.Struct):
    """What the guard knows of one outlet at a tick. `window` is None unless a peak was read since the last step."""

    outlet: int
    at_ns: int = 0
    closed: bool = False
    switched_at_ns: int = 0  # when `closed` last changed
    window: PeakWindow | None = None
    peak_valid_at_ns: int = 0  # last valid read of the peak register
    current_ma: Reading = ABSENT
    voltage_mv: Reading = ABSENT
    power_mw: Reading = ABSENT
    temperature_mc: Reading = ABSENT
    late_ns: int = 0  # for how long, beyond a period, nobody looked
    crosstalk_ma: int = 0  # peak that the load on the chip's other input may show here


class Protection(Protocol):
    """One function. `step` is called once a tick; it returns the numbers that trip it, or None."""

    fault: Fault
    latched: bool
    whole_cabinet: bool

    def step(self, now: OutletNow) -> dict[str, int] | None: ...

    def present(self, now: OutletNow) -> bool:
        """Whether the cause is still there (an auto fault may go once it is not)."""

    def reset(self) -> None:
        """Forget what was seen before: the outlet was switched, or its latch cleared."""


class ShortCircuit:
    """A peak above the limit in two different half-cycles, or once above what no inrush reaches.

    A charger's inrush stays within one half-cycle; a shorted rectifier diode conducts in every other one and an arc
    skips some, so the two need not follow each other. A window that may lie in either of two half-cycles counts as
    the one that makes it the same as its neighbour: at worst that costs one more window, never a false trip.

    An inrush that straddles a zero crossing is in two half-cycles and is still one: between the two the current must
    have been seen low, or more time have passed than an inrush lasts.
    """

    fault = Fault.SHORT_CIRCUIT
    latched = True
    whole_cabinet = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hits: deque[PeakWindow] = deque(maxlen=64)
        self._low_at_ns = 0  # when it was last seen under the limit

    def step(self, now: OutletNow) -> dict[str, int] | None:
        window = now.window
        limits = self._limits
        if window is None or not now.closed:
            return None
        if window.peak_ma <= limits.short_peak_ma:
            self._low_at_ns = window.to_ns
            return None
        if window.peak_ma > limits.hard_peak_ma:
            return {"peak_ma": window.peak_ma, "limit_ma": limits.hard_peak_ma}
        while self._hits and window.from_ns - self._hits[0].to_ns > limits.short_window_ns:
            self._hits.popleft()
        for hit in self._hits:
            if self._in_another_half_cycle(hit, window) and self._another_rise(hit, window):
                why = {"peak_ma": window.peak_ma, "earlier_peak_ma": hit.peak_ma, "limit_ma": limits.short_peak_ma}
                return why | self._crest()
        self._hits.append(window)
        return None

    def _crest(self) -> dict[str, int]:
        """The greatest current there has been, if its crest was seen: something before it was lower.

        A short that begins behind the crest shows only the falling side, and the next half-cycle, in which it trips,
        has only begun: how high it will go is then not known, and nothing is said of it.
        """
        peaks = [hit.peak_ma for hit in self._hits]
        return {"crest_ma": max(peaks)} if max(peaks) > peaks[0] else {}

    def _in_another_half_cycle(self, earlier: PeakWindow, later: PeakWindow) -> bool:
        if earlier.last_half_cycle is None or later.first_half_cycle is None:
            return later.from_ns - earlier.to_ns >= self._limits.half_cycle_ns
        return later.first_half_cycle > earlier.last_half_cycle

    def _another_rise(self, earlier: PeakWindow, later: PeakWindow) -> bool:
        """Not one inrush on both sides of a zero crossing."""
        return self._low_at_ns > earlier.to_ns or later.from_ns - earlier.to_ns >= LONGEST_INRUSH_NS

    def present(self, now: OutletNow) -> bool:
        return False

    def reset(self) -> None:
        self._hits.clear()
        self._low_at_ns = 0


class SensorLost:
    """No valid reading for too long: an outlet nobody watches is open. A lost sensor is never 0 A."""

    fault = Fault.SENSOR_LOST
    latched = False
    whole_cabinet = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._missing_at_ns: int | None = None

    def step(self, now: OutletNow) -> dict[str, int] | None:
        missing = self._missing(now)
        if missing is None:
            return None
        self._missing_at_ns = now.at_ns
        return missing if now.closed else None

    def _missing(self, now: OutletNow) -> dict[str, int] | None:
        limits = self._limits
        if (age_ns := now.at_ns - now.peak_valid_at_ns) > limits.peak_lost_ns:
            return {"peak_age_ms": age_ns // 1_000_000}
        oldest_ns = now.at_ns - limits.slow_lost_ns
        if now.current_ma.at_ns < oldest_ns or now.power_mw.at_ns < oldest_ns or now.voltage_mv.at_ns < oldest_ns:
            return {
                "current_age_ms": (now.at_ns - now.current_ma.at_ns) // 1_000_000,
                "power_age_ms": (now.at_ns - now.power_mw.at_ns) // 1_000_000,
                "voltage_age_ms": (now.at_ns - now.voltage_mv.at_ns) // 1_000_000,
            }
        if limits.thermometer_fitted and (age_ns := now.at_ns - now.temperature_mc.at_ns) > limits.temperature_lost_ns:
            return {"temperature_age_ms": age_ns // 1_000_000}
        return None

    def present(self, now: OutletNow) -> bool:
        """True until everything has been valid for `SENSOR_BACK_NS`."""
        return self._missing_at_ns is not None and now.at_ns - self._missing_at_ns < SENSOR_BACK_NS

    def reset(self) -> None:
        """What is missing shows by itself."""


class Overcurrent:
    """A thermal image of the outlet: heat follows I² as a wire's would (see THERMAL_TAU_S)."""

    fault = Fault.OVERCURRENT
    latched = True
    whole_cabinet = False

    def __init__(self, limits: Limits) -> None:
        self._trip_heat = (THERMAL_TRIP_SHARE * limits.rated_ma) ** 2
        self._heat = 0.0
        self._at_ns: int | None = None

    def step(self, now: OutletNow) -> dict[str, int] | None:
        current = now.current_ma
        if current.value is None or current.at_ns == self._at_ns:
            return None
        past_s = 0.0 if self._at_ns is None else (current.at_ns - self._at_ns) / NS
        self._at_ns = current.at_ns
        self._heat += (current.value**2 - self._heat) * -math.expm1(-past_s / THERMAL_TAU_S)
        if self._heat <= self._trip_heat or not now.closed:
            return None
        return {"current_ma": current.value, "heat_percent": int(100 * self._heat / self._trip_heat)}

    def present(self, now: OutletNow) -> bool:
        """Warm from what tripped it: closing at once would find a hot wire."""
        return self._heat > self._trip_heat / 2

    def reset(self) -> None:
        """Heat is not forgotten with a latch: a wire does not cool because staff pressed a key."""


class OutletHot:
    """Contacts too hot, or heating up faster than any charge makes them."""

    fault = Fault.OUTLET_HOT
    latched = True
    whole_cabinet = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._history: deque[Reading] = deque(maxlen=64)

    def step(self, now: OutletNow) -> dict[str, int] | None:
        reading = now.temperature_mc
        limits = self._limits
        if reading.quality is not Quality.OK or reading.value is None:
            return None
        rise = self._rise_mc_per_min(reading)
        if not now.closed:
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
        """Slope over the last RISE_WINDOW_NS; 0 until that much has been seen."""
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

    def warm(self, now: OutletNow) -> bool:
        """Above the warning threshold."""
        value = now.temperature_mc.value
        return value is not None and value >= self._limits.hot_warn_mc

    def present(self, now: OutletNow) -> bool:
        value = now.temperature_mc.value
        return value is not None and value > self._limits.hot_trip_mc - self._limits.hot_hysteresis_mc

    def reset(self) -> None:
        self._history.clear()


class RelayWelded:
    """Current although the relay was told to open: only the contactor can end it, so all outlets go."""

    fault = Fault.RELAY_WELDED
    latched = True
    whole_cabinet = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peak_limit_ma = limits.weld_ma * SQRT2_PER_MILLE // 1000
        self._hits: deque[int] = deque(maxlen=WELD_HITS)

    def step(self, now: OutletNow) -> dict[str, int] | None:
        window = now.window
        if window is None or now.closed or window.from_ns < now.switched_at_ns + self._limits.weld_after_ns:
            return None
        limit_ma = self._peak_limit_ma + now.crosstalk_ma
        if window.peak_ma <= limit_ma:
            return None
        self._hits.append(window.to_ns)
        if not self.present(now):
            return None
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def present(self, now: OutletNow) -> bool:
        return len(self._hits) == WELD_HITS and now.at_ns - self._hits[0] <= WELD_WINDOW_NS

    def reset(self) -> None:
        self._hits.clear()


class GuardLate:
    """The loop itself was away for so long that nobody watched: everything opens."""

    fault = Fault.GUARD_LATE
    latched = False
    whole_cabinet = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def step(self, now: OutletNow) -> dict[str, int] | None:
        if now.late_ns <= self._limits.late_ns or not now.closed:
            return None
        return {"late_ms": now.late_ns // 1_000_000, "limit_ms": self._limits.late_ns // 1_000_000}

    def present(self, now: OutletNow) -> bool:
        return False

    def reset(self) -> None:
        """Has no state of its own."""


# The order is the priority: what burns first comes first, and a cause before what follows from it. Readings grow old
# while the guard is away, so that it was away is said rather than that a sensor is lost.
PROTECTIONS: tuple[type[ShortCircuit | RelayWelded | GuardLate | SensorLost | Overcurrent | OutletHot], ...] = (
    ShortCircuit,
    RelayWelded,
    GuardLate,
    SensorLost,
    Overcurrent,
    OutletHot,
)


class OutletSafety:
    """All protections of one outlet, in the order of the table."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._all: tuple[Protection, ...] = tuple(kind(limits) for kind in PROTECTIONS)
        self._by_fault = {protection.fault: protection for protection in self._all}
        self._hot = next(protection for protection in self._all if isinstance(protection, OutletHot))
        self._warned = False

    def step(self, now: OutletNow) -> Trip | None:
        """The first protection of the table that trips now. Every one is stepped, so that each keeps its state."""
        verdict: Trip | None = None
        for protection in self._all:
            why = protection.step(now)
            if why is not None and verdict is None:
                outlet = None if protection.whole_cabinet else now.outlet
                verdict = Trip(protection.fault, outlet, now.at_ns, protection.latched, why)
        return verdict

    def newly_warm(self, now: OutletNow) -> bool:
        """True once when the contacts reach the warning threshold, until they have cooled."""
        if self._hot.warm(now):
            was, self._warned = self._warned, True
            return not was
        self._warned = self._warned and self._hot.present(now)
        return False

    def present(self, fault: Fault, now: OutletNow) -> bool:
        """Whether the cause of `fault` is still there."""
        return self._by_fault[fault].present(now)

    def reset(self, fault: Fault | None = None) -> None:
        """Forget the past of one protection, or of all."""
        for protection in self._all:
            if fault is None or protection.fault is fault:
                protection.reset()

    def refusal(self, now: OutletNow) -> str | None:
        """The pre-close check on what is measured: the code of what is in the way, or None."""
        if self._by_fault[Fault.RELAY_WELDED].present(now):
            return "relay_welded"
        if self._by_fault[Fault.SENSOR_LOST].present(now):
            return "sensor_lost"
        voltage_mv = now.voltage_mv.value
        if voltage_mv is None or not self.limits.lowest_mv <= voltage_mv <= self.limits.highest_mv:
            return "voltage_out_of_band"
        if self._hot.present(now) or self._by_fault[Fault.OVERCURRENT].present(now):
            return "outlet_hot"
        return None


def believable(temperature_mc: int, at_ns: int, before: Reading) -> bool:
    """Whether a thermometer in a plug can have gone from `before` to this: anything else is the sensor's fault."""
    if not -40_000 <= temperature_mc <= 125_000:  # the TMP102's range
        return False
    if before.value is None:
        return True
    allowed_mc = 1000 * JUMP_K + 1000 * JUMP_K_PER_S * (at_ns - before.at_ns) // NS
    return abs(temperature_mc - before.value) <= allowed_mc
