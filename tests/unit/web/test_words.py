"""Figures as residents read them."""

import datetime
import math
import zoneinfo
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.billing.tariff import Band, Period, Tariff, Use, price
from cabinet.clock import WallTime
from cabinet.model import CostLine
from cabinet.texts import Texts
from cabinet.web.words import Formatter
from cabinet_testing import fake_service

SITE_ZONE = zoneinfo.ZoneInfo("Asia/Shanghai")


class Plain:
    """Words with plain spaces: that a number and its unit stay on one line is not looked at here."""

    def __init__(self, language: str) -> None:
        self._words = Formatter(Texts("web", language), zoneinfo.ZoneInfo("Asia/Shanghai"))

    def __getattr__(self, name: str) -> Callable[..., str]:
        return lambda *values: getattr(self._words, name)(*values).replace("\u00a0", " ")


@pytest.fixture(scope="module")
def zh() -> Plain:
    return Plain("zh")


@pytest.fixture(scope="module")
def en() -> Plain:
    return Plain("en")


@pytest.mark.parametrize(
    ("fen", "chinese", "english"),
    [(30, "0.30 元", "¥0.30"), (0, "0.00 元", "¥0.00"), (123_405, "1234.05 元", "¥1234.05")],
)
def test_money(zh: Plain, en: Plain, fen: int, chinese: str, english: str) -> None:
    assert (zh.money(fen), en.money(fen)) == (chinese, english)


@pytest.mark.parametrize(
    ("seconds", "chinese", "english"),
    [
        (-3, "0 秒", "0 s"),
        (0, "0 秒", "0 s"),
        (59, "59 秒", "59 s"),
        (60, "1 分钟", "1 min"),
        (3599, "59 分钟", "59 min"),
        (3600, "1 小时", "1 h"),
        (5025, "1 小时 23 分", "1 h 23 min"),
        (36_000, "10 小时", "10 h"),
    ],
)
def test_durations_are_rounded_down(zh: Plain, en: Plain, seconds: int, chinese: str, english: str) -> None:
    assert (zh.duration(seconds), en.duration(seconds)) == (chinese, english)


def test_a_countdown_shows_seconds(zh: Plain) -> None:
    assert [zh.countdown(seconds) for seconds in (120, 97, 59, -1)] == ["2 分 0 秒", "1 分 37 秒", "59 秒", "0 秒"]


def test_a_running_time_shows_seconds_in_its_first_hour(zh: Plain) -> None:
    assert [zh.running_time(seconds) for seconds in (5, 97, 3600, 5025)] == [
        "5 秒",
        "1 分 37 秒",
        "1 小时",
        "1 小时 23 分",
    ]


def test_unknown_power_and_temperature_are_a_dash(zh: Plain) -> None:
    assert (zh.power(None), zh.temperature(None)) == ("—", "—")
    assert (zh.power(0), zh.power(152_500), zh.temperature(-4_600)) == ("0 瓦", "153 瓦", "-5 ℃")


def test_moments_are_the_sites_whatever_the_servers_zone(zh: Plain, en: Plain) -> None:
    moment = fake_service.STARTED
    assert (zh.moment(moment), en.moment(moment)) == ("11月24日 14:00", "24 Nov 14:00")
    assert zh.full_moment(WallTime(moment.unix_ms + 59_999, True)) == "2026年11月24日 14:00:59"
    assert zh.time_of_day(moment) == "14:00"


def test_dates_of_every_month_and_every_day_of_the_week(zh: Plain, en: Plain) -> None:
    dates = [datetime.date(2026, month, month + 6) for month in range(1, 13)]
    assert [zh.day(date) for date in dates] == [
        "1月7日周三", "2月8日周日", "3月9日周一", "4月10日周五", "5月11日周一", "6月12日周五",
        "7月13日周一", "8月14日周五", "9月15日周二", "10月16日周五", "11月17日周二", "12月18日周五",
    ]  # fmt: skip
    assert [en.day(date) for date in dates] == [
        "Wed 7 Jan", "Sun 8 Feb", "Mon 9 Mar", "Fri 10 Apr", "Mon 11 May", "Fri 12 Jun",
        "Mon 13 Jul", "Fri 14 Aug", "Tue 15 Sept", "Fri 16 Oct", "Tue 17 Nov", "Fri 18 Dec",
    ]  # fmt: skip
    assert (zh.day(datetime.date(2026, 1, 1)), en.day(datetime.date(2026, 1, 3))) == ("1月1日周四", "Sat 3 Jan")
    assert (zh.month(dates[8]), en.month(dates[8])) == ("2026年9月", "Sept 2026")
    assert en.full_moment(fake_service.STARTED).startswith("24 Nov 2026 ")


def test_half_hours(zh: Plain) -> None:
    assert [zh.hours(number) for number in (1, 2, 3, 20)] == ["0.5 小时", "1 小时", "1.5 小时", "10 小时"]


