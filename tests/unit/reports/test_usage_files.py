"""The usage log as JSON lines and as a table for spreadsheets."""

import csv
import io
import json
import zoneinfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet import plain_text, texts
from cabinet.clock import WallTime
from cabinet.model import EndReason, Fault
from cabinet.records import UsageRecord
from cabinet.reports import usage_csv
from cabinet_testing.fake_service import STARTED, usage_record

SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")


def read(record: UsageRecord, language: str = "en") -> dict[str, str]:
    """One record written as CSV and read again, by column name."""
    text = "".join(usage_csv.csv_lines([record], language, SHANGHAI))
    titles, cells = csv.reader(io.StringIO(text.removeprefix(usage_csv.BOM)))
    assert titles == usage_csv.header(language)
    return dict(zip(usage_csv.COLUMNS, cells, strict=True))


def test_a_row_holds_figures_for_people() -> None:
    record = usage_record(7, end_reason=EndReason.TRIPPED, fault=Fault.OVERCURRENT)
    assert read(record) == {
        "number": "7",
        "order_number": "DEMO-1-20261124-0007",
        "site_id": "DEMO-1",
        "outlet": "3",
        "card": "1001",
        "started": "2026-11-24 14:00:00+08:00",
        "ended": "2026-11-24 15:00:00+08:00",
        "clock_trusted": "yes",
        "powered_min": "60.0",
        "charging_min": "59.2",
        "energy_kwh": "0.352",
        "peak_power_w": "182",
        "mean_power_w": "150",
        "electricity_yuan": "0.11",
        "service_yuan": "0.33",
        "total_yuan": "0.44",
        "held_yuan": "5.00",
        "refund_yuan": "4.56",
        "end_reason": "Switched off for safety",
        "fault": "Overcurrent",
        "tariff_version": "test-1",
        "record_hash": f"{7:064x}",
    }


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_column_has_a_title_of_its_own(language: str) -> None:
    titles = usage_csv.header(language)
    assert len(set(titles)) == len(titles) == len(usage_csv.COLUMNS)


def test_a_clock_that_was_not_set_at_either_end_is_told() -> None:
    untrusted = WallTime(STARTED.unix_ms, False)
    assert read(usage_record(1, started=untrusted))["clock_trusted"] == "no"
    assert read(usage_record(1, ended=untrusted))["clock_trusted"] == "no"


def test_the_file_begins_with_a_mark_and_its_header_once() -> None:
    lines = list(usage_csv.csv_lines([usage_record(1), usage_record(2)], "zh", SHANGHAI))
    assert lines[0].startswith("\ufeff序号,订单号,")
    assert "".join(lines).count("\r\n") == 3
    assert lines[-1].endswith("\r\n")
    more = list(usage_csv.csv_lines([usage_record(3)], "zh", SHANGHAI, with_header=False))
    assert len(more) == 1
    assert more[0].startswith("3,")


def test_long_table_comes_in_pieces_and_is_the_same() -> None:
    records = [usage_record(number) for number in range(1, 2 * usage_csv.LINES_AT_A_TIME + 2)]
    lines = list(usage_csv.csv_lines(records, "zh", SHANGHAI))
    assert len(lines) == 4
    assert [line.split(",")[0] for line in "".join(lines).splitlines()[1:]] == [str(r.number) for r in records]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_can_be_run_as_a_formula(start: str) -> None:
    cells = read(usage_record(1, card=start + "1+1", tariff_version=start + "cmd|' /C calc'!A0"))
    shown = start if start.isprintable() else plain_text.REPLACED
    assert cells["card"] == "'" + shown + "1+1"
    assert cells["tariff_version"].startswith("'" + shown)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40))
def test_any_text_comes_back_from_the_table(version: str) -> None:
    assert read(usage_record(1, tariff_version=version))["tariff_version"] == plain_text.cell(version)


def test_a_json_line_is_the_whole_record_with_sorted_keys() -> None:
    record = usage_record(7, fault=Fault.SHORT_CIRCUIT)
    line = usage_csv.json_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line, type=UsageRecord) == record
    assert list(json.loads(line)) == sorted(UsageRecord.__struct_fields__)
