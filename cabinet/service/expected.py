"""When a charge will be over, as far as that can be said honestly: from what was bought, or from the taper. Pure.

Nobody knows how empty a battery was. Until its power falls, a charge until full has no expected end, only a latest one.
"""

import math
from collections.abc import Sequence

import msgspec

from cabinet.billing import cover as covering
from cabinet.billing import tariff as billing
from cabinet.billing.tariff import Tariff, Use
from cabinet.config import keys
from cabinet.service.ports import EndBasis
from cabinet.store.sessions import CurveRow

FALLEN_SHARE = 0.9  # of the plateau: above it, nothing is said to taper
PLATEAU_SHARE = 0.95
CAME_DOWN_SHARE = 0.5  # full is below this share of the plateau, where that is less than the floor (see `charge`)
LEAST_POINTS = 4
LEAST_FIT = 0.9  # how well a straight line through the logarithms must explain them
LONGEST_TAPER_S = 4 * 3600  # a slope that takes longer is none


class End(msgspec.Struct, frozen=True):
    left_s: int
    basis: EndBasis


def expected(ends: Sequence[End], taper_s: int | None, until_full: bool) -> End | None:
    """The most likely end; None where nobody can know. `ends` are those that are sure to come, the first counts."""
    first = latest(ends)
    if taper_s is not None and (first is None or taper_s < first.left_s):
        return End(taper_s, "taper")
    return None if until_full else first


def latest(ends: Sequence[End]) -> End | None:
    return min(ends, key=lambda end: end.left_s, default=None)


def money_left_s(hour_fen: int, left_fen: int) -> int | None:
    """How long `left_fen` last at so much an hour; None: for ever."""
    return None if hour_fen <= 0 else max(0, left_fen) * billing.SECONDS_AN_HOUR // hour_fen


def hour_fen(tariff: Tariff, power_w: int, minute: int) -> int:
    """What an hour costs at `power_w` with the prices of local `minute`, without what is charged once."""
    time_fen = 0
    if tariff.package is None:
        time_fen = tariff.bands[billing.band_of(tariff, billing.SECONDS_AN_HOUR * 1000, power_w * 1000)].fen_per_hour
    period = tariff.periods[billing.period_of(tariff, (minute, minute))]
    return time_fen + power_w * (period.electricity_fen + tariff.service_fen) // (1000 * tariff.priced_kwh)


def package_left_s(tariff: Tariff, use: Use, power_w: int) -> int | None:
    """Of the package that was bought, at about the present power; None where none was."""
    if tariff.package is None:
        return None
    return covering.package_cover(tariff, tariff.package, use, power_w).charging_s


def taper_left_s(points: Sequence[CurveRow], ends: keys.Charge) -> int | None:
    """Until the guard will call the battery full, from the way its power falls; None where it does not fall yet."""
    powers_w = [point.power_w for point in points]
    if len(powers_w) < LEAST_POINTS or powers_w[-1] <= 0:
        return None
    plateau_w = _plateau(powers_w)
    full_w = min(max(ends.full_floor_w, ends.full_share * plateau_w), CAME_DOWN_SHARE * plateau_w)
    if powers_w[-1] < full_w:
        return _hold_left_s(points, full_w, ends.full_hold_s)
    if powers_w[-1] > FALLEN_SHARE * plateau_w:
        return None
    top = max(index for index, power_w in enumerate(powers_w) if power_w >= PLATEAU_SHARE * plateau_w)
    falling = points[top + 1 :]
    decay = _decay_per_s(falling[-max(LEAST_POINTS, len(falling) // 2) :])
    if decay is None:
        return None
    left_s = math.log(powers_w[-1] / full_w) / decay
    return None if left_s > LONGEST_TAPER_S else round(left_s + ends.full_hold_s)


def _plateau(powers_w: Sequence[int]) -> int:
    """The highest that was held: one point above both neighbours is not it."""
    return max(sorted(powers_w[place : place + 3])[1] for place in range(len(powers_w) - 2))


def _hold_left_s(points: Sequence[CurveRow], full_w: float, hold_s: float) -> int:
    """Power has been low since the last point that was not; at its end it is called full."""
    before = [point.at_s for point in points if point.power_w >= full_w]
    low_s = points[-1].at_s - (before[-1] if before else points[0].at_s)
    return max(0, round(hold_s - low_s))


def _decay_per_s(falling: Sequence[CurveRow]) -> float | None:
    """Of an exponential through the points, above 0; None where they do not lie on one that falls."""
    if len(falling) < LEAST_POINTS or min(point.power_w for point in falling) <= 0:
        return None
    times = [float(point.at_s) for point in falling]
    logs = [math.log(point.power_w) for point in falling]
    mean_t, mean_l = sum(times) / len(times), sum(logs) / len(logs)
    spread_t = sum((t - mean_t) ** 2 for t in times)
    spread_l = sum((x - mean_l) ** 2 for x in logs)
    together = sum((t - mean_t) * (x - mean_l) for t, x in zip(times, logs, strict=True))
    if not spread_t or not spread_l or together >= 0:
        return None
    if together * together / (spread_t * spread_l) < LEAST_FIT:
        return None
    return -together / spread_t
