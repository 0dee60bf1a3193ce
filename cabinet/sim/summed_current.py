"""Summed currents: the current of all outlets at the cabinet's feed meter.

A steady current is a table and an amplitude, so the sum of any number of them is a table too. The table is built only
if a call needs it (a peak, an instant); energy, power and RMS are computed from the parts.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Sequence

from cabinet.sim.transient import Sum
from cabinet.sim.waveform import SILENCE, HalfWave, Mains, Periodic, Wave, square_product

_ROUNDING = 1 + 1e-9  # a table of sums may exceed the sum of its parts' peaks by this factor


class SummedCurrent:
    """Sum of steady currents on one stretch of mains. It is a `Wave` with exact values."""

    def __init__(self, mains: Mains, parts: Sequence[Periodic]) -> None:
        self._mains = mains
        self.parts = parts

    @functools.cached_property
    def _halves(self) -> list[dict[HalfWave, float]]:
        """Tables and amplitudes of the currents in each half-cycle of the common pattern."""
        halves: list[dict[HalfWave, float]] = []
        for half in range(math.lcm(*(part.length for part in self.parts))):
            amps: dict[HalfWave, float] = {}
            for part in self.parts:
                table, amp = part.half(half)
                amps[table] = amps.get(table, 0.0) + amp
            halves.append(amps)
        return halves

    @functools.cached_property
    def _whole(self) -> Periodic:
        made: dict[tuple[tuple[HalfWave, float], ...], HalfWave] = {}
        tables = []
        for amps in self._halves:
            key = tuple(amps.items())
            if key not in made:
                made[key] = HalfWave.beside([(amp, table) for table, amp in key])
            tables.append((made[key], 1.0))
        return Periodic(self._mains, tables)

    @functools.cached_property
    def _mean_square(self) -> float:
        total = 0.0
        for amps in self._halves:
            total += sum(amp * amp * table.square for table, amp in amps.items())
            for (table, amp), (other, other_amp) in itertools.combinations(amps.items(), 2):
                total += 2 * amp * other_amp * square_product(table, other)
        return total / (math.pi * len(self._halves))

    def value_a(self, at_ns: int) -> float:
        return self._whole.value_a(at_ns)

    def max_a(self) -> float:
        return sum([part.max_a() for part in self.parts])

    def peak_a(self, from_ns: int, to_ns: int) -> float:
        return self._whole.peak_a(from_ns, to_ns)

    def energy_j(self, from_ns: int, to_ns: int) -> float:
        return sum([part.energy_j(from_ns, to_ns) for part in self.parts])

    def mean_square(self, from_ns: int, to_ns: int) -> float:
        return self._mean_square

    def mean_w(self, from_ns: int, to_ns: int) -> float:
        return sum([part.mean_w(from_ns, to_ns) for part in self.parts])

    def mean_var(self, from_ns: int, to_ns: int) -> float:
        return sum([part.mean_var(from_ns, to_ns) for part in self.parts])

    def first_above_ns(self, level_a: float, from_ns: int) -> int | None:
        if level_a > self.max_a() * _ROUNDING:  # the frequent case; the table would be built for nothing
            return None
        return self._whole.first_above_ns(level_a, from_ns)

    def zero_after_ns(self, at_ns: int) -> int:
        return self._whole.zero_after_ns(at_ns)


def sum_currents(mains: Mains, waves: Iterable[Wave]) -> Wave:
    """Return the sum of `waves`; transients among them are kept as separate parts."""
    steady: list[Periodic] = []
    brief: list[Wave] = []
    for wave in waves:
        for part in wave.parts if isinstance(wave, Sum) else (wave,):
            if isinstance(part, Periodic):
                steady.append(part)
            elif isinstance(part, SummedCurrent):
                steady.extend(part.parts)
            elif part is not SILENCE:
                brief.append(part)
    base: Wave = SILENCE
    if steady:
        base = steady[0] if len(steady) == 1 else SummedCurrent(mains, steady)
    return Sum([*brief, base]) if brief else base
