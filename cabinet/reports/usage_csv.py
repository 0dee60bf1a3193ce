"""The usage log as a table: one declaration of its columns for the page, the HTTP API and `cabinet usage export`.

Pure: records in, rows and lines out. JSON lines contain every field as it is stored (integers, codes); CSV is for
people and spreadsheets (yuan, kWh, the site's local time, words in their language).
"""

import csv
import io
import zoneinfo
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from cabinet import plain_text, texts
from cabinet.clock import WallTime
from cabinet.records import UsageRecord
from cabinet.texts import number_format

BOM = "\ufeff"  # without it spreadsheets read a CSV in the local 8-bit encoding, which garbles Chinese

LINES_AT_A_TIME = 100

_encoder = msgspec.json.Encoder(order="sorted")


class _Reader(NamedTuple):
    """Language and time zone of the reader."""

    words: dict[str, str]
    zone: zoneinfo.ZoneInfo


MOMENTS: dict[str, Callable[[UsageRecord], WallTime]] = {
    "started": lambda record: record.started,
    "ended": lambda record: record.ended,
}


def _time(name: str) -> Callable[[UsageRecord, _Reader], str]:
    moment_of = MOMENTS[name]

    def cell(record: UsageRecord, reader: _Reader) -> str:
        return number_format.local(moment_of(record), reader.zone).isoformat(" ", "seconds")

    return cell


COLUMNS: dict[str, Callable[[UsageRecord, _Reader], str]] = {
    "number": lambda record, _: str(record.number),
    "order_number": lambda record, _: record.order_number,
    "site_id": lambda record, _: record.site_id,
    "outlet": lambda record, _: str(record.outlet),
    "card": lambda record, _: record.card,
    "started": _time("started"),
    "ended": _time("ended"),
    "clock_trusted": lambda record, reader: reader.words[
        "yes_no.yes" if record.started.trusted and record.ended.trusted else "yes_no.no"
    ],
    "powered_min": lambda record, _: number_format.minutes(record.powered_s),
    "charging_min": lambda record, _: number_format.minutes(record.charging_s),
    "energy_kwh": lambda record, _: number_format.kwh(record.energy_mwh),
    "peak_power_w": lambda record, _: number_format.watts(record.peak_power_mw),
    "mean_power_w": lambda record, _: number_format.watts(record.mean_power_mw),
    "electricity_yuan": lambda record, _: number_format.yuan(record.electricity_fen),
    "service_yuan": lambda record, _: number_format.yuan(record.service_fen),
    "total_yuan": lambda record, _: number_format.yuan(record.total_fen),
    "held_yuan": lambda record, _: number_format.yuan(record.held_fen),
    "refund_yuan": lambda record, _: number_format.yuan(record.refund_fen),
    "end_reason": lambda record, reader: reader.words[f"end_reason.{record.end_reason.value}"],
    "fault": lambda record, reader: reader.words[f"fault.{record.fault.value}.name"] if record.fault else "",
    "tariff_version": lambda record, _: record.tariff_version,
    "record_hash": lambda record, _: record.record_hash,
}
"""Column name → its cell for one record, in the order of the table."""


NUMBERS = frozenset(
    name for name in COLUMNS if name in ("number", "outlet") or name.endswith(("_min", "_kwh", "_w", "_yuan"))
)

_FREE_TEXT = frozenset({"order_number", "site_id", "card", "tariff_version", "record_hash"})  # others: fixed words
_CELLS = tuple((cell, name in _FREE_TEXT) for name, cell in COLUMNS.items())


def figure(record: UsageRecord, name: str) -> str:
    """Return the cell of a column of `NUMBERS`, which is the same in every language and time zone."""
    return COLUMNS[name](record, _Reader({}, zoneinfo.ZoneInfo("UTC")))


def header(language: str) -> list[str]:
    """Return the columns' titles in `language` (one of `texts.LANGUAGES`)."""
    words = texts.table("common", language)
    return [words[f"usage.{name}"] for name in COLUMNS]


def row(record: UsageRecord, language: str, zone: zoneinfo.ZoneInfo) -> list[str]:
    """Return one record's cells in the order of `COLUMNS`; times in `zone` with their offset."""
    reader = _Reader(texts.table("common", language), zone)
    return [cell(record, reader) for cell in COLUMNS.values()]


def csv_lines(
    records: Iterable[UsageRecord], language: str, zone: zoneinfo.ZoneInfo, with_header: bool = True
) -> Iterable[str]:
    """Yield the lines of a CSV file (RFC 4180, CRLF), several at a time; encode them as UTF-8.

    The first begins with `BOM` and is the header; if `with_header` is False, both are left out, for the next page of a
    file.
    """
    if with_header:
        yield BOM + csv_line(header(language))
    reader = _Reader(texts.table("common", language), zone)
    buffer = io.StringIO()
    write = csv.writer(buffer, lineterminator="\r\n").writerow
    for number, record in enumerate(records, 1):
        write([plain_text.cell(cell(record, reader)) if free else cell(record, reader) for cell, free in _CELLS])
        if number % LINES_AT_A_TIME == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    if buffer.tell():
        yield buffer.getvalue()


def json_line(record: UsageRecord) -> bytes:
    """Return the record as one line of JSON with its keys sorted, newline included."""
    return plain_text.json_text(_encoder.encode(record)).encode() + b"\n"


def csv_line(cells: Iterable[str]) -> str:
    """Return a line of a CSV file; none of its cells acts in a terminal or a spreadsheet."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([plain_text.cell(cell) for cell in cells])
    return buffer.getvalue()
