"""The usage log as a spreadsheet: numbers as numbers, dates as dates, one sheet, rows written as they arrive."""

import zoneinfo
from collections.abc import Iterable, Iterator
from pathlib import Path

from cabinet.errors import CabinetError
from cabinet.records import UsageRecord
from cabinet.reports import spreadsheet, usage_csv
from cabinet.reports.spreadsheet import Cell, Number
from cabinet.texts import number_format

MAX_ROWS = 1_048_575  # in a sheet, below its titles


class TooManyRows(CabinetError):
    """A sheet cannot hold the records; use another format, or fewer days."""

    def __init__(self) -> None:
        super().__init__(f"a sheet holds {MAX_ROWS} records at most: take CSV, or fewer days")


def write(path: Path, records: Iterable[UsageRecord], language: str, zone: zoneinfo.ZoneInfo) -> int:
    """Write `records` to `path` and return their number. Raises TooManyRows."""
    return spreadsheet.write(path, titles(language, zone), _rows(records, language, zone))


def titles(language: str, zone: zoneinfo.ZoneInfo) -> list[str]:
    """Return the columns' titles; those of dates name their zone."""
    return [
        f"{title} ({zone.key})" if name in usage_csv.MOMENTS else title
        for name, title in zip(usage_csv.COLUMNS, usage_csv.header(language), strict=True)
    ]


def cells(record: UsageRecord, language: str, zone: zoneinfo.ZoneInfo) -> list[Cell]:
    """Return one row."""
    row: list[Cell] = []
    for name, text in zip(usage_csv.COLUMNS, usage_csv.row(record, language, zone), strict=True):
        if name in usage_csv.NUMBERS:
            row.append(Number(text))
        elif name in usage_csv.MOMENTS:
            row.append(number_format.local(usage_csv.MOMENTS[name](record), zone))
        else:
            row.append(text)
    return row


def _rows(records: Iterable[UsageRecord], language: str, zone: zoneinfo.ZoneInfo) -> Iterator[list[Cell]]:
    for number, record in enumerate(records, 1):
        if number > MAX_ROWS:
            raise TooManyRows
        yield cells(record, language, zone)
