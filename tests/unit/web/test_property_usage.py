"""The usage log on the property company's pages: filters, files, one record, and its proof."""

import asyncio
import io
import json
import sqlite3
from pathlib import Path

import openpyxl
import pytest

from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet.service.ports import Unclosed
from cabinet_testing.html_page import Page
from cabinet_testing.property_harness import PropertyHarness, charge, tell
from cabinet_testing.service_harness import NOON_MS

DAY_MS = 86_400_000
ALL = "/property/usage?from=&to="


async def three_charges(at: PropertyHarness) -> None:
    """May 29: resident 1 at outlet 3, resident 2 at outlet 5; May 30: resident 1 at outlet 3."""
    await charge(at, 1, 3)
    await charge(at, 2, 5, reason=EndReason.TRIPPED)
    at.harness.clock.set_wall(NOON_MS + DAY_MS, trusted=True)
    await charge(at, 1, 3, seconds=600)


def numbers(shown: Page) -> list[str]:
    links = [link["href"].removeprefix("/property/usage/") for link in shown.all("a", **{"class": "row-link"})]
    return [link for link in links if link.isdigit()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["3", "2", "1"]),
        ("?from=&to=", ["3", "2", "1"]),
        ("?from=2026-05-30&to=2026-05-30", ["3"]),
        ("?from=&to=2026-05-29", ["2", "1"]),
        ("?from=&to=&outlet=5", ["2"]),
        ("?from=&to=&card=10010001", ["3", "1"]),
        ("?from=2026-05-29&to=2026-05-29&card=10010001&outlet=3", ["1"]),
        ("?from=&to=&resident=2", ["2"]),
        ("?from=&to=&outlet=9", []),
        ("?from=&to=&before=3", ["2", "1"]),
    ],
)
def test_rows_are_those_that_the_filter_describes_newest_first(tmp_path: Path, query: str, expected: list[str]) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        shown = await (await at.browser("accountant")).page(f"/property/usage{query}")
        assert numbers(shown) == expected
        assert shown.mistakes == []
        if "before" not in query:
            assert f"记录数 {len(expected)}" in shown.text

    tell(tmp_path, story)


