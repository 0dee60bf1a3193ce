"""Currents as functions of time that give the values a meter needs, without stepping through samples.

A steady load is one table of a half-cycle and an amplitude. All values over an interval (greatest value, heat, energy,
first time above a level) are computed from the table and its running integrals. Inrush is a half-sine pulse. Units are
ampere, volt, watt, joule; times are nanoseconds of the clock.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from operator import add, mul
from typing import NamedTuple, Protocol

STEPS = 256  # per half-cycle: 39 us at 50 Hz, finer than the meter's samples of 143 us
_NS = 1e-9


class Shape(NamedTuple):
    """A pulse of current in every half-cycle: half a cosine `width` wide, its crest `lead` before the voltage's.

    Both are in radians of the mains. width = pi, lead = 0 is a resistor; a rectifier with a capacitor draws narrow
    pulses (crest factor sqrt(2 pi / width)) shortly before the crest of the voltage.
    """

    width: float
    lead: float

    @classmethod
    def of(cls, crest: float, power_factor: float) -> "Shape":
        """Return the pulse with that crest (peak over RMS) and power factor. Raises ValueError if there is none."""
        width = 2 * math.pi / crest**2
        if width > math.pi * 1.0001:
            raise ValueError(f"crest factor {crest} is below that of a sine")
        aligned = cls(min(width, math.pi), 0.0)
        best = aligned.power_factor
        if power_factor > best:
            raise ValueError(f"a crest factor of {crest} allows a power factor of {best:.3f} at most")
        return cls(aligned.width, math.acos(power_factor / best))

    @property
    def power_factor(self) -> float:
        a = math.pi / self.width
        sine = abs(a - 1) < 1e-9
        mean = 0.5 if sine else 2 * a * math.cos(self.width / 2) / (a * a - 1) / math.pi
        return math.cos(self.lead) * mean * math.sqrt(2) / math.sqrt(self.width / (2 * math.pi))

    def at(self, angle: float) -> float:
        """Return the current at `angle` after the voltage's rising zero crossing, 1 at its crest."""
        turn = (angle - (math.pi / 2 - self.lead) + math.pi / 2) / math.pi
        whole = math.floor(turn)
        x = (turn - whole - 0.5) * math.pi
        if abs(x) >= self.width / 2:
            return 0.0
        return math.cos(math.pi * x / self.width) * (-1.0 if whole & 1 else 1.0)


RESISTIVE = Shape(math.pi, 0.0)


class HalfWave:
    """Table of one half-cycle of current, with the running integral of current times voltage over the angle.

    `square` and `reactive` are integrals over the whole half-cycle. The crest of the voltage is taken as 1.
    """

    __slots__ = ("amps", "energy", "magnitude", "peak", "reactive", "square")

    def __init__(self, amps: list[float], energy: list[float], reactive: float) -> None:
        self.amps = amps
        self.energy = energy
        self.reactive = reactive
        self.magnitude = list(map(abs, amps))
        self.peak = max(self.magnitude)
        # The squares repeat every half-cycle, and over a full period the trapezoidal rule is as exact as any other.
        self.square: float = sum(map(mul, amps[1:], amps[1:])) * math.pi / STEPS

    @classmethod
    def of(cls, shape: Shape) -> "HalfWave":
        """Return the table of `shape` at 1 A peak."""
        fine = [shape.at(math.pi * j / (2 * STEPS)) for j in range(2 * STEPS + 1)]
        voltage, lagging = _references()
        return cls(fine[::2], _running(fine, voltage), _running(fine, lagging)[-1])

    @classmethod
    def beside(cls, parts: Sequence[tuple[float, "HalfWave"]]) -> "HalfWave":
        """Return the sum of several currents, each a table times its amplitude."""
        amps, energy, reactive = [0.0] * (STEPS + 1), [0.0] * (STEPS + 1), 0.0
        for amp, table in parts:
            amps = list(map(add, amps, [amp * each for each in table.amps]))
            energy = list(map(add, energy, [amp * each for each in table.energy]))
            reactive += amp * table.reactive
        return cls(amps, energy, reactive)


@functools.cache
def _references() -> tuple[list[float], list[float]]:
    """Return the voltage with crest 1 at the table's fine steps, and the same a quarter cycle later."""
    angles = [math.pi * j / (2 * STEPS) for j in range(2 * STEPS + 1)]
    return [math.sin(angle) for angle in angles], [-math.cos(angle) for angle in angles]


def _running(fine: list[float], weights: list[float]) -> list[float]:
    """Return the running integral of a product (Simpson's rule, radians), at whole steps from values at half steps."""
    step = math.pi / STEPS / 6
    product = list(map(mul, fine, weights))
    parts = (
        (first + 4 * middle + last) * step
        for first, middle, last in zip(product[:-2:2], product[1::2], product[2::2], strict=True)
    )
    return list(itertools.accumulate(parts, initial=0.0))


