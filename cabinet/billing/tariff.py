"""Price arithmetic of one tariff: inputs are integers, outputs are the lines of a bill.

Independent of clock, configuration file and storage: local times are passed as minutes, use as milliseconds and
milliwatt-hours. Each line is rounded down to the fen separately, from exactly the quantity it shows, so a resident can
recalculate a receipt on paper.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from cabinet.model import CostLine

MINUTES_A_DAY = 24 * 60
SECONDS_AN_HOUR = 3600
MWH_A_KWH = 1_000_000
MWH_A_WH = 1000


class Band(msgspec.Struct, frozen=True):
    """Price of an hour of charging while the power is in [from_w, to_w); if `to_w` is None, there is no upper end.

    An hour in this band uses up 100 / `package_percent` hours of a package.
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
    """An amount of charging time, at the power of the bands of 100 %, for one price."""

    bought_s: int
    fen: int


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """A tariff, complete by the configuration's check: every power has one band, every minute one period.

    Prices of energy are whole fen for `priced_kwh`: 1, or 100 if a kWh costs fractions of a fen. Days are
    `datetime.date` ordinals. A day is a holiday if it is one of `holidays`, or at a weekend if `weekends_are_holidays`
    is set and `workdays` does not include it.
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
    tripped_charge: Literal["energy", "all", "nothing"] = "energy"  # cost of a session ended by a fault
    time_step_s: int = 1
    holidays: tuple[int, ...] = ()
    workdays: tuple[int, ...] = ()
    weekends_are_holidays: bool = False
    packages: tuple[Package, ...] = ()  # available packages
    package: Package | None = None  # bought by the session: its time costs nothing else

    def is_holiday(self, day: int) -> bool:
        """Return whether `day` is a holiday; 1 is Monday, the first of January of the year 1."""
        return day in self.holidays or (self.weekends_are_holidays and (day - 1) % 7 >= 5 and day not in self.workdays)


class Use(msgspec.Struct, frozen=True):
    """Use of a session: milliseconds with a load by band, energy by period. Only ever grows."""

    band_ms: tuple[int, ...]
    period_mwh: tuple[int, ...]

    @property
    def charging_ms(self) -> int:
        return sum(self.band_ms)

    @property
    def energy_mwh(self) -> int:
        return sum(self.period_mwh)


class Slice(msgspec.Struct, frozen=True):
    """Meter counts between two readings.

    `minutes` are the local times of the two readings, or None if the wall clock was not trusted: the ordinal of the
    date × 1440 + the minute of the day.
    """

    charging_ms: int
    energy_mwh: int
    minutes: tuple[int, int] | None


def within_day(tariff: Tariff, spent_fen: int) -> Tariff:
    """Return `tariff` for a session on a day on which its resident has already spent `spent_fen`."""
    if tariff.day_cap_fen is None:
        return tariff
    left_fen = max(0, tariff.day_cap_fen - spent_fen)
    return msgspec.structs.replace(
        tariff, cap_fen=left_fen if tariff.cap_fen is None else min(tariff.cap_fen, left_fen)
    )


def no_use(tariff: Tariff) -> Use:
    return Use((0,) * len(tariff.bands), (0,) * len(tariff.periods))


def add_slice(tariff: Tariff, use: Use, piece: Slice) -> Use:
    """Return `use` plus `piece`: its time in the band of its mean power, its energy in its period."""
    bands, periods = list(use.band_ms), list(use.period_mwh)
    if piece.charging_ms:
        bands[band_of(tariff, piece.charging_ms, piece.energy_mwh)] += piece.charging_ms
    if piece.energy_mwh:
        periods[period_of(tariff, piece.minutes)] += piece.energy_mwh
    return Use(tuple(bands), tuple(periods))


def band_of(tariff: Tariff, charging_ms: int, energy_mwh: int) -> int:
    """Return the index of the band of `energy_mwh` in `charging_ms` (above 0). Exact: without division."""
    watt_ms = energy_mwh * SECONDS_AN_HOUR  # 1 mWh = 3.6 J = 3600 W·ms
    return max(index for index, band in enumerate(tariff.bands) if band.from_w * charging_ms <= watt_ms)


def period_of(tariff: Tariff, minutes: tuple[int, int] | None) -> int:
    """Return the index of the cheapest period touched between the two local minutes; of all if they are unknown.

    Several periods are touched only if the meter was not read for long, such as while the service was down: that is not
    the resident's fault. If clocks are put back, the second minute may be before the first.
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
    """Return the periods of `day`; `first` and `last` are minutes since its midnight and may lie outside it."""
    without = "workday" if tariff.is_holiday(day) else "holiday"
    return [
        index
        for index, period in enumerate(tariff.periods)
        if period.days != without and period.start_minute <= last and first < period.end_minute
    ]