def test_files_hold_the_rows_of_the_filter_and_are_noted(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        browser = await at.browser("accountant")
        csv = await browser.get("/property/usage.csv?from=2026-05-29&to=2026-05-29&card=10010001")
        rows = csv.content.decode("utf-8-sig").splitlines()
        assert [row.split(",")[0] for row in rows] == ["序号", "1"]
        xlsx = await browser.get("/property/usage.xlsx?from=&to=&outlet=3")
        sheet = openpyxl.load_workbook(io.BytesIO(xlsx.content)).active
        assert sheet is not None
        assert [str(row[0]) for row in sheet.iter_rows(min_row=2, values_only=True)] == ["1", "3"]
        assert at.audit() == [
            ("the accountant", "usage_export", "csv", "from=2026-05-29 to=2026-05-29"),
            ("the accountant", "usage_export", "xlsx", "outlet=3"),
        ]

    tell(tmp_path, story)


def test_a_viewer_cannot_ask_by_card(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        browser = await at.browser("viewer")
        shown = await browser.page(f"{ALL}&card=10010001")
        assert numbers(shown) == ["3", "2", "1"]
        assert shown.all("input", name="card") == []
        assert [
            link for link in (await browser.page("/property/usage/1")).all("a") if "residents" in link["href"]
        ] == []

    tell(tmp_path, story)


def test_a_card_that_nobody_has_is_said(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        shown = await (await at.browser()).page(f"{ALL}&card=99999999")
        assert "没有这张卡" in shown.text

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "query", ["from=x", "outlet=three", "outlet=-1", "before=1e3", "card=" + "9" * 65, "resident=a"]
)
def test_a_filter_that_makes_no_sense_is_refused(tmp_path: Path, query: str) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser()
        assert (await browser.get(f"/property/usage?{query}")).status_code == 400

    tell(tmp_path, story)


def test_a_record_shows_its_lines_and_its_hash(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        shown = await (await at.browser()).page("/property/usage/2")
        first, second = at.harness.records()[:2]
        for words in (first.record_hash, second.record_hash, "校验值与内容相符", second.order_number, "插座过热"):
            assert words in shown.text
        assert {"/property/usage/1", "/property/usage/3", "/property/residents/2"} <= {
            link["href"] for link in shown.all("a")
        }
        assert shown.mistakes == []
        assert (await (await at.browser()).get("/property/usage/4")).status_code == 404

    tell(tmp_path, story)


async def verified(at: PropertyHarness, role: str = "viewer") -> Page:
    browser = await at.browser("viewer")
    assert (await browser.send("/property/usage/verify")).headers["location"] == "/property/usage/verify"
    async with asyncio.timeout(20):
        while at.service.property_pages.log.verification().running:  # type: ignore[union-attr]
            await asyncio.sleep(0)
    return await browser.page("/property/usage/verify")


def test_a_log_as_it_was_written_is_verified(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        assert "全部 3 条记录完好" in (await verified(at)).text
        assert at.audit() == [("the viewer", "usage_verify", "", "")]

    tell(tmp_path, story)


def test_a_closing_that_does_not_hold_is_named(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        at.harness.clock.set_wall(NOON_MS + 40 * 86_400_000, trusted=True)
        await at.service.close_month()
        assert "1 份月度结账均与记录相符" in (await verified(at)).text
        (Path(at.harness.config.paths.state) / "keys" / "usage.key").write_bytes(bytes(32))
        shown = await verified(at)
        assert "月度结账与用电记录不符" in shown.text
        assert "its signature is not of this key" in shown.text

    tell(tmp_path, story)


def test_heads_of_every_day_are_a_file_to_keep(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        browser = await at.browser("viewer")
        assert (await verified(at)).all("a", href="/property/usage/heads.jsonl")
        answer = await browser.get("/property/usage/heads.jsonl")
        assert answer.headers["content-disposition"].startswith('attachment; filename="heads-DEMO-1-')
        heads = [json.loads(line) for line in answer.text.splitlines()]
        assert heads[-1]["number"] == 3
        assert set(heads[-1]) == {"day", "site_id", "number", "record_hash"}
        assert at.audit()[-1][:2] == ("the viewer", "usage_export")

    tell(tmp_path, story)


def test_a_record_that_was_changed_is_named(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await three_charges(at)
        with sqlite3.connect(admin.database_path(at.harness.config)) as connection:
            connection.execute("DROP TRIGGER usage_stays")
            connection.execute("UPDATE usage_record SET body = replace(body, '\"outlet\":5', '\"outlet\":6')")
        shown = await verified(at)
        assert "第 2 条记录不对：内容被改动过 它之前的 1 条完好" in shown.text
        record = await (await at.browser()).page("/property/usage/2")
        assert "校验值与内容不符" in record.text

    tell(tmp_path, story)


def test_a_walk_that_goes_on_says_how_far_it_is(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        await charge(at)
        log = at.service.property_pages.log
        browser = await at.browser("viewer")
        await browser.send("/property/usage/verify")
        shown = await browser.page("/property/usage/verify")
        if log.verification().running:  # type: ignore[union-attr]
            assert "正在验证：0 / 1" in shown.text
            assert shown.all("meta", **{"http-equiv": "refresh"})
            assert shown.all("form", action="/property/usage/verify") == []

    tell(tmp_path, story)


def test_month_that_is_not_closed_says_so_with_its_reason(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("viewer")
        assert "没有封账" not in (await browser.page("/property/usage")).text
        for why, words in (("clock", "时钟未同步"), ("storage", "不能写入或已损坏"), ("key", "签名密钥")):
            at.service.context.unclosed = Unclosed("2026-05", why)
            page = await browser.page("/property/usage")
            assert page.mistakes == []
            assert "2026-05 没有封账" in page.text
            assert words in page.text

    tell(tmp_path, story)
