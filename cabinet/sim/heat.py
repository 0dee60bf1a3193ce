"""Heat of contacts and trip curves of a breaker: first-order bodies that can be read at any time without stepping."""

import math
from collections.abc import Callable

from cabinet.sim.parts import BREAKER, BreakerPart
from cabinet.sim.timeline import Event, Timeline

CONTACT_OHM = 0.003  # relay, plug and socket of a healthy outlet
CONTACT_K_PER_W = 25.0
CONTACT_SETTLE_NS = 120e9


class Body:
    """A body that warms or cools towards `target` with a time constant."""

    __slots__ = ("_at_ns", "_settle_ns", "_value", "target")

    def __init__(self, settle_ns: float, at_ns: int) -> None:
        self.target = 0.0
        self._value = 0.0
        self._at_ns = at_ns
        self._settle_ns = settle_ns

    def at(self, at_ns: int) -> float:
        return self.target + (self._value - self.target) * math.exp((self._at_ns - at_ns) / self._settle_ns)

    def aim(self, target: float, at_ns: int, settle_ns: float | None = None) -> None:
        """Set `target` from `at_ns` on, and a new time constant if given."""
        self._value = self.at(at_ns)
        self._at_ns = at_ns
        self.target = target
        if settle_ns is not None:
            self._settle_ns = settle_ns

    def cool(self, at_ns: int) -> None:
        """Set the body to the temperature of its surroundings."""
        self._value = self.target = 0.0
        self._at_ns = at_ns

    def reaches_ns(self, level: float, at_ns: int) -> int | None:
        """Return the time at which the body reaches `level`, or None if it never does with the present target."""
        now = self.at(at_ns)
        if now >= level:
            return at_ns
        if self.target <= level:
            return None
        return at_ns + math.ceil(self._settle_ns * math.log((self.target - now) / (self.target - level)))


class Breaker:
    """A breaker: a bimetal, and a magnet for currents above its level. `part` may be replaced between two loads."""

    def __init__(self, timeline: Timeline, trip: Callable[[str, int], None], part: BreakerPart = BREAKER) -> None:
        self.part = part
        self._timeline = timeline
        self._trip = trip
        self._bimetal = Body(part.settle_ns, timeline.now_ns)
        self._planned: list[Event] = []
        self.closed = True

    def carry(self, mean_square: float, magnetic_ns: int | None, at_ns: int) -> None:
        """Set the current from `at_ns` on; `magnetic_ns` is the time at which the magnet pulls, or None."""
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
        """Push the lever back, with the bimetal cooled down."""
        if not self.closed:
            self._bimetal.cool(at_ns)
            self.closed = True

    def _open(self, why: str, at_ns: int) -> None:
        if self.closed:
            self.closed = False
            self._trip(why, at_ns)
