"""Prices as tables: what is used, what it costs, line by line; and what a hold is sure to cover."""

import pytest

from cabinet.billing.cover import Cover, bound_fen, cover, package_bound_fen, package_cover, rate_fen_per_hour
from cabinet.billing.tariff import (
    Band,
    Package,
    Period,
    Slice,
    Tariff,
    Use,
    add_slice,
    band_of,
    capped,
    no_use,
    parts_fen,
    period_of,
    price,
    total_fen,
    within_day,
)
from cabinet.model import CostLine

BANDS = (Band(0, 200, 20), Band(200, 400, 35), Band(400, None, 60))
DAY = (Period(0, 480, 40), Period(480, 1320, 55), Period(1320, 1440, 40))


def tariff(**changes: object) -> Tariff:
    return Tariff(**{"version": "t", "bands": BANDS, "periods": DAY, "service_fen": 30, **changes})  # type: ignore[arg-type]


HOUR = 3_600_000
KWH = 1_000_000
PACKAGE_BANDS = (Band(0, 200, 20), Band(200, None, 35, package_percent=50))
FOUR_HOURS = Package(4 * 3600, 200)
MONDAY = 1440  # minutes of the week's first day


@pytest.mark.parametrize(
    ("charging_ms", "energy_mwh", "band"),
    [
        pytest.param(HOUR, 0, 0, id="no power is in the lowest band"),
        pytest.param(HOUR, 199_999, 0, id="just below 200 W"),
        pytest.param(HOUR, 200_000, 1, id="200 W begins the second band"),
        pytest.param(HOUR, 399_999, 1, id="just below 400 W"),
        pytest.param(HOUR, 400_000, 2, id="400 W begins the last band"),
        pytest.param(HOUR, 9_000_000, 2, id="the last band has no end"),
        pytest.param(10_000, 555, 0, id="ten seconds at 199.8 W"),
        pytest.param(10_000, 556, 1, id="ten seconds at 200.16 W"),
        pytest.param(1, 1, 2, id="one milliwatt-hour in a millisecond is 3600 W"),
    ],
)
def test_band_of_a_mean_power(charging_ms: int, energy_mwh: int, band: int) -> None:
    assert band_of(tariff(), charging_ms, energy_mwh) == band


@pytest.mark.parametrize(
    ("minutes", "period"),
    [
        pytest.param((479, 479), 0, id="the last minute of the night"),
        pytest.param((480, 480), 1, id="08:00 is day"),
        pytest.param((600, 700), 1, id="within the day"),
        pytest.param((1319, 1319), 1, id="21:59 is day"),
        pytest.param((1320, 1320), 2, id="22:00 is night"),
        pytest.param((1439, 1439), 2, id="the last minute of the day"),
        pytest.param((470, 490), 0, id="a look before and one after 08:00: the cheaper"),
        pytest.param((1000, 1330), 2, id="a look before and one after 22:00: the cheaper"),
        pytest.param((1430, 1450), 0, id="over midnight"),
        pytest.param((600, 2030), 0, id="nearly a whole day: the cheapest of all"),
        pytest.param(None, 0, id="a clock nobody trusts: the cheapest of all"),
    ],
)
def test_period_between_two_looks(minutes: tuple[int, int] | None, period: int) -> None:
    assert period_of(tariff(), minutes) == period


@pytest.mark.parametrize(
    ("day", "changes", "fen"),
    [
        pytest.param(0, {}, 55, id="a Monday"),
        pytest.param(5, {}, 55, id="a Saturday is a workday unless the tariff says otherwise"),
        pytest.param(5, {"weekends_are_holidays": True}, 10, id="a Saturday"),
        pytest.param(6, {"weekends_are_holidays": True}, 10, id="a Sunday"),
        pytest.param(7, {"weekends_are_holidays": True}, 55, id="the next Monday"),
        pytest.param(5, {"weekends_are_holidays": True, "workdays": (6,)}, 55, id="a Saturday that is worked on"),
        pytest.param(2, {"holidays": (3,)}, 10, id="a holiday in the week"),
    ],
)
def test_price_of_electricity_by_kind_of_day(day: int, changes: dict[str, object], fen: int) -> None:
    posted = tariff(periods=(Period(0, 1440, 55, "workday"), Period(0, 1440, 10, "holiday")), **changes)
    noon = MONDAY + day * 1440 + 720
    assert posted.periods[period_of(posted, (noon, noon))].electricity_fen == fen


