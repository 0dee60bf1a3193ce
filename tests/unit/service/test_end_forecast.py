"""Forecast of a charge's end: from the purchase, from the taper, or unknown."""

import math

import pytest

from cabinet.billing.tariff import Band, Package, Period, Tariff, no_use
from cabinet.config import keys
from cabinet.records import CurvePoint
from cabinet.service.charges import end_forecast
from cabinet.service.charges.end_forecast import End
from cabinet.service.ports import StartChoice
from cabinet_testing.service_harness import FULL, ServiceHarness

ENDS = keys.ChargeSection()  # full below 12 % of the plateau, for half an hour
HOLD_S = 1800
TARIFF = Tariff(
    version="t",
    bands=(Band(0, 200, 20), Band(200, None, 60)),
    periods=(Period(0, 480, 40), Period(480, 1440, 55)),
    service_fen=30,
)


def curve(*powers_w: float, step_s: int = 10) -> list[CurvePoint]:
    return [CurvePoint(step_s * (index + 1), round(power_w)) for index, power_w in enumerate(powers_w)]


def fading(seconds_past: int, tau_s: float, plateau_w: float = 150, step_s: int = 10) -> list[CurvePoint]:
    """Ten minutes at the plateau, then an exponential."""
    tail = [plateau_w * math.exp(-second / tau_s) for second in range(step_s, seconds_past + 1, step_s)]
    return curve(*[plateau_w] * (600 // step_s), *tail, step_s=step_s)


@pytest.mark.parametrize("tau_s", [300, 900, 2400])
def test_an_exponential_taper_is_followed_to_its_end(tau_s: int) -> None:
    past_s = tau_s // 2
    left_s = end_forecast.taper_left_s(fading(past_s, tau_s), ENDS)
    truth_s = tau_s * math.log(1 / 0.12) - past_s + HOLD_S
    assert left_s == pytest.approx(truth_s, rel=0.05)


@pytest.mark.parametrize(
    "points",
    [
        [],
        curve(150, 150),
        curve(*[150] * 100),
        curve(*[140 + index * 0.2 for index in range(60)]),
        curve(*[150] * 60, 130, 120),
        curve(*[150] * 60, 80, 130, 60, 120, 70, 110, 75),
        curve(*[150] * 60, *[100] * 30),
        curve(*[150] * 60, *[100 - index * 0.001 for index in range(60)]),
        curve(*[150] * 60, 0),
        curve(60, 400, *[60] * 40),
    ],
    ids=[
        "nothing", "just begun", "steady", "rising", "two points down", "up and down", "a lower level",
        "falls for ever", "no power", "an inrush at first",
    ],
)  # fmt: skip
def test_what_does_not_taper_has_no_end_that_is_known(points: list[CurvePoint]) -> None:
    assert end_forecast.taper_left_s(points, ENDS) is None


def test_below_the_threshold_the_rest_of_the_half_hour_is_left() -> None:
    low = curve(*[150] * 60, *[10] * 12)
    assert end_forecast.taper_left_s(low, ENDS) == HOLD_S - 120
    assert end_forecast.taper_left_s(curve(*[150] * 60, *[10] * 200), ENDS) == 0


def test_the_first_of_the_ends_counts_and_until_full_only_the_taper_is_expected() -> None:
    ends = [End(36_000, "longest"), End(7200, "time"), End(9000, "money")]
    assert end_forecast.latest_end(ends) == End(7200, "time")
    assert end_forecast.likeliest_end(ends, None, until_full=False) == End(7200, "time")
    assert end_forecast.likeliest_end(ends, 900, until_full=False) == End(900, "taper")
    assert end_forecast.likeliest_end(ends, 7500, until_full=False) == End(7200, "time")
    assert end_forecast.likeliest_end(ends, None, until_full=True) is None
    assert end_forecast.likeliest_end(ends, 900, until_full=True) == End(900, "taper")


@pytest.mark.parametrize(
    ("power_w", "minute", "fen"),
    [(0, 600, 20), (150, 600, 20 + 12), (150, 60, 20 + 10), (200, 600, 60 + 17), (1000, 600, 60 + 85)],
)
def test_an_hour_costs_its_band_and_its_energy(power_w: int, minute: int, fen: int) -> None:
    assert end_forecast.hour_fen(TARIFF, power_w, minute) == fen


def test_money_lasts_as_long_as_the_price_of_an_hour_says() -> None:
    assert end_forecast.money_left_s(50, 100) == 7200
    assert end_forecast.money_left_s(50, -3) == 0
    assert end_forecast.money_left_s(0, 100) is None


def test_a_package_lasts_shorter_where_its_band_says_so() -> None:
    package = Package(14_400, 200)
    sold = Tariff(
        version="t",
        bands=(Band(0, 200, 20), Band(200, None, 60, package_percent=50)),
        periods=TARIFF.periods,
        package=package,
    )
    assert end_forecast.package_left_s(sold, no_use(sold), 150) == pytest.approx(14_400, rel=0.5)
    assert end_forecast.package_left_s(sold, no_use(sold), 300) == 7200
    assert end_forecast.package_left_s(TARIFF, no_use(TARIFF), 150) is None


async def test_views_say_what_an_hour_costs_and_when_what_was_bought_is_used_up(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        bought = await service.charges.start(1, "C5T4", StartChoice("hours", seconds=3600), "a-request-key-1")
        full = await service.charges.start(2, "D8R6", FULL, "a-request-key-2")
        assert (bought.hour_fen, bought.expected_end, bought.latest_end) == (None, None, None)
        await harness.charge(service, 3, 600)
        await harness.charge(service, 4, 600)
        bought = await service.charges.session(1, bought.session_id)
        assert bought.hour_fen == 20 + 12
        assert bought.expected_end is not None
        assert (bought.expected_end.basis, bought.expected_end.left_s) == ("time", 3000)
        assert bought.expected_end.at.unix_ms == harness.clock.wall().unix_ms + 3_000_000
        full = await service.charges.session(2, full.session_id)
        assert full.expected_end is None
        assert full.latest_end is not None
        assert full.latest_end.basis in ("money", "longest")
        harness.guard.disconnect()
        assert (await service.charges.session(1, bought.session_id)).expected_end is None
