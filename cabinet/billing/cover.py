"""Cost bounds: the amount to hold for a charge, and how far the guard may let it continue. Pure.

A session is priced line by line afterwards (`tariff`); here the cost is bounded beforehand, and the bound must hold no
matter how the power changes. Everything is rounded in the direction that keeps a charge within its hold.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import msgspec

from cabinet.billing.tariff import MWH_A_KWH, SECONDS_AN_HOUR, Package, Tariff, Use


class Cover(msgspec.Struct, frozen=True):
    """Charging time and energy that may still be used, both at once, without exceeding the money."""

    charging_s: int
    energy_mwh: int


def rate_fen_per_hour(tariff: Tariff, mean_w: int) -> Fraction:
    """Return the most that an hour can cost at a mean power of `mean_w`, however the power varied within it."""
    return _highest(tariff, _fen_per_hour(tariff), mean_w) + mean_w * _dearest_fen_per_kwh(tariff) / 1000


def bound_fen(tariff: Tariff, charging_s: int, max_w: int) -> int:
    """Return the most that `charging_s` can cost at a mean power of at most `max_w`."""
    most = tariff.start_fee_fen + math.ceil(rate_fen_per_hour(tariff, max_w) * charging_s / SECONDS_AN_HOUR)
    most += _step_fen(tariff)
    most = max(most, tariff.minimum_fen)
    return most if tariff.cap_fen is None else min(most, tariff.cap_fen)


def package_bound_fen(tariff: Tariff, package: Package, max_w: int) -> int:
    """Return the most that a charge with `package` can cost at `max_w` or less: its time costs the package price."""
    energy_fen = package.bought_s * max_w * _dearest_fen_per_kwh(tariff) / (1000 * SECONDS_AN_HOUR)
    most = max(tariff.start_fee_fen + package.fen + math.ceil(energy_fen), tariff.minimum_fen)
    return most if tariff.cap_fen is None else min(most, tariff.cap_fen)


def cover(tariff: Tariff, use: Use, budget_fen: int, expected_w: int) -> Cover | None:
    """Return the time and energy that `budget_fen` covers beyond `use`, however the power varies; None: any amount.

    Time and energy form a pair: a charge at about `expected_w` gets the most out of it, one that draws more is ended by
    the energy, one that draws less by the time, and none costs more than the budget.
    """
    if tariff.cap_fen is not None and tariff.cap_fen <= budget_fen:
        return None
    rate = rate_fen_per_hour(tariff, expected_w)
    if rate == 0:
        return None
    left_fen = max(0, budget_fen - _spent_up_fen(tariff, use))
    return _pair(math.floor(left_fen * SECONDS_AN_HOUR / rate), expected_w)


def package_cover(tariff: Tariff, package: Package, use: Use, expected_w: int) -> Cover:
    """Return the remainder of the package's time, as a pair like that of `cover`."""
    worth = [Fraction(100, band.package_percent) for band in tariff.bands]
    used_s = sum(ms * each / 1000 for ms, each in zip(use.band_ms, worth, strict=True))
    left_s = max(Fraction(0), package.bought_s - used_s)
    return _pair(math.floor(left_s / _highest(tariff, worth, expected_w)), expected_w)


def _pair(charging_s: int, expected_w: int) -> Cover:
    return Cover(charging_s, charging_s * expected_w * 1000 // SECONDS_AN_HOUR)


def _highest(tariff: Tariff, by_band: Sequence[Fraction], mean_w: int) -> Fraction:
    """Return the highest mean of an hour's value by band, at a mean power of `mean_w`.

    A charge that jumps between a cheap low band and an expensive high one has a low mean. The result is therefore not
    the value of the mean's band, but the highest line between any two bands' beginnings around it.
    """
    points = list(zip((band.from_w for band in tariff.bands), by_band, strict=True))
    below = [(from_w, worth) for from_w, worth in points if from_w <= mean_w]
    above = [(from_w, worth) for from_w, worth in points if from_w > mean_w]
    best = max(worth for _, worth in below)
    for low_w, low in below:
        for high_w, high in above:
            best = max(best, low + (high - low) * (mean_w - low_w) / (high_w - low_w))
    return best


def _fen_per_hour(tariff: Tariff) -> list[Fraction]:
    package = tariff.package
    if package is None:
        return [Fraction(band.fen_per_hour) for band in tariff.bands]
    an_hour = Fraction(package.fen * SECONDS_AN_HOUR, package.bought_s)
    return [an_hour * 100 / band.package_percent for band in tariff.bands]


def _spent_up_fen(tariff: Tariff, use: Use) -> int:
    """Return the cost of `use` with every line rounded up and the start fee due: later additions round down."""
    times = sum(
        math.ceil(ms * price / (1000 * SECONDS_AN_HOUR))
        for ms, price in zip(use.band_ms, _fen_per_hour(tariff), strict=True)
    )
    energies = sum(
        _up(mwh * period.electricity_fen, MWH_A_KWH * tariff.priced_kwh)
        for mwh, period in zip(use.period_mwh, tariff.periods, strict=True)
    )
    service = _up(use.energy_mwh * tariff.service_fen, MWH_A_KWH * tariff.priced_kwh)
    return tariff.start_fee_fen + times + _step_fen(tariff) + energies + service


def _step_fen(tariff: Tariff) -> int:
    """Return the most that a step that has just begun can add."""
    if tariff.package is not None:
        return 0
    dearest = max(band.fen_per_hour for band in tariff.bands)
    return _up((tariff.time_step_s - 1) * dearest, SECONDS_AN_HOUR)


def _dearest_fen_per_kwh(tariff: Tariff) -> Fraction:
    dearest_fen = tariff.service_fen + max(period.electricity_fen for period in tariff.periods)
    return Fraction(dearest_fen, tariff.priced_kwh)


def _up(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up."""
    return -(-numerator // denominator)
