"""What a charge costs: integers in, lines of a bill out.

Knows no clock, no configuration file and no storage: local times come in as minutes, use as milliseconds and
milliwatt-hours. Every line is rounded down to the fen by itself, from the very quantity it shows, so
that a resident can work a receipt out again on paper.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

MINUTES_A_DAY = 24 * 60
SECONDS_AN_HOUR = 3600
MWH_A_KWH = 1_000_000
MWH_A_WH = 1000

LineKind = Literal["start_fee", "time", "package", "electricity", "service", "minimum", "cap", "free"]


class Band(msgspec.Struct, frozen=True):
    """Price of an hour of charging while the power is in [from_w, to_w); `to_w` None has no upper end.

    An hour in it uses up 100 / `package_percent` hours of a package.
    """

    from_w: int
    to_w: int | None
    fen_per_hour: int
    package_percent: int = 100


Days = Literal["every", "workday", "holiday"]


class Period(msgspec.Struct, frozen=True):
    """Price of `priced_kwh` of electricity in [start_minute, end_minute) of every day, or of one kind of day only."""

    start_minute: int
    end_minute: int
    electricity_fen: int
    days: Days = "every"


class Package(msgspec.Struct, frozen=True):
    """So much charging time, at the power of the bands of 100 %, for one price."""

    bought_s: int
    fen: int


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """Total by construction of the configuration's check: every power has one band, every minute one period.

    Prices of energy are whole fen for `priced_kwh`: 1, or 100 where a kWh costs parts of a fen.
    Days are `datetime.date` ordinals. A day is a holiday if it is one of `holidays`, or at a weekend where
    `weekends_are_holidays` says so and `workdays` does not name it.
    """

    version: str
    bands: tuple[Band, ...]
    periods: tuple[Period, ...]
    start_fee_fen: int = 0
    priced_kwh: int = 1
    service_fen: int = 0
    free_minutes: int = 0
    minimum_fen: int = 0
    cap_fen: int | None = None
    day_cap_fen: int | None = None
    tripped_charge: Literal["energy", "all", "nothing"] = "energy"  # what a session costs that a fault ended
    time_step_s: int = 1
    holidays: tuple[int, ...] = ()
    workdays: tuple[int, ...] = ()
    weekends_are_holidays: bool = False
    packages: tuple[Package, ...] = ()  # that may be bought
    package: Package | None = None  # that the session bought: its time costs nothing else

    def is_holiday(self, day: int) -> bool:
        """1 is Monday, the first of January of the year 1."""
        return day in self.holidays or (self.weekends_are_holidays and (day - 1) % 7 >= 5 and day not in self.workdays)


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

    `minutes` are the local times of the two looks, or None where the wall clock could not be trusted: the ordinal of
    the date × 1440 + the minute of the day.
    """

    charging_ms: int
    energy_mwh: int
    minutes: tuple[int, int] | None


class Line(msgspec.Struct, frozen=True):
    """`quantity` × `unit_price_fen` (`per` hours or kWh, or once). `minimum` adds, `cap` and `free` take off.

    `package`: its price × `quantity` / the seconds that it lasts in this band, which `detail` ends with.
    """

    kind: LineKind
    quantity: int
    unit: Literal["once", "s", "mWh"]
    unit_price_fen: int
    amount_fen: int
    detail: str = ""
    per: int = 1