@functools.cache
def unit_wave(shape: Shape) -> HalfWave:
    """Return the table of a shape at 1 A peak; the few shapes of all loads are computed once."""
    return HalfWave.of(shape)


@functools.lru_cache(maxsize=256)
def square_product(one: HalfWave, other: HalfWave) -> float:
    """Return the integral of the product of two currents over a half-cycle, as `HalfWave.square` is for one."""
    total: float = sum(map(mul, one.amps[1:], other.amps[1:]))
    return total * math.pi / STEPS


class Wave(Protocol):
    """Interface of a current. Intervals are [from_ns, to_ns]."""

    def value_a(self, at_ns: int) -> float:
        """Return the instantaneous current."""

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        """Return the greatest magnitude in the interval."""

    def max_a(self) -> float:
        """Return an upper bound of the magnitude, without computation."""

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        """Return the energy taken from the mains."""

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        """Return the mean of the squared current in A², over whole cycles if the current is steady."""

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        """Return the mean power, over whole cycles if the current is steady."""

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        """Return the mean reactive power, positive for a lagging current."""

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        """Return the first time from `from_ns` on at which the magnitude exceeds `level_a`; None if it never does."""

    def zero_after_ns(self, at_ns: int) -> int:
        """Return the next time without current, at which an arc drawn at `at_ns` goes out."""


class Silence:
    """No current."""

    def value_a(self, at_ns: int) -> float:
        return 0.0

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        return 0.0

    def max_a(self) -> float:
        return 0.0

    energy_j = mean_square = mean_w = mean_var = peak_a

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        return None

    def zero_after_ns(self, at_ns: int) -> int:
        return at_ns


SILENCE = Silence()


class Harmonic(NamedTuple):
    """A harmonic of the voltage: `order` times the mains frequency, share of the fundamental's crest, angle at 0."""

    order: int
    share: float
    angle: float


@functools.lru_cache(maxsize=64)
def _distortion(harmonics: tuple[Harmonic, ...]) -> tuple[float, float]:
    """Return crest and RMS of a voltage with those harmonics, relative to its fundamental."""
    steps = range(2 * STEPS)
    crest = max(
        abs(math.sin(x) + sum(h.share * math.sin(h.order * x + h.angle) for h in harmonics))
        for x in (math.pi * step / STEPS for step in steps)
    )
    return crest, math.sqrt(1 + sum(h.share**2 for h in harmonics))


class Mains(NamedTuple):
    """A stretch of constant mains: crest of the voltage, a rising zero crossing, length of a half-cycle.

    Crest and crossing are those of the fundamental. Harmonics affect the voltage at a meter and the charging of a
    capacitor; the currents of loads are computed for a pure sine.
    """

    peak_v: float
    origin_ns: int
    half_ns: float
    harmonics: tuple[Harmonic, ...] = ()

    def value_v(self, at_ns: int) -> float:
        angle = math.pi * (at_ns - self.origin_ns) / self.half_ns
        if not self.harmonics:
            return self.peak_v * math.sin(angle)
        return self.peak_v * (
            math.sin(angle) + sum(h.share * math.sin(h.order * angle + h.angle) for h in self.harmonics)
        )

    @property
    def crest_v(self) -> float:
        return self.peak_v * _distortion(self.harmonics)[0] if self.harmonics else self.peak_v

    @property
    def rms_v(self) -> float:
        rms_v = self.peak_v / math.sqrt(2)
        return rms_v * _distortion(self.harmonics)[1] if self.harmonics else rms_v

    def angle(self, at_ns: int) -> float:
        """Return the angle since the last rising zero crossing, 0 to 2 pi."""
        return math.pi * (((at_ns - self.origin_ns) / self.half_ns) % 2.0)

    def next_angle_ns(self, angle: float, at_ns: int) -> int:
        """Return the first time from `at_ns` on with that angle."""
        ahead = (angle - self.angle(at_ns)) % (2 * math.pi)
        return at_ns + round(ahead / math.pi * self.half_ns)