def test_slice_over_the_midnight_before_a_holiday_has_the_cheaper_price() -> None:
    posted = tariff(
        periods=(Period(0, 1440, 55, "workday"), Period(0, 1440, 10, "holiday")), weekends_are_holidays=True
    )
    midnight = MONDAY + 5 * 1440
    assert period_of(posted, (midnight - 1, midnight)) == 1
    assert period_of(posted, (midnight - 2, midnight - 1)) == 0


def test_day_cap_leaves_what_was_not_spent_yet() -> None:
    posted = tariff(cap_fen=500, day_cap_fen=800)
    assert [within_day(posted, spent).cap_fen for spent in (0, 300, 500, 900)] == [500, 500, 300, 0]
    assert within_day(tariff(cap_fen=500), 10_000).cap_fen == 500


def test_a_slice_adds_its_time_to_one_band_and_its_energy_to_one_period() -> None:
    use = add_slice(tariff(), no_use(tariff()), Slice(10_000, 600, (600, 600)))
    use = add_slice(tariff(), use, Slice(10_000, 400, (1400, 1400)))
    assert use == Use((10_000, 10_000, 0), (0, 600, 400))
    assert (use.charging_ms, use.energy_mwh) == (20_000, 1000)


def test_energy_without_charging_time_is_booked_to_its_period_and_no_band() -> None:
    assert add_slice(tariff(), no_use(tariff()), Slice(0, 7, None)) == Use((0, 0, 0), (7, 0, 0))


