"""Sums over the usage log: a row a month, an outlet, a card."""

import zoneinfo

import pytest

from cabinet.reports.usage_sums import Sum, grouped, lines
from cabinet.store.usage import UsageFigures

ZONE = zoneinfo.ZoneInfo("Asia/Shanghai")
NOVEMBER_MS = 1_793_462_400_000  # 2026-11-01 00:00 in Shanghai


def figures(ended_ms: int, outlet: int = 3, holder: str = "a", card: str = "**01") -> UsageFigures:
    return UsageFigures(NOVEMBER_MS + ended_ms, outlet, holder, 3600, 150_000, 8, 24, card)


def test_month_is_that_of_the_site() -> None:
    sums = grouped([figures(-1), figures(0), figures(5)], "month", ZONE)
    assert sums == [
        Sum("2026-10", 1, 3600, 150_000, 8, 24, 32),
        Sum("2026-11", 2, 7200, 300_000, 16, 48, 64),
    ]


def test_outlets_are_in_their_order() -> None:
    sums = grouped([figures(0, outlet) for outlet in (10, 2, 10)], "outlet", ZONE)
    assert [(each.group, each.sessions) for each in sums] == [("2", 1), ("10", 2)]


def test_cards_that_look_alike_stay_two_and_erased_ones_stay_apart() -> None:
    records = [figures(0, holder="a"), figures(0, holder="b"), figures(0, holder="c", card=""), figures(0, holder="a")]
    sums = grouped(records, "card", ZONE)
    assert [(each.group, each.sessions) for each in sums] == [("**01", 2), ("**01", 1), ("", 1)]


@pytest.mark.parametrize(("language", "title"), [("zh", "月份,次数,"), ("en", "Month,Charges,")])
def test_csv_is_for_people(language: str, title: str) -> None:
    text = b"".join(lines([Sum("2026-11", 2, 7200, 300_000, 16, 48, 64)], "month", "csv", language)).decode()
    head, row = text.splitlines()
    assert head.startswith("\ufeff" + title)
    assert row == "2026-11,2,120.0,0.300,0.16,0.48,0.64"


def test_json_lines_are_whole_numbers() -> None:
    (line,) = lines([Sum("2", 1, 3600, 150_000, 8, 24, 32)], "outlet", "jsonl", "en")
    assert line == (
        b'{"charging_s":3600,"electricity_fen":8,"energy_mwh":150000,"group":"2","service_fen":24,'
        b'"sessions":1,"total_fen":32}\n'
    )
