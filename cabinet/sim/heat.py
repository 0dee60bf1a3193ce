"""Heat of contacts and the trip curves of a breaker: first-order bodies, known at any moment without stepping."""

import math
from collections.abc import Callable

from cabinet.sim.timeline import Event, Timeline

CONTACT_OHM = 0.003  # relay, plug and socket of a healthy outlet
CONTACT_K_PER_W = 25.0
CONTACT_SETTLE_NS = 120e9

BREAKER_A = 16.0
BREAKER_NEVER = 1.28**2  # of the squared ratio: between 1.13 In (never) and 1.45 In (within the hour)
BREAKER_SETTLE_NS = 60e9  # gives 17 s at 2.55 In, inside the standard's 1 to 60 s
BREAKER_MAGNETIC_PEAK_A = 7.5 * BREAKER_A * math.sqrt(2)  # class C: 5 to 10 In
BREAKER_OPENS_NS = 4_000_000


class Body:
    """A body that warms towards `target` with a time constant, from wherever it is."""

    __slots__ = ("_at_ns", "_settle_ns", "_value", "target")

    def __init__(self, settle_ns: float, at_ns: int) -> None:
        self.target = 0.0
        self._value = 0.0
        self._at_ns = at_ns
        self._settle_ns = settle_ns

    def at(self, at_ns: int) -> float:
        return self.target + (self._value - self.target) * math.exp((self._at_ns - at_ns) / self._settle_ns)

    def aim(self, target: float, at_ns: int, settle_ns: float | None = None) -> None:
        """From `at_ns` on towards `target`, with another time constant if one is given."""
        self._value = self.at(at_ns)
        self._at_ns = at_ns
        self.target = target
        if settle_ns is not None:
            self._settle_ns = settle_ns

    def cool(self, at_ns: int) -> None:
        """As cold as its surroundings from now on."""
        self._value = self.target = 0.0
        self._at_ns = at_ns

    def reaches_ns(self, level: float, at_ns: int) -> int | None:
        """When it will have warmed to `level`; None: never on this course."""
        now = self.at(at_ns)
        if now >= level:
            return at_ns
        if self.target <= level:
            return None
        return at_ns + math.ceil(self._settle_ns * math.log((self.target - now) / (self.target - level)))


class Breaker:
    """A C16 in front of one outlet: a bimetal, and a magnet for what exceeds about 120 A RMS."""

    def __init__(self, timeline: Timeline, trip: Callable[[str, int], None]) -> None:
        self._timeline = timeline
        self._trip = trip
        self._bimetal = Body(BREAKER_SETTLE_NS, timeline.now_ns)
        self._planned: list[Event] = []
        self.closed = True

    def carry(self, mean_square: float, magnetic_ns: int | None, at_ns: int) -> None:
        """From `at_ns` on it carries that much; `magnetic_ns` is when the magnet will pull, if it will."""
        self._bimetal.aim(mean_square / BREAKER_A**2, at_ns)
        for event in self._planned:
            event.cancel()
        self._planned = []
        if not self.closed:
            return
        thermal_ns = self._bimetal.reaches_ns(BREAKER_NEVER, at_ns)
        if magnetic_ns is not None:
            self._planned.append(self._timeline.at(magnetic_ns + BREAKER_OPENS_NS, lambda t: self._open("magnetic", t)))
        if thermal_ns is not None:
            self._planned.append(self._timeline.at(thermal_ns, lambda t: self._open("thermal", t)))

    def reset(self, at_ns: int) -> None:
        """The lever is pushed back, after the bimetal has cooled."""
        if not self.closed:
            self._bimetal.cool(at_ns)
            self.closed = True

    def _open(self, why: str, at_ns: int) -> None:
        if self.closed:
            self.closed = False
            self._trip(why, at_ns)
