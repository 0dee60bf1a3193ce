"""Prices in the service: the posted prices, a session's price lines and hold, and the guard's limits from its hold.

The arithmetic is in `billing.tariff`.
"""

import datetime
import zoneinfo
from typing import Protocol

import msgspec

from cabinet.billing.cover import bound_fen, cover, package_bound_fen, package_cover
from cabinet.billing.tariff import (
    MINUTES_A_DAY,
    Slice,
    Tariff,
    Use,
    add_slice,
    capped,
    clock_text,
    no_use,
    price,
    total_fen,
    within_day,
)
from cabinet.clock import WallTime, day_start_ms
from cabinet.errors import Refused
from cabinet.model import ChargeLimits, CostLine, EndReason
from cabinet.service.ports import BandPrice, PackagePrice, PeriodPrice, PriceView, StartChoice

EXAMPLE_MINUTES = 120
EXAMPLE_POWER_W = 150
SAMPLE_STEP_S = 60  # a sample receipt is calculated minute by minute

MIN_CHARGE_S, MAX_CHARGE_S, CHARGE_STEP_S = 1800, 36_000, 1800
MIN_AMOUNT_FEN, MAX_AMOUNT_FEN = 100, 5000

MIN_EXPECTED_W = 50  # an idle charger may wake up, so its limits are not calculated for its idle power
MARGIN_PERCENT = 125  # limits are calculated for somewhat more power than the charge draws now


class HoldLimits(Protocol):
    """The settings of `hold_fen`: a section of `cabinet.toml` or `fleet.toml`."""

    @property
    def minimum_hold_fen(self) -> int: ...
    @property
    def full_hold_fen(self) -> int: ...


class SiteTime:
    """The site's calendar and clock."""

    def __init__(self, zone: str) -> None:
        self._zone = zoneinfo.ZoneInfo(zone)

    def _local(self, wall: WallTime) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(wall.unix_ms / 1000, self._zone)

    def minute(self, wall: WallTime) -> int:
        """Return local minutes as tariffs count them: the ordinal of the date × 1440 + the minute of the day."""
        local = self._local(wall)
        return local.toordinal() * MINUTES_A_DAY + local.hour * 60 + local.minute

    def day_number(self, wall: WallTime) -> int:
        """Return the date's ordinal, as tariffs count days."""
        return self._local(wall).toordinal()

    def day(self, wall: WallTime) -> str:
        """Return the day, such as 2026-11-04; wrong if the clock is wrong, as nothing better is known."""
        return self._local(wall).date().isoformat()

    def month_before(self, wall: WallTime) -> str:
        """Return the month before that of `wall`, such as 2026-10."""
        first = self._local(wall).date().replace(day=1)
        return (first - datetime.timedelta(days=1)).strftime("%Y-%m")

    def month_start_ms(self, wall: WallTime) -> int:
        """Return the start of the month of `wall` in Unix milliseconds."""
        return self.start_of_ms(self._local(wall).date().replace(day=1))

    def day_bounds_ms(self, wall: WallTime) -> tuple[int, int]:
        """Return the start of the day of `wall` and of the next day in Unix milliseconds."""
        date = self._local(wall).date()
        return self.start_of_ms(date), self.start_of_ms(date + datetime.timedelta(days=1))

    def start_of_ms(self, date: datetime.date) -> int:
        return day_start_ms(date, self._zone)


def price_view(tariff: Tariff, now_minute: int, example_w: int = EXAMPLE_POWER_W) -> PriceView:
    """Return the posted prices, and the price of the example from `now_minute` on (as `SiteTime.minute`)."""
    example_use = sample_use(tariff, EXAMPLE_MINUTES * 60, example_w, now_minute)
    return PriceView(
        version=tariff.version,
        start_fee_fen=tariff.start_fee_fen,
        priced_kwh=tariff.priced_kwh,
        service_fen=tariff.service_fen,
        free_minutes=tariff.free_minutes,
        minimum_fen=tariff.minimum_fen,
        cap_fen=tariff.cap_fen,
        day_cap_fen=tariff.day_cap_fen,
        time_step_s=tariff.time_step_s,
        packages=[PackagePrice(package.bought_s, package.fen) for package in tariff.packages],
        bands=[BandPrice(band.from_w, band.to_w, band.fen_per_hour, band.package_percent) for band in tariff.bands],
        periods=[
            PeriodPrice(
                clock_text(period.start_minute),
                clock_text(period.end_minute),
                period.electricity_fen,
                period.days,
            )
            for period in tariff.periods
        ],
        example_minutes=EXAMPLE_MINUTES,
        example_power_w=example_w,
        example_fen=total_fen(price(tariff, example_use)),
    )


