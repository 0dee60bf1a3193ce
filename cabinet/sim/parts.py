"""Relays, contactors and breakers on the market: nominal figures, and the tolerances that makers allow.

The nominal parts give a cabinet with predictable times; `tolerances` draws parts from the tolerances. Each figure is
from a public data sheet or standard, none from the controller's own configuration:

- 16 A relay for printed circuits (Schrack RT1 and RT1 Inrush): operate 8 to 10 ms, release 6 ms at most, both without
  a diode across the coil, bounce 3 to 4 ms at most; makes 30 A for 4 s, its inrush version crests of 80 A for 20 ms;
  breaks 4000 VA. Other makers state 7 ms and 3 ms typical, and at most 78 A for 4 ms while contacts move. A plain
  diode across the coil makes the release up to five times slower.
- Contactor (Schneider LC1D09): its AC coil opens after 4 to 19 ms, its DC coil with a diode after 16 to 24 ms.
- Breaker (IEC 60898-1): magnetic trip at 3 to 5 (B), 5 to 10 (C), 10 to 20 (D) times the rated current; 1 to 60 s at
  2.55 times, no trip within the hour at 1.13 times.
"""

import math
from typing import NamedTuple

from cabinet.clock import MS

SQRT2 = math.sqrt(2)
SETTLING_NS = 4 * MS  # closing contacts move for so long, bounces included (RT1: 3 to 4 ms)


class RelayPart(NamedTuple):
    """A relay. Currents are instantaneous; each operation draws its time from the range."""

    operate_ns: tuple[int, int] = (7 * MS, 7 * MS)
    release_ns: tuple[int, int] = (3 * MS, 5 * MS)
    breaking_peak_a: float = 78 * SQRT2  # contacts weld if they open at a higher current
    making_peak_a: float = math.inf  # contacts weld if the current is higher within `SETTLING_NS` of closing
    bounce_ns: int = 0  # closing contacts bounce for so long; an arc mostly bridges the gaps
    sticking_share: float = 0.0  # share of operations with current after which contacts stick without an overload


class ContactorPart(NamedTuple):
    """A contactor. It breaks any current that the breakers pass, and never welds by itself."""

    operate_ns: tuple[int, int] = (20 * MS, 20 * MS)
    release_ns: tuple[int, int] = (15 * MS, 15 * MS)


class BreakerPart(NamedTuple):
    """A breaker: a bimetal, modelled as a first-order body, and a magnet that pulls at once."""

    rated_a: float = 16.0
    magnetic_peak_a: float = 7.5 * 16.0 * SQRT2  # a C16 in the middle of its span
    opens_ns: int = 4 * MS  # from the magnet's pull to opening contacts; the arc ends at the next current zero
    never_ratio: float = 1.28  # of the rated current: between 1.13 (never within the hour) and 1.45 (within it)
    settle_ns: float = 60e9  # gives 17 s at 2.55 times the rated current, inside the standard's 1 to 60 s


RELAY = RelayPart()
CONTACTOR = ContactorPart()
BREAKER = BreakerPart()
NO_BREAKER = BreakerPart(magnetic_peak_a=math.inf, never_ratio=math.inf)
# The fastest B16 and the slowest D16 within the standard.
QUICK_BREAKER = BreakerPart(magnetic_peak_a=3 * 16.0 * SQRT2, opens_ns=1 * MS, never_ratio=1.13, settle_ns=5e9)
SLOW_BREAKER = BreakerPart(magnetic_peak_a=20 * 16.0 * SQRT2, opens_ns=10 * MS, never_ratio=1.45, settle_ns=180e9)
BREAKERS = {"nominal": BREAKER, "quick": QUICK_BREAKER, "slow": SLOW_BREAKER, "never": NO_BREAKER}
