"""A thermometer that stands still, told from one at which nothing happens. Pure.

No step for hours is ordinary: at a steady load in a cellar at night. A step that is missing although something must
have made it is not: the load's heat came or went, the other thermometers moved, or the chip's own comparison says that
its temperature is another one than its register shows.
"""

import math
from typing import NamedTuple

from cabinet.protections.evidence import Lasting, Why
from cabinet.protections.words import NS

# Contacts take minutes to follow a load, some a quarter of an hour and some half a minute. Those that are slow are
# given a mean of the squared current that is slow as well: 700 W (3.2 A) count as 2 A after two and a half minutes,
# 900 W after less than one and a half. Those that are quick have made their last step long before that mean is steady:
# so a quick mean must besides be another one than at the last step, for a minute without a break.
HEAT_SETTLE_NS = 300 * NS
LOAD_SETTLE_NS = 30 * NS
LEAST_STILL_NS = 60 * NS
LEAST_OTHERS = 2
# Another thermometer tells of the day, and not of its own load, while the heat of its outlets' current has stayed the
# same to a quarter of a square ampere: 0.5 A from nothing.
MAX_REST_MA2 = 500**2


class Other(NamedTuple):
    """Another thermometer of the cabinet, and the squared current of its outlets as a quick and as a slow mean."""

    value_mc: int
    load_ma2: float = 0.0
    heat_ma2: float = 0.0

    def rests_since(self, then: "Other") -> bool:
        """Whether its own load did not warm or cool it meanwhile."""
        changes_ma2 = abs(self.load_ma2 - then.load_ma2), abs(self.heat_ma2 - then.heat_ma2)
        return max(changes_ma2) <= MAX_REST_MA2


class StillThermometer:
    """`note` each reading; it gives the numbers that show that the register stands still, or None."""

    def __init__(self, load_ma: int | None, neighbours_mc: int) -> None:
        """`load_ma` None: no load warms it directly."""
        self._least_ma2 = None if load_ma is None else load_ma**2
        self._neighbours_mc = neighbours_mc
        self._comparison = Lasting()
        self._load_ma2 = self._load_then_ma2 = (
            0.0  # squared current of the outlets beside it; the same at the last step
        )
        self._heat_ma2 = self._heat_then_ma2 = 0.0  # as slow as contacts warm
        self._other_load_since_ns: int | None = None
        self._read_ns: int | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again: the chip was set up, and what it showed before is nothing to compare with."""
        self._value_mc: int | None = None
        self._comparison.clear()

    def as_other(self, value_mc: int) -> Other:
        """Return what it is to the other thermometers of the cabinet, at a temperature of `value_mc`."""
        return Other(value_mc, self._load_ma2, self._heat_ma2)

    def note(self, at_ns: int, value_mc: int, squares_ma2: float | None, others: dict[int, Other]) -> Why | None:
        """`squares_ma2`: squared currents of its outlets, None if one is not measured; `others` by thermometer."""
        self._follow_load(at_ns, squares_ma2)
        if value_mc != self._value_mc or squares_ma2 is None:
            self._value_mc, self._since_ns = value_mc, at_ns
            self._heat_then_ma2, self._others_then = self._heat_ma2, dict(others)
            self._load_then_ma2, self._other_load_since_ns = self._load_ma2, None
            return None
        changed_ma2 = self._changed_ma2(at_ns)
        still_ns = at_ns - self._since_ns
        if still_ns < LEAST_STILL_NS:
            return None
        why = {"still_s": still_ns // NS, "temperature_mc": value_mc}
        if changed_ma2:
            return why | {"load_ma": round(math.sqrt(changed_ma2))}
        moved_mc = self._others_moved_mc(others)
        return None if abs(moved_mc) < self._neighbours_mc else why | {"others_mc": moved_mc}

    def compare(self, at_ns: int, value_mc: int, above_mc: int | None) -> Why | None:
        """With the chip's own comparison, which says that at least `above_mc` is reached; None: it says nothing."""
        contradicts = above_mc is not None and value_mc < above_mc
        if not self._comparison.lasts(contradicts, at_ns) or above_mc is None:
            return None
        return {"temperature_mc": value_mc, "limit_mc": above_mc}

    def _changed_ma2(self, at_ns: int) -> float:
        """By how much the heat has changed since the last step; 0 where that is too little, or may be over for long."""
        if self._least_ma2 is None or abs(self._load_ma2 - self._load_then_ma2) < self._least_ma2:
            self._other_load_since_ns = None
            return 0.0
        since_ns = self._other_load_since_ns = self._other_load_since_ns or at_ns
        changed_ma2 = abs(self._heat_ma2 - self._heat_then_ma2)
        return changed_ma2 if at_ns - since_ns >= LEAST_STILL_NS and changed_ma2 >= self._least_ma2 else 0.0

    def _follow_load(self, at_ns: int, squares_ma2: float | None) -> None:
        past_ns = 0 if self._read_ns is None else at_ns - self._read_ns
        self._read_ns = at_ns
        if squares_ma2 is not None:
            self._heat_ma2 += (1 - math.exp(-past_ns / HEAT_SETTLE_NS)) * (squares_ma2 - self._heat_ma2)
            self._load_ma2 += (1 - math.exp(-past_ns / LOAD_SETTLE_NS)) * (squares_ma2 - self._load_ma2)

    def _others_moved_mc(self, others: dict[int, Other]) -> int:
        """By how much half of the others that rest moved at least, in one direction; 0 if there are too few."""
        then = self._others_then
        moved_mc = sorted(
            other.value_mc - then[key].value_mc
            for key, other in others.items()
            if key in then and other.rests_since(then[key])
        )
        if len(moved_mc) < LEAST_OTHERS:
            return 0
        low, high = moved_mc[(len(moved_mc) - 1) // 2], moved_mc[len(moved_mc) // 2]
        return low if low > 0 else min(high, 0)
