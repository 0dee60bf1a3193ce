"""Transient currents: the inrush of a charger, and its sum with the steady current."""

import itertools
import math
from collections.abc import Sequence

from cabinet.sim.waveform import Mains, Wave

_STEP_NS = 50_000
_NS = 1e-9


class HalfSinePulse:
    """A half-sine of current from `start_ns`, `width_ns` long, into a charging capacitor; zero before and after."""

    __slots__ = ("_amp", "_end_ns", "_mains", "_start_ns", "_width_ns")

    def __init__(self, mains: Mains, peak_a: float, start_ns: int, width_ns: int) -> None:
        self._mains = mains
        self._amp = math.copysign(peak_a, mains.value_v(start_ns + width_ns // 2))
        self._start_ns = start_ns
        self._width_ns = width_ns
        self._end_ns = start_ns + width_ns

    def value_a(self, at_ns: int) -> float:
        if not self._start_ns <= at_ns <= self._end_ns:
            return 0.0
        return self._amp * math.sin(math.pi * (at_ns - self._start_ns) / self._width_ns)

    def max_a(self) -> float:
        return abs(self._amp)

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        middle = self._start_ns + self._width_ns // 2
        nearest = min(max(middle, from_ns), to_ns)
        return abs(self.value_a(nearest))

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        """Return the integral of a product of two sines: a difference and a sum of angles."""
        start, end = max(from_ns, self._start_ns), min(to_ns, self._end_ns)
        if end <= start:
            return 0.0
        pulse = math.pi / (self._width_ns * _NS)
        mains = math.pi / (self._mains.half_ns * _NS)
        angle = self._mains.angle(self._start_ns)

        def integral(at_ns: int) -> float:
            s = (at_ns - self._start_ns) * _NS
            less, more = pulse - mains, pulse + mains
            first = s * math.cos(angle) if abs(less) < 1e-6 else math.sin(less * s - angle) / less
            return (first - math.sin(more * s + angle) / more) / 2

        return self._amp * self._mains.peak_v * (integral(end) - integral(start))

    def _square(self, from_ns: int, to_ns: int) -> float:
        start, end = max(from_ns, self._start_ns), min(to_ns, self._end_ns)
        if end <= start:
            return 0.0
        a = math.pi / self._width_ns
        low, high = start - self._start_ns, end - self._start_ns
        swing = (math.sin(2 * a * high) - math.sin(2 * a * low)) / (2 * a)
        return self._amp**2 * ((high - low) - swing) / 2 * _NS

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        return self._square(from_ns, to_ns) / ((to_ns - from_ns) * _NS) if to_ns > from_ns else 0.0

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        return self.energy_j(from_ns, to_ns) / ((to_ns - from_ns) * _NS) if to_ns > from_ns else 0.0

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        return 0.0

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        if abs(self._amp) <= level_a:
            return None
        rise = math.asin(level_a / abs(self._amp)) / math.pi * self._width_ns
        if from_ns > self._end_ns - rise:
            return None
        return max(from_ns, self._start_ns + math.ceil(rise))

    def zero_after_ns(self, at_ns: int) -> int:
        return max(at_ns, self._end_ns) if at_ns >= self._start_ns else at_ns


CHARGING_HALF_CYCLES = 4  # after these, a rectifier's capacitor draws only the current of the load
_FILL_STEP_NS = 20_000


class Sampled:
    """A current in steps of equal length, computed once: constant within a step, zero before and after."""

    __slots__ = ("_amps", "_joule", "_most_a", "_square", "_start_ns", "_step_ns", "end_ns")

    def __init__(self, start_ns: int, step_ns: int, amps: Sequence[float], volts: Sequence[float]) -> None:
        """Take the current and the driving voltage of each step."""
        self._start_ns = start_ns
        self._step_ns = step_ns
        self.end_ns = start_ns + len(amps) * step_ns
        step_s = step_ns * _NS
        self._amps = [0.0, *amps]
        self._joule = [0.0, *itertools.accumulate(a * v * step_s for a, v in zip(amps, volts, strict=True))]
        self._square = [0.0, *itertools.accumulate(a * a * step_s for a in amps)]
        self._most_a = max(map(abs, self._amps))

    def _place(self, at_ns: int) -> float:
        return min(max((at_ns - self._start_ns) / self._step_ns, 0.0), len(self._amps) - 1.0)

    def _between(self, sums: list[float], from_ns: int, to_ns: int) -> float:
        def up_to(at_ns: int) -> float:
            place = self._place(at_ns)
            whole = min(int(place), len(sums) - 2)
            return sums[whole] + (sums[whole + 1] - sums[whole]) * (place - whole)

        return up_to(to_ns) - up_to(from_ns)

    def value_a(self, at_ns: int) -> float:
        if not self._start_ns <= at_ns < self.end_ns:
            return 0.0
        return self._amps[int(self._place(at_ns)) + 1]

    def max_a(self) -> float:
        return self._most_a

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        if to_ns < self._start_ns or from_ns >= self.end_ns:
            return 0.0
        first, last = int(self._place(from_ns)) + 1, int(self._place(to_ns)) + 1
        return max(map(abs, self._amps[first : last + 1]), default=0.0)

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        return self._between(self._joule, from_ns, to_ns)

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        return self._between(self._square, from_ns, to_ns) / ((to_ns - from_ns) * _NS) if to_ns > from_ns else 0.0

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        return self.energy_j(from_ns, to_ns) / ((to_ns - from_ns) * _NS) if to_ns > from_ns else 0.0

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        return 0.0

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        if from_ns >= self.end_ns:
            return None
        first = int(self._place(from_ns)) + 1
        for number in range(first, len(self._amps)):
            if abs(self._amps[number]) > level_a:
                return max(from_ns, self._start_ns + (number - 1) * self._step_ns)
        return None

    def zero_after_ns(self, at_ns: int) -> int:
        if not self._start_ns <= at_ns < self.end_ns:
            return at_ns
        first = int(self._place(at_ns)) + 1
        flowing = next((n for n in range(first, len(self._amps)) if not self._amps[n]), len(self._amps))
        return max(at_ns, self._start_ns + (flowing - 1) * self._step_ns)


class CapacitorCharging(Sampled):
    """A rectifier's capacitor that charges through an inrush limiter, for `CHARGING_HALF_CYCLES` half-cycles.

    Current flows while the mains is above the capacitor's voltage, which follows with the RC time constant. The steps
    are 20 us; within a step the mains is taken as constant and the exponential is exact.
    """

    __slots__ = ()

    def __init__(self, mains: Mains, capacitor_f: float, limiter_ohm: float, charged: float, start_ns: int) -> None:
        decay = math.exp(-_FILL_STEP_NS * _NS / (limiter_ohm * capacitor_f))
        filled_v = charged * mains.peak_v
        amps, volts = [], []
        for number in range(round(CHARGING_HALF_CYCLES * mains.half_ns / _FILL_STEP_NS)):
            mains_v = mains.value_v(start_ns + number * _FILL_STEP_NS + _FILL_STEP_NS // 2)
            over_v = max(0.0, abs(mains_v) - filled_v) * (1 - decay)
            filled_v += over_v
            amps.append(math.copysign(over_v * capacitor_f / (_FILL_STEP_NS * _NS), mains_v))
            volts.append(mains_v)
        super().__init__(start_ns, _FILL_STEP_NS, amps, volts)


_IRON_STEP_NS = 100_000
IRON_KNEE = 1.2  # times the nominal crest of the flux; cores saturate slightly above it by design
IRON_WORST = 2.7  # times the same, for full remanence (0.7) and switch-on at a zero crossing of the voltage
MAX_IRON_CYCLES = 25


class Magnetising(Sampled):
    """The inrush of an iron-core transformer: crests of one sign, one per cycle, each lower than the one before.

    The flux is the integral of the voltage. At a zero crossing of the voltage the steady flux would be at its crest. If
    the transformer is switched on there, the flux starts at the core's `remanence` instead and swings around an offset,
    which the winding's resistance reduces with the time constant `decay_ns`. Above the knee the core is saturated and
    the current rises as in air, to `peak_a` in the worst case, at full remanence.
    """

    __slots__ = ()

    def __init__(self, mains: Mains, peak_a: float, decay_ns: float, remanence: float, start_ns: int) -> None:
        begin = mains.angle(start_ns)
        offset = math.cos(begin) + remanence
        lasts_ns = decay_ns * math.log(max(1.0, abs(offset) / (IRON_KNEE - 1)))
        lasts_ns = min(lasts_ns, MAX_IRON_CYCLES * 2 * mains.half_ns)
        per_flux = peak_a / (IRON_WORST - IRON_KNEE)
        amps, volts = [0.0], [0.0]
        for number in range(math.ceil(lasts_ns / _IRON_STEP_NS)):
            past_ns = (number + 0.5) * _IRON_STEP_NS
            flux = offset * math.exp(-past_ns / decay_ns) - math.cos(begin + math.pi * past_ns / mains.half_ns)
            amps.append(math.copysign(per_flux * max(0.0, abs(flux) - IRON_KNEE), flux))
            volts.append(mains.value_v(start_ns + round(past_ns)))
        super().__init__(start_ns, _IRON_STEP_NS, amps, volts)


class Sum:
    """Sum of currents during a transient: energy is exact, the other values are finely sampled."""

    __slots__ = ("parts",)

    def __init__(self, waves: Sequence[Wave]) -> None:
        self.parts = tuple(waves)

    def value_a(self, at_ns: int) -> float:
        return sum(wave.value_a(at_ns) for wave in self.parts)

    def _grid(self, from_ns: int, to_ns: int) -> list[int]:
        return [*range(from_ns, to_ns, _STEP_NS), to_ns]

    def max_a(self) -> float:
        return sum(wave.max_a() for wave in self.parts)

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        return max(abs(self.value_a(at_ns)) for at_ns in self._grid(from_ns, to_ns))

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        return sum(wave.energy_j(from_ns, to_ns) for wave in self.parts)

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        grid = self._grid(from_ns, to_ns)
        return sum(self.value_a(at_ns) ** 2 for at_ns in grid) / len(grid)

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        return sum(wave.mean_w(from_ns, to_ns) for wave in self.parts)

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        return sum(wave.mean_var(from_ns, to_ns) for wave in self.parts)

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        far_ns = from_ns + 40_000_000  # two cycles: a sum lasts no longer than a transient
        grid = self._grid(from_ns, far_ns)
        return next((at_ns for at_ns in grid if abs(self.value_a(at_ns)) > level_a), None)

    def zero_after_ns(self, at_ns: int) -> int:
        return max(wave.zero_after_ns(at_ns) for wave in self.parts)