@pytest.mark.parametrize(
    ("changes", "use", "lines"),
    [
        pytest.param({}, Use((0, 0, 0), (0, 0, 0)), [], id="nothing used: no lines"),
        pytest.param(
            {},
            Use((HOUR, 0, 0), (0, 150_000, 0)),
            [
                CostLine("time", 3600, "s", 20, 20, "0-200"),
                CostLine("electricity", 150_000, "mWh", 55, 8, "08:00-22:00"),
                CostLine("service", 150_000, "mWh", 30, 4),
            ],
            id="an hour at 150 W: 8.25 and 4.5 fen are rounded down",
        ),
        pytest.param(
            {},
            Use((HOUR, HOUR, 1999), (KWH, 2 * KWH, 0)),
            [
                CostLine("time", 3600, "s", 20, 20, "0-200"),
                CostLine("time", 3600, "s", 35, 35, "200-400"),
                CostLine("time", 1, "s", 60, 0, "400-"),
                CostLine("electricity", KWH, "mWh", 40, 40, "00:00-08:00"),
                CostLine("electricity", 2 * KWH, "mWh", 55, 110, "08:00-22:00"),
                CostLine("service", 3 * KWH, "mWh", 30, 90),
            ],
            id="several bands and periods, each a line; part of a second does not count",
        ),
        pytest.param(
            {"start_fee_fen": 50},
            Use((0, 0, 0), (1000, 0, 0)),
            [CostLine("electricity", 1000, "mWh", 40, 0, "00:00-08:00"), CostLine("service", 1000, "mWh", 30, 0)],
            id="no load, no start fee",
        ),
        pytest.param(
            {},
            Use((0, 0, 0), (18_500, 999, 0)),
            [CostLine("electricity", 18_000, "mWh", 40, 0, "00:00-08:00"), CostLine("service", 19_000, "mWh", 30, 0)],
            id="energy that the receipt does not show is not charged",
        ),
        pytest.param(
            {"start_fee_fen": 50, "service_fen": 0},
            Use((1000, 0, 0), (0, 0, 0)),
            [CostLine("start_fee", 1, "once", 50, 50), CostLine("time", 1, "s", 20, 0, "0-200")],
            id="a start fee with the first second of load",
        ),
        pytest.param(
            {"bands": (Band(0, None, 0),)},
            Use((HOUR,), (KWH, 0, 0)),
            [CostLine("electricity", KWH, "mWh", 40, 40, "00:00-08:00"), CostLine("service", KWH, "mWh", 30, 30)],
            id="time that is free has no line",
        ),
        pytest.param(
            {"free_minutes": 10, "start_fee_fen": 50, "service_fen": 0},
            Use((599_999, 0, 0), (0, 0, 0)),
            [
                CostLine("start_fee", 1, "once", 50, 50),
                CostLine("time", 599, "s", 20, 3, "0-200"),
                CostLine("free", 599, "s", 0, -53),
            ],
            id="a millisecond before the free minutes are over: free",
        ),
        pytest.param(
            {"free_minutes": 10, "service_fen": 0},
            Use((600_000, 0, 0), (0, 0, 0)),
            [CostLine("time", 600, "s", 20, 3, "0-200")],
            id="with the free minutes over everything is charged",
        ),
        pytest.param(
            {"minimum_fen": 30, "service_fen": 0},
            Use((HOUR, 0, 0), (0, 0, 0)),
            [CostLine("time", 3600, "s", 20, 20, "0-200"), CostLine("minimum", 1, "once", 30, 10)],
            id="below the minimum: the minimum",
        ),
        pytest.param(
            {"minimum_fen": 20, "service_fen": 0},
            Use((HOUR, 0, 0), (0, 0, 0)),
            [CostLine("time", 3600, "s", 20, 20, "0-200")],
            id="exactly the minimum: no line for it",
        ),
        pytest.param(
            {"minimum_fen": 30, "service_fen": 0},
            Use((1000, 0, 0), (0, 0, 0)),
            [CostLine("time", 1, "s", 20, 0, "0-200")],
            id="what costs nothing has no minimum",
        ),
        pytest.param(
            {"cap_fen": 15, "service_fen": 0},
            Use((HOUR, 0, 0), (0, 0, 0)),
            [CostLine("time", 3600, "s", 20, 20, "0-200"), CostLine("cap", 1, "once", 15, -5)],
            id="above the cap: the cap",
        ),
        pytest.param(
            {"cap_fen": 20, "service_fen": 0},
            Use((HOUR, 0, 0), (0, 0, 0)),
            [CostLine("time", 3600, "s", 20, 20, "0-200")],
            id="exactly the cap: no line for it",
        ),
        pytest.param(
            {"minimum_fen": 50, "cap_fen": 30, "service_fen": 0},
            Use((HOUR, 0, 0), (0, 0, 0)),
            [
                CostLine("time", 3600, "s", 20, 20, "0-200"),
                CostLine("minimum", 1, "once", 50, 30),
                CostLine("cap", 1, "once", 30, -20),
            ],
            id="what is left of the day's cap is below the minimum: the cap holds",
        ),
        pytest.param(
            {"time_step_s": 1800, "service_fen": 0},
            Use((60_000, 600_000, 0), (0, 0, 0)),
            [CostLine("time", 1200, "s", 20, 6, "0-200"), CostLine("time", 600, "s", 35, 5, "200-400")],
            id="a step begun is charged whole, at the cheapest price that was used",
        ),
        pytest.param(
            {"time_step_s": 60, "service_fen": 0},
            Use((3_600_000, 0, 0), (0, 0, 0)),
            [CostLine("time", 3600, "s", 20, 20, "0-200")],
            id="whole steps are not rounded",
        ),
        pytest.param(
            {"bands": PACKAGE_BANDS, "package": FOUR_HOURS, "service_fen": 0},
            Use((2 * HOUR, HOUR), (0, KWH, 0)),
            [
                CostLine("package", 7200, "s", 200, 100, "0-200 14400"),
                CostLine("package", 3600, "s", 200, 100, "200- 7200"),
                CostLine("electricity", KWH, "mWh", 55, 55, "08:00-22:00"),
            ],
            id="an hour above 200 W uses up two hours of a package; electricity comes apart",
        ),
        pytest.param(
            {"bands": PACKAGE_BANDS, "package": FOUR_HOURS},
            Use((HOUR, 0), (0, 0, 0)),
            [CostLine("package", 3600, "s", 200, 50, "0-200 14400")],
            id="a quarter of the package used: three quarters come back",
        ),
        pytest.param(
            {"bands": PACKAGE_BANDS, "package": FOUR_HOURS},
            Use((0, 2 * HOUR + 60_000), (0, 0, 0)),
            [CostLine("package", 7260, "s", 200, 200, "200- 7200")],
            id="a package costs no more than its price",
        ),
    ],
)
def test_price(changes: dict[str, object], use: Use, lines: list[CostLine]) -> None:
    assert price(tariff(**changes), use) == lines


@pytest.mark.parametrize(
    ("lines", "most", "parts"),
    [
        pytest.param([("electricity", 40), ("service", 30), ("time", 20)], 100, (40, 50), id="no cap"),
        pytest.param([("electricity", 40), ("service", 30), ("time", 20)], 60, (40, 20), id="a cap takes off the rest"),
        pytest.param([("electricity", 40), ("service", 30)], 25, (25, 0), id="and electricity last"),
        pytest.param([], 0, (0, 0), id="nothing"),
    ],
)
def test_parts_add_up_to_the_total(lines: list[tuple[str, int]], most: int, parts: tuple[int, int]) -> None:
    bill = capped([CostLine(kind, 1, "once", fen, fen) for kind, fen in lines], most)  # type: ignore[arg-type]
    assert parts_fen(bill) == parts
    assert sum(parts) == total_fen(bill) <= most