class Periodic:
    """A steady current: half-cycles taken in turn from a pattern, each a table times an amplitude.

    A pattern of one is an ordinary load; two, one of them empty, a shorted diode; a longer pattern is an arc that skips
    half-cycles. Odd half-cycles are negative.
    """

    __slots__ = (
        "_amp", "_energy", "_half_ns", "_last_j", "_last_ns", "_length", "_mean_square", "_mean_var", "_mean_w",
        "_origin_ns", "_peak", "_prefix", "_table", "_v",
    )  # fmt: skip

    def __init__(self, mains: Mains, halves: Sequence[tuple[HalfWave, float]]) -> None:
        self._origin_ns = mains.origin_ns
        self._half_ns = mains.half_ns
        self._v = mains.peak_v * mains.half_ns * _NS / math.pi  # joule per ampere-radian of the energy table
        self._table = [table for table, _ in halves]
        self._amp = [amp for _, amp in halves]
        self._length = len(halves)
        self._peak = max(table.peak * amp for table, amp in halves)
        self._prefix = [0.0]
        for table, amp in halves:
            self._prefix.append(self._prefix[-1] + table.energy[STEPS] * amp)
        self._energy = self._prefix[-1]
        self._last_ns, self._last_j = -1, 0.0  # of `_up_to`: one interval begins where another has ended
        turns = math.pi * self._length
        self._mean_square = sum(table.square * amp * amp for table, amp in halves) / turns
        self._mean_w = self._energy / turns * mains.peak_v
        self._mean_var = sum(table.reactive * amp for table, amp in halves) / turns * mains.peak_v

    @property
    def length(self) -> int:
        """Number of half-cycles in the pattern."""
        return self._length

    def half(self, number: int) -> tuple[HalfWave, float]:
        """Return table and amplitude of a half-cycle, counted from the origin of the mains."""
        which = number % self._length
        return self._table[which], self._amp[which]

    def value_a(self, at_ns: int) -> float:
        place = (at_ns - self._origin_ns) / self._half_ns
        half = math.floor(place)
        step = (place - half) * STEPS
        j = min(int(step), STEPS - 1)
        which = half % self._length
        amps = self._table[which].amps
        value = (amps[j] + (amps[j + 1] - amps[j]) * (step - j)) * self._amp[which]
        return -value if half & 1 else value

    def max_a(self) -> float:
        return self._peak

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        start = (from_ns - self._origin_ns) / self._half_ns
        end = (to_ns - self._origin_ns) / self._half_ns
        if end - start >= self._length:
            return self._peak
        half = math.floor(start)
        last = math.floor(end)
        if half == last:
            return self._part(half, start - half, end - half)
        peak = max(self._part(half, start - half, 1.0), self._part(last, 0.0, end - last))
        for whole in range(half + 1, last):
            which = whole % self._length
            peak = max(peak, self._table[which].peak * self._amp[which])
        return peak

    def _part(self, half: int, start: float, end: float) -> float:
        """Return the greatest magnitude between two positions (0 to 1) of one half-cycle, interpolated at the ends."""
        which = half % self._length
        table = self._table[which].magnitude
        first = start * STEPS
        last = end * STEPS
        i = int(first)
        j = min(int(last), STEPS - 1)
        peak = table[j] + (table[j + 1] - table[j]) * (last - j)
        if i < STEPS:
            peak = max(peak, table[i] + (table[i + 1] - table[i]) * (first - i))
            if j > i:
                peak = max(peak, max(table[i + 1 : j + 1]))
        return peak * self._amp[which]

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        before = self._up_to(from_ns)
        return (self._up_to(to_ns) - before) * self._v

    def _up_to(self, at_ns: int) -> float:
        if at_ns == self._last_ns:
            return self._last_j
        place = (at_ns - self._origin_ns) / self._half_ns
        half = math.floor(place)
        step = (place - half) * STEPS
        j = min(int(step), STEPS - 1)
        rounds, which = divmod(half, self._length)
        energy = self._table[which].energy
        part = (energy[j] + (energy[j + 1] - energy[j]) * (step - j)) * self._amp[which]
        self._last_ns, self._last_j = at_ns, rounds * self._energy + self._prefix[which] + part
        return self._last_j

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        return self._mean_square

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        return self._mean_w

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        return self._mean_var

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        if self._peak <= level_a:
            return None
        place = (from_ns - self._origin_ns) / self._half_ns
        half = math.floor(place)
        start = math.ceil((place - half) * STEPS)
        for ahead in range(self._length + 1):
            which = (half + ahead) % self._length
            if self._table[which].peak * self._amp[which] > level_a:
                limit = level_a / self._amp[which]
                table = self._table[which].magnitude
                for j in range(start if ahead == 0 else 0, STEPS + 1):
                    if table[j] > limit:
                        return max(from_ns, self._origin_ns + math.ceil((half + ahead + j / STEPS) * self._half_ns))
        return None

    def zero_after_ns(self, at_ns: int) -> int:
        place = (at_ns - self._origin_ns) / self._half_ns
        half = math.floor(place)
        table = self._table[half % self._length].magnitude
        nothing = 1e-3 * self._table[half % self._length].peak
        start = min(int((place - half) * STEPS), STEPS)
        if table[start] <= nothing:
            return at_ns
        for j in range(start, STEPS + 1):
            if table[j] <= nothing:
                return max(at_ns, self._origin_ns + round((half + j / STEPS) * self._half_ns))
        return max(at_ns, self._origin_ns + math.ceil((half + 1) * self._half_ns))


def steady(mains: Mains, watts: float, shape: Shape) -> Wave:
    """Return the current of a load that takes `watts` from these mains in pulses of `shape`."""
    if watts <= 0 or mains.peak_v <= 0:
        return SILENCE
    table = unit_wave(shape)
    amp = watts / (table.energy[STEPS] / math.pi * mains.peak_v)
    return Periodic(mains, [(table, amp)])
