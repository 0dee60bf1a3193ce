"""What a charge costs: integers in, lines of a bill out.

Knows no clock, no configuration file and no storage: times of day come in as minutes since midnight, use as
milliseconds and milliwatt-hours. Every line is rounded down to the fen by itself, from the very quantity it shows, so
that a resident can work a receipt out again on paper.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

MINUTES_A_DAY = 24 * 60
SECONDS_AN_HOUR = 3600
MWH_A_KWH = 1_000_000

LineKind = Literal["start_fee", "time", "electricity", "service", "minimum", "cap", "free"]


class Band(msgspec.Struct, frozen=True):
    """Price of an hour of charging while the power is in [from_w, to_w); `to_w` None has no upper end."""

    from_w: int
    to_w: int | None
    fen_per_hour: int


class Period(msgspec.Struct, frozen=True):
    """Price of electricity in [start_minute, end_minute) of the day."""

    start_minute: int
    end_minute: int
    electricity_fen_per_kwh: int


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """Total by construction of the configuration's check: every power has one band, every minute one period."""

    version: str
    bands: tuple[Band, ...]
    periods: tuple[Period, ...]
    start_fee_fen: int = 0
    service_fen_per_kwh: int = 0
    free_minutes: int = 0
    minimum_fen: int = 0
    cap_fen: int | None = None


class Use(msgspec.Struct, frozen=True):
    """What a session has used: milliseconds with a load by band, energy by period. Only ever grows."""

    band_ms: tuple[int, ...]
    period_mwh: tuple[int, ...]

    @property
    def charging_ms(self) -> int:
        return sum(self.band_ms)

    @property
    def energy_mwh(self) -> int:
        return sum(self.period_mwh)


class Slice(msgspec.Struct, frozen=True):
    """What the meter counted between two looks at it.

    `minutes` are the minutes of the day of the two looks, or None where the wall clock could not be trusted.
    """

    charging_ms: int
    energy_mwh: int
    minutes: tuple[int, int] | None


class Line(msgspec.Struct, frozen=True):
    """`quantity` × `unit_price_fen` (an hour, a kWh, or once). `minimum` adds, `cap` and `free` take off."""

    kind: LineKind
    quantity: int
    unit: Literal["once", "s", "mWh"]
    unit_price_fen: int
    amount_fen: int
    detail: str = ""


class Cover(msgspec.Struct, frozen=True):
    """Charging time and energy that may still be used, both at once, without costing more than there is."""

    charging_s: int
    energy_mwh: int


def no_use(tariff: Tariff) -> Use:
    return Use((0,) * len(tariff.bands), (0,) * len(tariff.periods))


def book(tariff: Tariff, use: Use, piece: Slice) -> Use:
    """`use` with `piece` added: its time to the band of its mean power, its energy to its period."""
    bands, periods = list(use.band_ms), list(use.period_mwh)
    if piece.charging_ms:
        bands[band_of(tariff, piece.charging_ms, piece.energy_mwh)] += piece.charging_ms
    if piece.energy_mwh:
        periods[period_of(tariff, piece.minutes)] += piece.energy_mwh
    return Use(tuple(bands), tuple(periods))


def band_of(tariff: Tariff, charging_ms: int, energy_mwh: int) -> int:
    """Index of the band that `energy_mwh` in `charging_ms` (above 0) falls into. Exact: nothing is divided."""
    watt_ms = energy_mwh * SECONDS_AN_HOUR  # 1 mWh = 3.6 J = 3600 W·ms
    return max(index for index, band in enumerate(tariff.bands) if band.from_w * charging_ms <= watt_ms)


def period_of(tariff: Tariff, minutes: tuple[int, int] | None) -> int:
    """Index of the cheapest period that the minutes from the first to the second touch; of all, where not known.

    A second before the first is on the next day. Several periods are touched only where nobody looked at the meter
    for long, such as while the service was down: that is not the resident's doing.
    """
    touched: Sequence[int] = range(len(tariff.periods))
    if minutes is not None:
        first, last = minutes
        last += MINUTES_A_DAY * (last < first)
        touched = [
            index
            for index, period in enumerate(tariff.periods)
            if any(period.start_minute + day <= last and first < period.end_minute + day for day in (0, MINUTES_A_DAY))
        ]
    return min(touched, key=lambda index: tariff.periods[index].electricity_fen_per_kwh)


def price(tariff: Tariff, use: Use) -> list[Line]:
    """The bill for `use`. Its sum is never negative; without any load there is no start fee."""
    lines = [*_start_fee(tariff, use), *time_lines(tariff, use), *energy_lines(tariff, use)]
    total = total_fen(lines)
    charging_s = use.charging_ms // 1000
    if total > 0 and charging_s < tariff.free_minutes * 60:
        lines.append(Line("free", charging_s, "s", 0, -total))
    elif 0 < total < tariff.minimum_fen:
        lines.append(Line("minimum", 1, "once", tariff.minimum_fen, tariff.minimum_fen - total))
    elif tariff.cap_fen is not None and total > tariff.cap_fen:
        lines.append(Line("cap", 1, "once", tariff.cap_fen, tariff.cap_fen - total))
    return lines


def _start_fee(tariff: Tariff, use: Use) -> list[Line]:
    if not tariff.start_fee_fen or not use.charging_ms:
        return []
    return [Line("start_fee", 1, "once", tariff.start_fee_fen, tariff.start_fee_fen)]


