"""Mains phase: assigns times to half-cycles of the mains, from samples of its voltage. Pure.

A short repeats in every half-cycle and an inrush does not, so the guard must distinguish half-cycles. One instantaneous
voltage a scan is enough: if two samples differ in sign, the crossing lies between them on a nearly straight line (3 ms
of a 50 Hz sine around zero deviate by less than 0.05 ms).
"""

import math

SMOOTHING = 0.1
WORTH_MV = 20_000  # below this, a sample does not show reliably on which side of zero it is
EDGE_NS = 200_000  # a window this near a crossing may touch both half-cycles
LOST_AFTER_HALF_CYCLES = 10
FRESH_HALF_CYCLES = 2.5  # a crest is derived from a crossing this recent: later, the mains may be in any phase
OFF_NS, DRIFT_NS = 300_000, 200_000  # error of a crossing between samples 5 ms apart; 49 to 51 Hz, a half-cycle


class MainsPhase:
    """Counter of half-cycles by zero crossings; `half_cycles` is None until the mains has crossed zero."""

    def __init__(self, half_cycle_ns: int) -> None:
        self._nominal_ns = half_cycle_ns
        self._half_ns = float(half_cycle_ns)
        self._last: tuple[int, int] | None = None  # (at_ns, mV)
        self._near_zero: tuple[int, int] | None = None  # the same, of a sample since then
        self._crossing_ns: int | None = None
        self._count = 0

    def sample(self, at_ns: int, voltage_mv: int) -> None:
        """Take one instantaneous voltage. Samples more than half a half-cycle apart only start again.

        A single sample near zero is no crossing: mains that fails or returns would make one of it. Between two samples
        of different sign it shows the position of the crossing, and they may be a little further apart.
        """
        if abs(voltage_mv) < WORTH_MV:
            self._near_zero = (at_ns, voltage_mv)
            return
        before, self._last = self._last, (at_ns, voltage_mv)
        near, self._near_zero = self._near_zero, None
        if before is None or (before[1] < 0) == (voltage_mv < 0):
            return
        apart_ns, rise_mv = at_ns - before[0], voltage_mv - before[1]
        if near is not None and apart_ns <= 3 * self._nominal_ns // 4:
            self._crossed(near[0] - near[1] * apart_ns // rise_mv)
        elif apart_ns <= self._nominal_ns // 2:
            self._crossed(before[0] - before[1] * apart_ns // rise_mv)

    def _crossed(self, crossing_ns: int) -> None:
        previous = self._crossing_ns
        if previous is None:
            self._crossing_ns = crossing_ns
            return
        halves = max(1, round((crossing_ns - previous) / self._half_ns))
        off_ns = abs(crossing_ns - previous - halves * self._half_ns)
        if halves <= LOST_AFTER_HALF_CYCLES and off_ns > OFF_NS + halves * DRIFT_NS:
            return  # absent between the two samples: the mains crosses at its old times
        self._crossing_ns = crossing_ns
        self._count += halves
        measured_ns = (crossing_ns - previous) / halves
        if abs(measured_ns - self._nominal_ns) < self._nominal_ns / 10:
            self._half_ns += SMOOTHING * (measured_ns - self._half_ns)

    def from_zero_ns(self, at_ns: int) -> int | None:
        """Return the distance of a time from the nearest zero crossing; None if the mains is absent."""
        crossing_ns = self._crossing_ns
        if crossing_ns is None or abs(at_ns - crossing_ns) > LOST_AFTER_HALF_CYCLES * self._nominal_ns:
            return None
        past_ns = (at_ns - crossing_ns) % self._half_ns
        return round(min(past_ns, self._half_ns - past_ns))

    def crest_ns(self, at_ns: int) -> int | None:
        """Return the crest of the voltage nearest to a time; None if no crossing was found just before."""
        crossing_ns = self._crossing_ns
        if crossing_ns is None or at_ns - crossing_ns > FRESH_HALF_CYCLES * self._nominal_ns:
            return None
        return crossing_ns + round((math.floor((at_ns - crossing_ns) / self._half_ns) + 0.5) * self._half_ns)

    def half_cycles(self, from_ns: int, to_ns: int) -> tuple[int | None, int | None]:
        """Return the first and last half-cycle that an interval may touch; (None, None) if the mains is absent."""
        crossing_ns = self._crossing_ns
        if crossing_ns is None or to_ns - crossing_ns > LOST_AFTER_HALF_CYCLES * self._nominal_ns:
            return None, None
        first = self._count + int((from_ns - EDGE_NS - crossing_ns) // self._half_ns)
        last = self._count + int((to_ns + EDGE_NS - crossing_ns) // self._half_ns)
        return first, last
