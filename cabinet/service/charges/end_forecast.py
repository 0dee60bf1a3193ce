"""Forecast of a charge's end, if there is evidence for one: from the purchase, or from the taper. Pure.

The battery's level at the start is unknown. Until its power falls, a charge until full has only a latest end.
"""

import math
from collections.abc import Sequence

import msgspec

from cabinet.billing.cover import package_cover
from cabinet.billing.tariff import SECONDS_AN_HOUR, Tariff, Use, band_of, period_of
from cabinet.config import keys
from cabinet.records import CurvePoint
from cabinet.service.ports import EndBasis

FALLEN_SHARE = 0.9  # of the plateau; if power is above it, there is no taper yet
PLATEAU_SHARE = 0.95
CAME_DOWN_SHARE = 0.5  # full is below this share of the plateau, if that is less than the floor (see `charge`)
MIN_POINTS = 4
MIN_FIT = 0.9  # least R² of a straight line through the logarithms
MAX_TAPER_S = 4 * 3600  # a longer one is not counted as a taper


class End(msgspec.Struct, frozen=True):
    left_s: int
    basis: EndBasis


def likeliest_end(ends: Sequence[End], taper_s: int | None, until_full: bool) -> End | None:
    """Return the most likely end; None if unknown. `ends` are certain to come; the first of them counts."""
    first = latest_end(ends)
    if taper_s is not None and (first is None or taper_s < first.left_s):
        return End(taper_s, "taper")
    return None if until_full else first


def latest_end(ends: Sequence[End]) -> End | None:
    return min(ends, key=lambda end: end.left_s, default=None)


def money_left_s(hour_fen: int, left_fen: int) -> int | None:
    """Return how long `left_fen` lasts at `hour_fen`; None if for ever."""
    return None if hour_fen <= 0 else max(0, left_fen) * SECONDS_AN_HOUR // hour_fen


def hour_fen(tariff: Tariff, power_w: int, minute: int) -> int:
    """Return the price of an hour at `power_w` and local `minute`, without one-off charges."""
    time_fen = 0
    if tariff.package is None:
        time_fen = tariff.bands[band_of(tariff, SECONDS_AN_HOUR * 1000, power_w * 1000)].fen_per_hour
    period = tariff.periods[period_of(tariff, (minute, minute))]
    return time_fen + power_w * (period.electricity_fen + tariff.service_fen) // (1000 * tariff.priced_kwh)


def package_left_s(tariff: Tariff, use: Use, power_w: int) -> int | None:
    """Return the time left of the bought package, at about the present power; None if none was bought."""
    if tariff.package is None:
        return None
    return package_cover(tariff, tariff.package, use, power_w).charging_s


def taper_left_s(points: Sequence[CurvePoint], ends: keys.ChargeSection) -> int | None:
    """Return the time until the guard counts the battery as full, from its falling power; None if not falling yet."""
    powers_w = [point.power_w for point in points]
    if len(powers_w) < MIN_POINTS or powers_w[-1] <= 0:
        return None
    plateau_w = _plateau(powers_w)
    full_w = min(max(ends.full_floor_w, ends.full_share * plateau_w), CAME_DOWN_SHARE * plateau_w)
    if powers_w[-1] < full_w:
        return _hold_left_s(points, full_w, ends.full_hold_s)
    if powers_w[-1] > FALLEN_SHARE * plateau_w:
        return None
    top = max(index for index, power_w in enumerate(powers_w) if power_w >= PLATEAU_SHARE * plateau_w)
    falling = points[top + 1 :]
    decay = _decay_per_s(falling[-max(MIN_POINTS, len(falling) // 2) :])
    if decay is None:
        return None
    left_s = math.log(powers_w[-1] / full_w) / decay
    return None if left_s > MAX_TAPER_S else round(left_s + ends.full_hold_s)


def _plateau(powers_w: Sequence[int]) -> int:
    """Return the highest power held: a single point above both neighbours does not count."""
    return max(sorted(powers_w[place : place + 3])[1] for place in range(len(powers_w) - 2))


def _hold_left_s(points: Sequence[CurvePoint], full_w: float, hold_s: float) -> int:
    """Return the rest of `hold_s`, counted from the last point that was not low; at its end the battery is full."""
    before = [point.at_s for point in points if point.power_w >= full_w]
    low_s = points[-1].at_s - (before[-1] if before else points[0].at_s)
    return max(0, round(hold_s - low_s))


def _decay_per_s(falling: Sequence[CurvePoint]) -> float | None:
    """Return the decay, above 0, of an exponential through the points; None if they do not fit a falling one."""
    if len(falling) < MIN_POINTS or min(point.power_w for point in falling) <= 0:
        return None
    times = [float(point.at_s) for point in falling]
    logs = [math.log(point.power_w) for point in falling]
    mean_t, mean_l = sum(times) / len(times), sum(logs) / len(logs)
    spread_t = sum((t - mean_t) ** 2 for t in times)
    spread_l = sum((x - mean_l) ** 2 for x in logs)
    together = sum((t - mean_t) * (x - mean_l) for t, x in zip(times, logs, strict=True))
    if not spread_t or not spread_l or together >= 0:
        return None
    if together * together / (spread_t * spread_l) < MIN_FIT:
        return None
    return -together / spread_t
