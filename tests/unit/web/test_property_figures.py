"""Figures over time on the property company's pages: every number is that of the rows it leads to."""

import datetime
import re
import zoneinfo
from pathlib import Path

import pytest

from cabinet.records import LoadSample
from cabinet.service.property_views import DaySum, LoadView, UsageSums
from cabinet.web.property import charts
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import PropertyHarness, charge, tell
from cabinet_testing.service_harness import NOON_MS

DAY_MS = 86_400_000
SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")
MAY_29 = datetime.date(2026, 5, 29)


async def a_week_apart(at: PropertyHarness) -> None:
    """One charge a week ago at noon, one that evening; two today."""
    await charge(at, 1, 3)
    at.harness.clock.set_wall(NOON_MS + 8 * 3_600_000, trusted=True)
    await charge(at, 2, 4)
    at.harness.clock.set_wall(NOON_MS + 7 * DAY_MS, trusted=True)
    await charge(at, 1, 3)
    await charge(at, 2, 4, seconds=900)


def test_today_stands_beside_the_same_day_a_week_ago_until_the_same_time(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await a_week_apart(at)
        records = at.harness.records()
        shown = await (await at.browser("viewer")).page("/property")
        today_mwh = sum(record.energy_mwh for record in records[2:])
        assert "充电次数 2 1 ▲ 多 100%" in shown.text
        assert f"{today_mwh / 1e6:.4f}"[:-1] in shown.text
        assert {"/property/usage?from=2026-06-05&to=2026-06-05", "/property/usage?from=2026-05-29&to=2026-05-29"} <= {
            link["href"] for link in shown.all("a")
        }

    tell(tmp_path, story)


def test_sums_by_day_and_month_are_those_of_the_rows_behind_them(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await a_week_apart(at)
        browser = await at.browser("viewer")
        for by, path in (
            ("day", "/property/figures?from=2026-05-28&to=2026-06-05"),
            ("month", "/property/figures?by=month"),
        ):
            shown = await browser.page(path)
            assert shown.mistakes == [], by
            rows = [
                link["href"]
                for link in shown.all("a")
                if re.fullmatch(r"/property/usage\?from=\S+&to=[\d-]+", link["href"])
            ]
            assert len(rows) == (10 if by == "day" else 13)
            for row in rows[:-1]:
                day = row[-10:]
                counted = re.search(r"记录数 (\d+)", (await browser.page(row)).text)
                assert counted is not None
                if by == "day":
                    assert int(counted[1]) == {"2026-05-29": 2, "2026-06-05": 2}.get(day, 0)

    tell(tmp_path, story)


def test_use_is_the_share_of_each_hour_that_an_outlet_was_taken(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await charge(at, 1, 3, seconds=1800)  # from noon on
        at.harness.clock.set_wall(NOON_MS + 12 * 3_600_000, trusted=True)
        use = await at.service.property_pages.figures.utilisation(MAY_29, MAY_29)
        assert use.outlets[3][12] in (50, 51)
        assert [share for hour, share in enumerate(use.outlets[3]) if hour != 12] == [0] * 23
        assert use.all_outlets[12] == 5
        at.harness.clock.set_wall(NOON_MS + 600_000, trusted=True)
        use = await at.service.property_pages.figures.utilisation(MAY_29, MAY_29)
        assert (use.outlets[3][12], use.outlets[3][13], use.outlets[5][11]) == (100, None, 0)

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "query", ["day=x", "from=2026-06-02&to=2026-06-01", "from=2020-01-01&to=2026-01-01", "to=9999-99-99"]
)
def test_a_period_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async def story(at: PropertyHarness) -> None:
        assert (await (await at.browser()).get(f"/property/figures?{query}")).status_code == 400

    tell(tmp_path, story)


@pytest.mark.parametrize("path", ["/property", "/property/figures", "/property/figures?by=month&to=2026-03-31"])
def test_with_nothing_to_show_the_page_says_so(tmp_path: Path, path: str) -> None:
    async def story(at: PropertyHarness) -> None:
        answer = await (await at.browser()).get(path)
        assert answer.status_code == 200
        assert Page(answer.text).mistakes == []

    tell(tmp_path, story)


def sums_of(*fen: tuple[int, int]) -> list[DaySum]:
    return [
        DaySum(day := MAY_29 + datetime.timedelta(days=number), day, UsageSums(1, 60, 500_000, electricity, service))
        for number, (electricity, service) in enumerate(fen)
    ]


def test_bars_stand_on_the_ground_and_on_each_other() -> None:
    chart = charts.money_chart(sums_of((100, 300), (0, 0), (400, 400)), lambda each: str(each.first.day))
    for bar in chart.bars:
        assert bar.lower_y + bar.lower_height == charts.BOTTOM
        assert bar.upper_y + bar.upper_height == pytest.approx(bar.lower_y)
    assert chart.bars[2].upper_y == charts.TOP, "8 yuan reach the top of a scale of 8"
    assert [tick.label for tick in chart.y_ticks] == ["0", "2", "4", "6", "8"]
    assert [tick.label for tick in chart.x_ticks] == ["29", "30", "31"]


def test_a_chart_of_nothing_has_a_scale_all_the_same() -> None:
    assert [tick.label for tick in charts.energy_chart([], str).y_ticks] == ["0", "1", "2", "3", "4"]


def test_the_load_has_gaps_where_nobody_measured_and_the_limit_on_its_scale() -> None:
    samples = [LoadSample(at_s, 500_000, 800_000, 3_500_000) for at_s in (0, 300, 3600)]
    chart = charts.load_chart(LoadView(300, 0, 86_400, samples, 3_500_000), zoneinfo.ZoneInfo("UTC"))
    assert chart is not None
    assert chart.line.count("M") == 2
    assert chart.limit_y is not None
    assert charts.TOP <= chart.limit_y < charts.BOTTOM
    assert [tick.label for tick in chart.x_ticks] == ["00:00", "06:00", "12:00", "18:00", "24:00"]
    assert charts.load_chart(LoadView(300, 0, 86_400, [], None), SHANGHAI) is None
