"""Heat of contacts and the trip curves of a breaker: first-order bodies, known at any moment without stepping."""

import math
from collections.abc import Callable

from cabinet.sim.parts import BREAKER, BreakerPart
from cabinet.sim.timeline import Event, Timeline

CONTACT_OHM = 0.003  # relay, plug and socket of a healthy outlet
CONTACT_K_PER_W = 25.0
CONTACT_SETTLE_NS = 120e9


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
    """A breaker: a bimetal, and a magnet for what exceeds its level. `part` may be exchanged between two loads."""

    def __init__(self, timeline: Timeline, trip: Callable[[str, int], None], part: BreakerPart = BREAKER) -> None:
        self.part = part
        self._timeline = timeline
        self._trip = trip
        self._bimetal = Body(part.settle_ns, timeline.now_ns)
        self._planned: list[Event] = []
        self.closed = True

    def carry(self, mean_square: float, magnetic_ns: int | None, at_ns: int) -> None:
        """From `at_ns` on it carries that much; `magnetic_ns` is when the magnet will pull, if it will."""
        part = self.part
        self._bimetal.aim(mean_square / part.rated_a**2, at_ns, part.settle_ns)
        for event in self._planned:
            event.cancel()
        self._planned = []
        if not self.closed:
            return
        thermal_ns = self._bimetal.reaches_ns(part.never_ratio**2, at_ns)
        if magnetic_ns is not None:
            self._planned.append(self._timeline.at(magnetic_ns + part.opens_ns, lambda t: self._open("magnetic", t)))
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