@pytest.mark.parametrize(
    ("line", "name", "amount"),
    [
        (CostLine("time", 5025, "s", 20, 27, "0-200"), "充电时间（0–200 瓦）", "1 小时 23 分 45 秒 × 0.20 元/小时"),
        (CostLine("time", 60, "s", 60, 1, "400-"), "充电时间（400 瓦以上）", "1 分钟 × 0.60 元/小时"),
        (
            CostLine("electricity", 207_500, "mWh", 55, 11, "08:00-22:00"),
            "电费（08:00-22:00）",
            "0.207 度 × 0.55 元/度",
        ),
        (
            CostLine("electricity", 10**6, "mWh", 5103, 51, "08:00-22:00 workday", 100),
            "电费（08:00-22:00 工作日）",
            "1.000 度 × 0.5103 元/度",
        ),
        (
            CostLine("package", 3600, "s", 200, 66, "200-400 10800"),
            "套餐时间（200–400 瓦）",
            "1 小时 ÷ 3 小时 × 2.00 元",
        ),
        (CostLine("time", 7205, "s", 20, 40, "0-"), "充电时间（0 瓦以上）", "2 小时 5 秒 × 0.20 元/小时"),
        (CostLine("free", 240, "s", 0, -14), "免费时长内减免", "4 分钟"),
        (CostLine("minimum", 1, "once", 20, 11), "补足最低消费", "最低 0.20 元"),
        (CostLine("start_fee", 1, "once", 50, 50), "启动费", ""),
        (CostLine("cap", 1, "once", 300, -20), "封顶减免", "最高 3.00 元"),
    ],
)
def test_lines_of_a_bill(zh: Plain, line: CostLine, name: str, amount: str) -> None:
    assert (zh.line_name(line), zh.line_sum(line)) == (name, amount)


@given(st.data())
def test_receipt_can_be_worked_out_again_from_what_it_shows(data: st.DataObject) -> None:
    """A person who has only the receipt recalculates it on paper, to the fen."""
    fen = st.integers(0, 500)
    tariff = Tariff(
        version="t",
        bands=(Band(0, 200, data.draw(fen)), Band(200, None, data.draw(fen))),
        periods=(Period(0, 480, data.draw(fen)), Period(480, 1440, data.draw(fen))),
        service_fen=data.draw(fen),
        priced_kwh=data.draw(st.sampled_from((1, 100))),
    )
    ms, mwh = st.integers(0, 40_000_000), st.integers(0, 5_000_000)
    use = Use((data.draw(ms), data.draw(ms)), (data.draw(mwh), data.draw(mwh)))
    fmt = Formatter(Texts("web", "zh"), SITE_ZONE)
    for line in price(tariff, use):
        assert _worked_out(fmt.line_sum(line)) == line.amount_fen, fmt.line_sum(line)


def _worked_out(shown: str) -> int:
    quantity, _, each = shown.partition(" × ")
    yuan = Fraction(each.split()[0])
    if "度" in quantity:
        return math.floor(Fraction(quantity.split()[0]) * yuan * 100)
    units = {"小时": 3600, "分钟": 60, "分": 60, "秒": 1}
    words = quantity.split()
    seconds = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    return math.floor(seconds * yuan * 100 / 3600)


def test_what_was_bought(zh: Plain, en: Plain) -> None:
    hours = fake_service.session("s", choice="hours", choice_amount=7200)
    amount = fake_service.session("s", choice="amount", choice_amount=300)
    assert [zh.choice(view) for view in (fake_service.session("s"), hours, amount)] == [
        "充满自停", "按时间 2 小时", "按金额 3.00 元",
    ]  # fmt: skip
    assert en.choice(amount) == "For an amount: ¥3.00"


def test_a_number_and_its_unit_are_never_on_two_lines() -> None:
    words = Formatter(Texts("web", "zh"), zoneinfo.ZoneInfo("Asia/Shanghai"))
    assert (words.money(30), words.duration(5025)) == ("0.30\u00a0元", "1\u00a0小时\u00a023\u00a0分")


@pytest.mark.parametrize(("seconds", "clock"), [(120, "2:00"), (97, "1:37"), (9, "0:09"), (0, "0:00"), (-4, "0:00")])
def test_a_timer_runs_down_to_nothing(zh: Plain, seconds: int, clock: str) -> None:
    assert zh.timer(seconds) == clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "1 分钟"), (89, "1 分钟"), (1790, "30 分钟"), (3610, "1 小时"), (4390, "1 小时 15 分"), (7150, "2 小时")],
)
def test_an_estimate_is_no_finer_than_it_is_known(zh: Plain, seconds: int, text: str) -> None:
    assert zh.about(seconds) == text


def test_a_movement_says_where_the_money_went(zh: Plain, en: Plain) -> None:
    assert (zh.signed_money(2000), zh.signed_money(-500)) == ("+20.00 元", "−5.00 元")
    assert (en.signed_money(2000), en.signed_money(-500)) == ("+¥20.00", "−¥5.00")
