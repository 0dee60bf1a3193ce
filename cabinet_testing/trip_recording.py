"""A recording of a short circuit on one of ten outlets, as the flight recorder would have written it."""

import math

from cabinet.clock import MS, Clock
from cabinet.model import Fault
from cabinet.trips.format import Header, OutletLimits, TripMark, encode, row_struct

PERIOD_MS = 3
BEFORE_MS, AFTER_MS = 2000, 1000
OUTLETS = 10
LIMITS = OutletLimits(30_000, 150_000, 5_500, 1_000_000, 176_000, 264_000, 65_000, 75_000)
MAINS_PERIOD_MS = 20
CLOSED_AND_HELD = 3
IDLE = (0, 0, 220_000, 0, 25_000, 0)


def recording(clock: Clock, outlet: int, session_id: str) -> bytes:
    """A charger that draws 0.7 A, and for the last half-cycles before the trip a short of 61 A."""
    trip_ns = clock.monotonic_ns()
    rows = []
    for at_ms in range(-BEFORE_MS, AFTER_MS, PERIOD_MS):
        own = _outlet(at_ms)
        groups = [own if number == outlet else IDLE for number in range(1, OUTLETS + 1)]
        rows.append(
            row_struct(OUTLETS).pack(trip_ns + at_ms * MS, 31_000, *(value for group in groups for value in group))
        )
    mark = TripMark(Fault.SHORT_CIRCUIT, outlet, trip_ns, True, {"peak_ma": 61_000, "limit_ma": 30_000}, session_id)
    numbers = list(range(1, OUTLETS + 1))
    wall = clock.wall()
    header = Header(
        [mark], wall.unix_ms, wall.trusted, numbers, dict.fromkeys(numbers, LIMITS), PERIOD_MS * MS, len(rows)
    )
    return encode(header, b"".join(rows))


def _outlet(at_ms: int) -> tuple[int, ...]:
    """(peak_ma, current_ma, voltage_mv, power_mw, temperature_mc, flags)."""
    wave = abs(math.sin(2 * math.pi * at_ms / MAINS_PERIOD_MS))
    if at_ms < -15:
        return round(1_900 * wave), 700, 220_000, 148_000, 31_000, CLOSED_AND_HELD
    if at_ms < 0:
        return round(61_000 * wave), 700, 214_000, 148_000, 31_000, CLOSED_AND_HELD
    return 0, 0, 220_000, 0, 31_000, 4
