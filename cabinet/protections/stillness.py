"""Detection of a frozen thermometer, as distinct from a steady temperature. Pure.

Hours without a step are normal at a steady load in a cellar at night. A missing step is a fault if something must have
caused one: the load's heat changed, the other thermometers moved, or the chip's own comparison reports a temperature
that differs from its register.
"""

import math
from typing import NamedTuple

from cabinet.protections.evidence import Persistence, TripValues
from cabinet.sections import NS

# Contacts take minutes to follow a load: some a quarter of an hour, some half a minute. The slow ones are judged by an
# equally slow mean of the squared current: 700 W (3.2 A) count as 2 A after two and a half minutes, 900 W after less
# than one and a half. The quick ones have made their last step long before that mean is steady, so a quick mean must
# also have differed from its value at the last step, for a minute without a break.
HEAT_SETTLE_NS = 300 * NS
LOAD_SETTLE_NS = 30 * NS
MIN_STILL_NS = 60 * NS
MIN_OTHERS = 2
# Another thermometer shows the ambient temperature, not its own load, while the squared current of its outlets has
# stayed within a quarter of a square ampere: 0.5 A from zero.
MAX_REST_MA2 = 500**2


class PeerThermometer(NamedTuple):
    """Another thermometer of the cabinet, with quick and slow means of the squared current of its outlets."""

    value_mc: int
    load_ma2: float = 0.0
    heat_ma2: float = 0.0

    def rests_since(self, then: "PeerThermometer") -> bool:
        """Return whether its own load has neither warmed nor cooled it meanwhile."""
        changes_ma2 = abs(self.load_ma2 - then.load_ma2), abs(self.heat_ma2 - then.heat_ma2)
        return max(changes_ma2) <= MAX_REST_MA2


class StillThermometer:
    """Detector for one thermometer: `note` takes each reading, and returns the evidence of a freeze or None."""

    def __init__(self, load_ma: int | None, neighbours_mc: int) -> None:
        """Create the detector; `load_ma` None: no load warms it directly."""
        self._least_ma2 = None if load_ma is None else load_ma**2
        self._neighbours_mc = neighbours_mc
        self._comparison = Persistence()
        self._load_ma2 = self._load_then_ma2 = (
            0.0  # squared current of the outlets next to it; the same at the last step
        )
        self._heat_ma2 = self._heat_then_ma2 = 0.0  # as slow as contacts warm
        self._other_load_since_ns: int | None = None
        self._read_ns: int | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again after a set-up of the chip: earlier values cannot be compared."""
        self._value_mc: int | None = None
        self._comparison.clear()

    def for_comparison(self, value_mc: int) -> PeerThermometer:
        """Return this thermometer, at a temperature of `value_mc`, as a `PeerThermometer` for the others."""
        return PeerThermometer(value_mc, self._load_ma2, self._heat_ma2)

    def note(
        self, at_ns: int, value_mc: int, squares_ma2: float | None, others: dict[int, PeerThermometer]
    ) -> TripValues | None:
        """Note a reading; `squares_ma2` sums its outlets, None if one is not measured; `others` is by thermometer."""
        self._follow_load(at_ns, squares_ma2)
        if value_mc != self._value_mc or squares_ma2 is None:
            self._value_mc, self._since_ns = value_mc, at_ns
            self._heat_then_ma2, self._others_then = self._heat_ma2, dict(others)
            self._load_then_ma2, self._other_load_since_ns = self._load_ma2, None
            return None
        changed_ma2 = self._changed_ma2(at_ns)
        still_ns = at_ns - self._since_ns
        if still_ns < MIN_STILL_NS:
            return None
        why = {"still_s": still_ns // NS, "temperature_mc": value_mc}
        if changed_ma2:
            return why | {"load_ma": round(math.sqrt(changed_ma2))}
        moved_mc = self._others_moved_mc(others)
        return None if abs(moved_mc) < self._neighbours_mc else why | {"others_mc": moved_mc}

    def compare(self, at_ns: int, value_mc: int, above_mc: int | None) -> TripValues | None:
        """Compare with the chip's own comparison, which reports that `above_mc` is reached; None: it has no report."""
        contradicts = above_mc is not None and value_mc < above_mc
        if not self._comparison.persists(contradicts, at_ns) or above_mc is None:
            return None
        return {"temperature_mc": value_mc, "limit_mc": above_mc}

    def _changed_ma2(self, at_ns: int) -> float:
        """Return the change of heat since the last step; 0 if it is too small, or may be long over."""
        if self._least_ma2 is None or abs(self._load_ma2 - self._load_then_ma2) < self._least_ma2:
            self._other_load_since_ns = None
            return 0.0
        since_ns = self._other_load_since_ns = self._other_load_since_ns or at_ns
        changed_ma2 = abs(self._heat_ma2 - self._heat_then_ma2)
        return changed_ma2 if at_ns - since_ns >= MIN_STILL_NS and changed_ma2 >= self._least_ma2 else 0.0

    def _follow_load(self, at_ns: int, squares_ma2: float | None) -> None:
        past_ns = 0 if self._read_ns is None else at_ns - self._read_ns
        self._read_ns = at_ns
        if squares_ma2 is not None:
            self._heat_ma2 += (1 - math.exp(-past_ns / HEAT_SETTLE_NS)) * (squares_ma2 - self._heat_ma2)
            self._load_ma2 += (1 - math.exp(-past_ns / LOAD_SETTLE_NS)) * (squares_ma2 - self._load_ma2)

    def _others_moved_mc(self, others: dict[int, PeerThermometer]) -> int:
        """Return the least movement of half of the resting others, in one direction; 0 if there are too few."""
        then = self._others_then
        moved_mc = sorted(
            other.value_mc - then[key].value_mc
            for key, other in others.items()
            if key in then and other.rests_since(then[key])
        )
        if len(moved_mc) < MIN_OTHERS:
            return 0
        low, high = moved_mc[(len(moved_mc) - 1) // 2], moved_mc[len(moved_mc) // 2]
        return low if low > 0 else min(high, 0)