def sample_use(tariff: Tariff, seconds: int, watts: float, minute: int) -> Use:
    """Return the use of a charge at constant power from local `minute` on, booked every minute as by the service."""
    use = no_use(tariff)
    for past_s in range(0, seconds, SAMPLE_STEP_S):
        until_s = min(past_s + SAMPLE_STEP_S, seconds)
        energy_mwh = round(watts * until_s / 3.6) - round(watts * past_s / 3.6)
        now = minute + past_s // 60
        use = add_slice(tariff, use, Slice((until_s - past_s) * 1000, energy_mwh, (now, now)))
    return use


def price_lines(
    tariff: Tariff, use: Use, held_fen: int, reason: EndReason | None, waived: bool = False
) -> list[CostLine]:
    """Return the price lines of a session that ended with `reason`, or goes on (None). The sum is never above the hold.

    This is the only place that prices an end: nothing if there was no load or the start was called off (`waived`);
    after a trip as `tripped_charge` sets, by default the energy delivered; otherwise as the tariff sets.
    """
    if waived or reason is EndReason.NO_LOAD:
        return []
    tripped = reason is EndReason.TRIPPED
    if tripped and tariff.tripped_charge == "nothing":
        return []
    lines = price(tariff, use, energy_only=tripped and tariff.tripped_charge == "energy")
    return capped(lines, held_fen)


def session_tariff(posted: Tariff, choice: StartChoice, spent_fen: int) -> Tariff:
    """Return the terms that a session keeps to its end; `spent_fen` is the sum charged to its resident today so far.

    Refuses bad_choice if the package is not sold.
    """
    bought = None
    if choice.kind == "package":
        bought = next((package for package in posted.packages if package.bought_s == choice.seconds), None)
        if bought is None:
            raise Refused("bad_choice")
    return msgspec.structs.replace(within_day(posted, spent_fen), packages=(), package=bought)


def check_choice(choice: StartChoice) -> int:
    """Return the choice as one number (seconds, fen, or 0 for full). Refuses bad_choice."""
    if choice.kind == "full" and choice.seconds is None and choice.amount_fen is None:
        return 0
    if choice.kind == "package" and choice.seconds is not None and choice.amount_fen is None:
        return choice.seconds  # `session_tariff` checks that it is sold
    if choice.kind == "hours" and choice.seconds is not None and choice.amount_fen is None:
        if MIN_CHARGE_S <= choice.seconds <= MAX_CHARGE_S and choice.seconds % CHARGE_STEP_S == 0:
            return choice.seconds
    elif (
        choice.kind == "amount"
        and choice.amount_fen is not None
        and choice.seconds is None
        and MIN_AMOUNT_FEN <= choice.amount_fen <= MAX_AMOUNT_FEN
    ):
        return choice.amount_fen
    raise Refused("bad_choice")


def hold_fen(limits: HoldLimits, tariff: Tariff, choice: StartChoice, balance_fen: int, max_w: int) -> int:
    """Return the amount to hold for `choice`; never above the balance. Refuses no_money."""
    if choice.kind == "amount" and choice.amount_fen is not None:
        wanted_fen = choice.amount_fen
        least_fen = wanted_fen
    elif tariff.package is not None:
        least_fen = max(limits.minimum_hold_fen, tariff.start_fee_fen + tariff.package.fen)
        wanted_fen = max(least_fen, package_bound_fen(tariff, tariff.package, max_w))
    else:
        least_fen = limits.minimum_hold_fen
        if choice.kind == "hours" and choice.seconds is not None:
            wanted_fen = max(least_fen, bound_fen(tariff, choice.seconds, max_w))
        else:
            wanted_fen = max(least_fen, limits.full_hold_fen)
    hold = min(wanted_fen, balance_fen)
    covered = cover(tariff, no_use(tariff), hold, max_w)
    if balance_fen < least_fen or (covered is not None and covered.charging_s == 0):
        raise Refused("no_money", balance_fen=balance_fen, needed_fen=max(least_fen, tariff.start_fee_fen + 1))
    return hold


def expected_w(mean_w: int | None, max_w: int) -> int:
    """Return the power for money limits: somewhat above the present mean, or the outlet's maximum if it is unknown."""
    if mean_w is None:
        return max_w
    return min(max_w, max(MIN_EXPECTED_W, mean_w * MARGIN_PERCENT // 100))


def limits(tariff: Tariff, use: Use, held: int, bought_s: int | None, power_w: int) -> ChargeLimits:
    """Return the guard's limits, in charging seconds and mWh since the charge began: by bought time and by money."""
    covered = cover(tariff, use, held, power_w)
    bought_mwh = None
    if tariff.package is not None:
        package = package_cover(tariff, tariff.package, use, power_w)
        bought_s = use.charging_ms // 1000 + package.charging_s
        bought_mwh = use.energy_mwh + package.energy_mwh
    if covered is None:
        return ChargeLimits(charging_s=bought_s, energy_mwh=bought_mwh)
    return ChargeLimits(
        charging_s=bought_s,
        energy_mwh=bought_mwh,
        money_charging_s=use.charging_ms // 1000 + covered.charging_s,
        money_energy_mwh=use.energy_mwh + covered.energy_mwh,
    )
