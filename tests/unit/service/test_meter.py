"""Slices: what was counted finds its band and its period, whatever the clocks do meanwhile."""

from typing import Any

import pytest

from cabinet.billing.tariff import Band, Period, Tariff, Use, no_use
from cabinet.clock import NS
from cabinet.model import MeterCount
from cabinet.service.charges.meter import SessionMeter
from cabinet.service.charges.pricing import SiteTime
from cabinet.store.moment import Moment
from cabinet.store.sessions import Counter

TARIFF = Tariff(
    version="t",
    bands=(Band(0, 200, 20), Band(200, None, 35)),
    periods=(Period(0, 480, 40), Period(480, 1320, 55), Period(1320, 1440, 30)),
)
NOON_S = 1_780_027_200  # 2026-05-29 12:00 in Shanghai
EIGHT_S = NOON_S - 4 * 3600
TEN_PM_S = NOON_S + 10 * 3600


def at(unix_s: float, *, trusted: bool = True, boot: str = "boot-1", wall_s: float | None = None) -> Moment:
    """The monotonic clock runs with the true time; the wall clock may say something else."""
    wall = unix_s if wall_s is None else wall_s
    return Moment(boot, int((unix_s - NOON_S + 100_000) * NS), int(wall * 1000), trusted)


def meter(start_s: float, **how: Any) -> SessionMeter:
    return SessionMeter(TARIFF, SiteTime("Asia/Shanghai"), no_use(TARIFF), MeterCount(), at(start_s, **how))


def count(seconds: float, energy_mwh: int) -> MeterCount:
    return MeterCount(energy_mwh, int(seconds * 1000), int(seconds * 1000))


def test_a_slice_is_booked_when_it_is_closed_and_priced_before() -> None:
    one = meter(NOON_S)
    one.observe(count(10, 500), at(NOON_S + 10))
    assert one.used == no_use(TARIFF)
    assert one.live_use() == Use((10_000, 0), (0, 500, 0))
    one.close_slice()
    assert one.used == one.live_use() == Use((10_000, 0), (0, 500, 0))
    assert one.mean_power_w == 180


def test_the_period_changes_within_a_checkpoint() -> None:
    one = meter(TEN_PM_S - 5)
    for second in range(1, 11):
        one.observe(count(second, 50 * second), at(TEN_PM_S - 5 + second))
    one.close_slice()
    assert one.used.period_mwh == (0, 200, 300), (
        "the look at 22:00 itself belongs to the night, as does what came before it"
    )
    assert one.used.band_ms == (10_000, 0)


def test_hours_that_nobody_saw_are_priced_by_the_cheapest_period_they_touch() -> None:
    one = meter(EIGHT_S - 3600)
    one.observe(count(7200, 300_000), at(EIGHT_S + 3600))
    one.close_slice()
    assert one.used.period_mwh == (300_000, 0, 0)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(at(NOON_S, trusted=False), at(NOON_S + 10), id="not trusted before"),
        pytest.param(at(NOON_S), at(NOON_S + 10, trusted=False), id="not trusted after"),
        pytest.param(at(NOON_S), at(NOON_S + 10, wall_s=NOON_S + 3600), id="set forward meanwhile"),
        pytest.param(at(NOON_S), at(NOON_S + 10, wall_s=NOON_S - 3600), id="set back meanwhile"),
        pytest.param(at(NOON_S), at(NOON_S + 10, wall_s=NOON_S + 10 * 366 * 86_400), id="years ahead"),
    ],
)
def test_a_clock_that_cannot_be_believed_means_the_cheapest_period(start: Moment, end: Moment) -> None:
    one = SessionMeter(TARIFF, SiteTime("Asia/Shanghai"), no_use(TARIFF), MeterCount(), start)
    one.observe(count(10, 500), end)
    one.close_slice()
    assert one.used == Use((10_000, 0), (0, 0, 500))


def test_time_is_what_was_counted_whatever_the_clocks_say() -> None:
    one = meter(NOON_S)
    one.observe(count(10, 500), at(NOON_S + 10, wall_s=0, trusted=False))
    one.observe(count(20, 1000), at(NOON_S + 20, wall_s=NOON_S * 2))
    one.close_slice()
    assert (one.used.charging_ms, one.used.energy_mwh) == (20_000, 1000)


def test_a_counter_that_comes_back_lower_neither_adds_nor_takes_away() -> None:
    one = meter(NOON_S)
    one.observe(count(20, 1000), at(NOON_S + 20))
    one.observe(count(5, 200), at(NOON_S + 25))
    one.close_slice()
    assert one.seen == count(20, 1000)
    assert one.used == Use((20_000, 0), (0, 1000, 0))


def counter(epoch: str, outlet: MeterCount) -> Counter:
    return Counter("run-1", epoch, outlet)


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        pytest.param(
            counter("e1", count(1000, 50_000)), counter("e1", count(1004, 50_200)), count(24, 1200), id="counted on"
        ),
        pytest.param(counter("e1", count(1000, 50_000)), counter("e2", count(4, 200)), count(20, 1000), id="new epoch"),
        pytest.param(None, counter("e1", count(1004, 50_200)), count(20, 1000), id="never looked before"),
        pytest.param(
            counter("e1", count(1000, 50_000)), counter("e1", count(999, 49_000)), count(20, 1000), id="gone back"
        ),
    ],
)
def test_what_a_dead_guard_left_uncounted(before: Counter | None, after: Counter, seen: MeterCount) -> None:
    one = meter(NOON_S)
    one.observe(count(20, 1000), at(NOON_S + 20), before)
    for _ in range(3):
        one.observe_outlet(after, at(NOON_S + 60))
    assert one.seen == seen
    assert (one.used.charging_ms, one.used.energy_mwh) == (seen.charging_ms, seen.energy_mwh)


def test_the_highest_power_is_kept() -> None:
    one = meter(NOON_S)
    for second, power_mw in enumerate((100_000, 180_000, None, 90_000), 1):
        one.observe(count(second, 50 * second), at(NOON_S + second), power_mw=power_mw)
    assert one.peak_power_mw == 180_000