def within_day(tariff: Tariff, spent_fen: int) -> Tariff:
    """`tariff` for a session that begins on a day on which its resident has spent so much already."""
    if tariff.day_cap_fen is None:
        return tariff
    left_fen = max(0, tariff.day_cap_fen - spent_fen)
    return msgspec.structs.replace(
        tariff, cap_fen=left_fen if tariff.cap_fen is None else min(tariff.cap_fen, left_fen)
    )


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
    """Index of the cheapest period that the local minutes from one to the other touch; of all, where not known.

    Several periods are touched only where nobody looked at the meter for long, such as while the service was down:
    that is not the resident's doing. Where clocks are put back the second may be before the first.
    """
    touched: Sequence[int] = range(len(tariff.periods))
    if minutes is not None:
        first, last = min(minutes), max(minutes)
        touched = sorted(
            {index for day in range(first // MINUTES_A_DAY, last // MINUTES_A_DAY + 1)
             for index in _periods_touched(tariff, day, first - day * MINUTES_A_DAY, last - day * MINUTES_A_DAY)}
        )  # fmt: skip
    return min(touched, key=lambda index: tariff.periods[index].electricity_fen)


def _periods_touched(tariff: Tariff, day: int, first: int, last: int) -> list[int]:
    """Of that day; `first` and `last` are minutes since its midnight and may lie outside it."""
    without = "workday" if tariff.is_holiday(day) else "holiday"
    return [
        index
        for index, period in enumerate(tariff.periods)
        if period.days != without and period.start_minute <= last and first < period.end_minute
    ]


def price(tariff: Tariff, use: Use, energy_only: bool = False) -> list[Line]:
    """The bill for `use`. Its sum is never negative; without any load there is no start fee.

    `energy_only`: no start fee, no time and no minimum. Free minutes and the cap hold all the same.
    """
    lines = energy_lines(tariff, use)
    if not energy_only:
        lines = [*_start_fee(tariff, use), *time_lines(tariff, use), *lines]
    total = total_fen(lines)
    charging_s = use.charging_ms // 1000
    if total > 0 and charging_s < tariff.free_minutes * 60:
        return [*lines, Line("free", charging_s, "s", 0, -total)]
    if 0 < total < tariff.minimum_fen and not energy_only:
        lines.append(Line("minimum", 1, "once", tariff.minimum_fen, tariff.minimum_fen - total))
    return lines if tariff.cap_fen is None else at_most(lines, tariff.cap_fen)


def _start_fee(tariff: Tariff, use: Use) -> list[Line]:
    if not tariff.start_fee_fen or not use.charging_ms:
        return []
    return [Line("start_fee", 1, "once", tariff.start_fee_fen, tariff.start_fee_fen)]


def package_lines(package: Package, bands: Sequence[Band], use: Use) -> list[Line]:
    """What was used of a package, by band; the rest of its price is not charged."""
    lines = []
    for band, used_ms in zip(bands, use.band_ms, strict=True):
        seconds, lasts_s = used_ms // 1000, package.bought_s * band.package_percent // 100
        if seconds:
            amount_fen = min(package.fen, seconds * package.fen // lasts_s)
            lines.append(Line("package", seconds, "s", package.fen, amount_fen, f"{band_text(band)} {lasts_s}"))
    return at_most(lines, package.fen)


def time_lines(tariff: Tariff, use: Use) -> list[Line]:
    """Charging time by power band, whole seconds; bands that cost nothing are not listed.

    A step that has begun counts as a whole: what is missing to it is added to the cheapest band that was used.
    """
    if tariff.package is not None:
        return package_lines(tariff.package, tariff.bands, use)
    by_band = [used_ms // 1000 for used_ms in use.band_ms]
    used = [index for index, seconds in enumerate(by_band) if seconds]
    if used:
        cheapest = min(used, key=lambda index: tariff.bands[index].fen_per_hour)
        by_band[cheapest] += -sum(by_band) % tariff.time_step_s
    lines = []
    for band, seconds in zip(tariff.bands, by_band, strict=True):
        if seconds and band.fen_per_hour:
            amount_fen = seconds * band.fen_per_hour // SECONDS_AN_HOUR
            lines.append(Line("time", seconds, "s", band.fen_per_hour, amount_fen, band_text(band)))
    return lines


def energy_lines(tariff: Tariff, use: Use) -> list[Line]:
    """Electricity by period of the day, and the service fee by energy apart from it.

    Of whole watt-hours, the three decimals of a kWh that a receipt shows: what is not shown is not charged.
    """
    priced_mwh = MWH_A_KWH * tariff.priced_kwh
    lines = []
    for period, counted_mwh in zip(tariff.periods, use.period_mwh, strict=True):
        used_mwh = counted_mwh - counted_mwh % MWH_A_WH
        if used_mwh:
            unit_fen = period.electricity_fen
            detail = f"{clock_text(period.start_minute)}-{clock_text(period.end_minute)}"
            if period.days != "every":
                detail += f" {period.days}"
            amount_fen = used_mwh * unit_fen // priced_mwh
            lines.append(Line("electricity", used_mwh, "mWh", unit_fen, amount_fen, detail, tariff.priced_kwh))
    all_mwh = use.energy_mwh - use.energy_mwh % MWH_A_WH
    if all_mwh and tariff.service_fen:
        amount_fen = all_mwh * tariff.service_fen // priced_mwh
        lines.append(Line("service", all_mwh, "mWh", tariff.service_fen, amount_fen, per=tariff.priced_kwh))
    return lines


def band_text(band: Band) -> str:
    """Such as 200-400, or 400- for the last one."""
    return f"{band.from_w}-{'' if band.to_w is None else band.to_w}"


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