def price(tariff: Tariff, use: Use, energy_only: bool = False) -> list[CostLine]:
    """Return the bill for `use`. Its sum is never negative; without any load there is no start fee.

    If `energy_only` is set, there is no start fee, no time and no minimum. Free minutes and the cap still apply.
    """
    lines = energy_lines(tariff, use)
    if not energy_only:
        lines = [*_start_fee(tariff, use), *time_lines(tariff, use), *lines]
    total = total_fen(lines)
    charging_s = use.charging_ms // 1000
    if total > 0 and charging_s < tariff.free_minutes * 60:
        return [*lines, CostLine("free", charging_s, "s", 0, -total)]
    if 0 < total < tariff.minimum_fen and not energy_only:
        lines.append(CostLine("minimum", 1, "once", tariff.minimum_fen, tariff.minimum_fen - total))
    return lines if tariff.cap_fen is None else capped(lines, tariff.cap_fen)


def _start_fee(tariff: Tariff, use: Use) -> list[CostLine]:
    if not tariff.start_fee_fen or not use.charging_ms:
        return []
    return [CostLine("start_fee", 1, "once", tariff.start_fee_fen, tariff.start_fee_fen)]


def package_lines(package: Package, bands: Sequence[Band], use: Use) -> list[CostLine]:
    """Return the used part of a package, by band; the rest of its price is not charged."""
    lines = []
    for band, used_ms in zip(bands, use.band_ms, strict=True):
        seconds, lasts_s = used_ms // 1000, package.bought_s * band.package_percent // 100
        if seconds:
            amount_fen = min(package.fen, seconds * package.fen // lasts_s)
            lines.append(CostLine("package", seconds, "s", package.fen, amount_fen, f"{band_text(band)} {lasts_s}"))
    return capped(lines, package.fen)


def time_lines(tariff: Tariff, use: Use) -> list[CostLine]:
    """Return charging time by power band, in whole seconds; bands that cost nothing are not listed.

    A step that has begun counts in full: the missing time is added to the cheapest band in use.
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
            lines.append(CostLine("time", seconds, "s", band.fen_per_hour, amount_fen, band_text(band)))
    return lines


def energy_lines(tariff: Tariff, use: Use) -> list[CostLine]:
    """Return electricity by period of the day, and the service fee by energy separately.

    Whole watt-hours are charged, the three decimals of a kWh on a receipt: energy not shown is not charged.
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
            lines.append(CostLine("electricity", used_mwh, "mWh", unit_fen, amount_fen, detail, tariff.priced_kwh))
    all_mwh = use.energy_mwh - use.energy_mwh % MWH_A_WH
    if all_mwh and tariff.service_fen:
        amount_fen = all_mwh * tariff.service_fen // priced_mwh
        lines.append(CostLine("service", all_mwh, "mWh", tariff.service_fen, amount_fen, per=tariff.priced_kwh))
    return lines


def band_text(band: Band) -> str:
    """Return the band as text, such as 200-400, or 400- for the last one."""
    return f"{band.from_w}-{'' if band.to_w is None else band.to_w}"


def clock_text(minute: int) -> str:
    """Return HH:MM of a minute of the day; 1440 is 24:00."""
    return f"{minute // 60:02}:{minute % 60:02}"


def total_fen(lines: Sequence[CostLine]) -> int:
    return sum(line.amount_fen for line in lines)


def capped(lines: list[CostLine], most_fen: int) -> list[CostLine]:
    """Return `lines`, with a cap line added if they exceed `most_fen`."""
    total = total_fen(lines)
    return [*lines, CostLine("cap", 1, "once", most_fen, most_fen - total)] if total > most_fen else lines


def parts_fen(lines: Sequence[CostLine]) -> tuple[int, int]:
    """Return electricity and the rest, which add up to the total: a cap reduces the rest first."""
    total = total_fen(lines)
    electricity = min(total, sum(line.amount_fen for line in lines if line.kind == "electricity"))
    return electricity, total - electricity