def time_lines(tariff: Tariff, use: Use) -> list[Line]:
    """Charging time by power band, whole seconds; bands that cost nothing are not listed."""
    lines = []
    for band, used_ms in zip(tariff.bands, use.band_ms, strict=True):
        seconds = used_ms // 1000
        if seconds and band.fen_per_hour:
            detail = f"{band.from_w}-{'' if band.to_w is None else band.to_w}"
            amount_fen = seconds * band.fen_per_hour // SECONDS_AN_HOUR
            lines.append(Line("time", seconds, "s", band.fen_per_hour, amount_fen, detail))
    return lines


def energy_lines(tariff: Tariff, use: Use) -> list[Line]:
    """Electricity by period of the day, and the service fee by energy apart from it."""
    lines = []
    for period, used_mwh in zip(tariff.periods, use.period_mwh, strict=True):
        if used_mwh:
            unit_fen = period.electricity_fen_per_kwh
            detail = f"{clock_text(period.start_minute)}-{clock_text(period.end_minute)}"
            lines.append(Line("electricity", used_mwh, "mWh", unit_fen, used_mwh * unit_fen // MWH_A_KWH, detail))
    if use.energy_mwh and tariff.service_fen_per_kwh:
        amount_fen = use.energy_mwh * tariff.service_fen_per_kwh // MWH_A_KWH
        lines.append(Line("service", use.energy_mwh, "mWh", tariff.service_fen_per_kwh, amount_fen))
    return lines


def clock_text(minute: int) -> str:
    """HH:MM of a minute of the day; 1440 is 24:00."""
    return f"{minute // 60:02}:{minute % 60:02}"


def total_fen(lines: Sequence[Line]) -> int:
    return sum(line.amount_fen for line in lines)


def at_most(lines: list[Line], most_fen: int) -> list[Line]:
    """`lines` with a cap line where they come to more than `most_fen`."""
    total = total_fen(lines)
    return [*lines, Line("cap", 1, "once", most_fen, most_fen - total)] if total > most_fen else lines


def parts_fen(lines: Sequence[Line]) -> tuple[int, int]:
    """Electricity and everything else, which add up to the total: what a cap takes off comes off the rest first."""
    total = total_fen(lines)
    electricity = min(total, sum(line.amount_fen for line in lines if line.kind == "electricity"))
    return electricity, total - electricity


def rate_fen_per_hour(tariff: Tariff, mean_w: int) -> int:
    """The most that an hour can cost at a mean power of `mean_w`, however the power moved within it. Rounded up.

    A charge that jumps between a cheap low band and a dear high one has a low mean: hence not the price of the band
    of the mean, but the highest line between any two bands' beginnings around it.
    """
    best = max(band.fen_per_hour for band in tariff.bands if band.from_w <= mean_w)
    for low in (band for band in tariff.bands if band.from_w <= mean_w):
        for high in (band for band in tariff.bands if band.from_w > mean_w):
            rise = (high.fen_per_hour - low.fen_per_hour) * (mean_w - low.from_w)
            best = max(best, low.fen_per_hour + _up(rise, high.from_w - low.from_w))
    return best + _up(mean_w * _dearest_fen_per_kwh(tariff), 1000)


def bound_fen(tariff: Tariff, charging_s: int, most_w: int) -> int:
    """The most that `charging_s` can cost at a mean power of at most `most_w`."""
    most = tariff.start_fee_fen + _up(rate_fen_per_hour(tariff, most_w) * charging_s, SECONDS_AN_HOUR)
    most = max(most, tariff.minimum_fen)
    return most if tariff.cap_fen is None else min(most, tariff.cap_fen)


def cover(tariff: Tariff, use: Use, budget_fen: int, expected_w: int) -> Cover | None:
    """What `budget_fen` is sure to pay for beyond `use`, however the power moves; None: any amount.

    Time and energy are a pair that holds together: a charge at about `expected_w` gets the most out of it, one that
    draws more is ended by the energy, one that draws less by the time, and none costs more than the budget.
    """
    if tariff.cap_fen is not None and tariff.cap_fen <= budget_fen:
        return None
    rate = rate_fen_per_hour(tariff, expected_w)
    if rate == 0:
        return None
    left_fen = max(0, budget_fen - _spent_up_fen(tariff, use))
    charging_s = left_fen * SECONDS_AN_HOUR // rate
    return Cover(charging_s, charging_s * expected_w * 1000 // SECONDS_AN_HOUR)


def _spent_up_fen(tariff: Tariff, use: Use) -> int:
    """What `use` costs with every line rounded up and the start fee owed: what is added to it later rounds down."""
    times = sum(
        _up(ms * band.fen_per_hour, 1000 * SECONDS_AN_HOUR) for ms, band in zip(use.band_ms, tariff.bands, strict=True)
    )
    energies = sum(
        _up(mwh * period.electricity_fen_per_kwh, MWH_A_KWH)
        for mwh, period in zip(use.period_mwh, tariff.periods, strict=True)
    )
    return tariff.start_fee_fen + times + energies + _up(use.energy_mwh * tariff.service_fen_per_kwh, MWH_A_KWH)


def _dearest_fen_per_kwh(tariff: Tariff) -> int:
    return tariff.service_fen_per_kwh + max(period.electricity_fen_per_kwh for period in tariff.periods)


def _up(numerator: int, denominator: int) -> int:
    """The quotient rounded up."""
    return -(-numerator // denominator)