@pytest.mark.parametrize(
    ("mean_w", "fen"),
    [
        # a kWh costs 55 + 30 fen at most
        pytest.param(0, 20, id="no power: the lowest band's hour"),
        pytest.param(100, 30 + 8.5, id="three quarters of the hour at nothing, one at 400 W"),
        pytest.param(200, 40 + 17, id="half the hour at nothing, half at 400 W"),
        pytest.param(400, 60 + 34, id="the last band"),
        pytest.param(1000, 60 + 85, id="and nothing dearer beyond it but the energy"),
    ],
)
def test_the_most_an_hour_can_cost_at_a_mean_power(mean_w: int, fen: float) -> None:
    assert rate_fen_per_hour(tariff(), mean_w) == fen


def test_a_dear_low_band_is_not_forgotten_at_high_power() -> None:
    assert rate_fen_per_hour(tariff(bands=(Band(0, 100, 90), Band(100, None, 10)), service_fen=0), 500) == 90 + 27.5


@pytest.mark.parametrize(
    ("changes", "charging_s", "max_w", "fen"),
    [
        pytest.param({}, 3600, 1000, 145, id="an hour at the most power"),
        pytest.param({"start_fee_fen": 5}, 1800, 1000, 78, id="half an hour with a start fee, rounded up"),
        pytest.param({"minimum_fen": 500}, 1800, 1000, 500, id="the minimum"),
        pytest.param({"cap_fen": 100}, 36_000, 1000, 100, id="the cap"),
    ],
)
def test_bound_of_bought_hours(changes: dict[str, object], charging_s: int, max_w: int, fen: int) -> None:
    assert bound_fen(tariff(**changes), charging_s, max_w) == fen


@pytest.mark.parametrize(
    ("changes", "use", "budget_fen", "covered"),
    [
        pytest.param({}, None, 145, Cover(3600, 1_000_000), id="an hour at the most power"),
        pytest.param({}, None, 0, Cover(0, 0), id="no money, no time"),
        pytest.param({"start_fee_fen": 145}, None, 145, Cover(0, 0), id="the start fee comes first"),
        pytest.param({}, Use((HOUR, 0, 0), (KWH, 0, 0)), 90 + 145, Cover(3600, 1_000_000), id="what is used is spent"),
        pytest.param({}, Use((HOUR, 0, 0), (KWH, 0, 0)), 50, Cover(0, 0), id="never negative"),
        pytest.param({"cap_fen": 200}, None, 200, None, id="a budget up to the cap covers anything"),
        pytest.param({"cap_fen": 200}, None, 145, Cover(3600, 1_000_000), id="a budget below the cap does not"),
        pytest.param(
            {"bands": (Band(0, None, 0),), "periods": (Period(0, 1440, 0),), "service_fen": 0},
            None,
            0,
            None,
            id="what is free needs no money",
        ),
    ],
)
def test_cover(changes: dict[str, object], use: Use | None, budget_fen: int, covered: Cover | None) -> None:
    posted = tariff(**changes)
    assert cover(posted, no_use(posted) if use is None else use, budget_fen, 1000) == covered


def test_package_is_covered_by_its_time_at_the_expected_power() -> None:
    posted = tariff(bands=PACKAGE_BANDS, package=FOUR_HOURS)
    assert package_cover(posted, FOUR_HOURS, no_use(posted), 0) == Cover(4 * 3600, 0)
    assert package_cover(posted, FOUR_HOURS, no_use(posted), 400) == Cover(2 * 3600, 800_000)
    used = Use((HOUR, HOUR), (0, 0, 0))
    assert package_cover(posted, FOUR_HOURS, used, 400) == Cover(1800, 200_000)
    assert package_cover(posted, FOUR_HOURS, Use((5 * HOUR, 0), (0, 0, 0)), 400) == Cover(0, 0)


def test_package_is_bound_by_its_price_and_the_electricity_of_its_time() -> None:
    assert package_bound_fen(tariff(bands=PACKAGE_BANDS, start_fee_fen=10), FOUR_HOURS, 1000) == 10 + 200 + 4 * 85
