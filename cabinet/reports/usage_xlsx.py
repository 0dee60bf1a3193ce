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
    """Write `records` to `path` and return their number. Raises TooManyRows. Titles name the zone of the dates."""
    titles = [
        f"{title} ({zone.key})" if name in usage_csv.MOMENTS else title
        for name, title in zip(usage_csv.COLUMNS, usage_csv.header(language), strict=True)
    ]
    return spreadsheet.write(path, titles, _rows(records, language, zone))


def _rows(records: Iterable[UsageRecord], language: str, zone: zoneinfo.ZoneInfo) -> Iterator[list[Cell]]:
    for number, record in enumerate(records, 1):
        if number > MAX_ROWS:
            raise TooManyRows
        cells: list[Cell] = []
        for name, text in zip(usage_csv.COLUMNS, usage_csv.row(record, language, zone), strict=True):
            if name in usage_csv.NUMBERS:
                cells.append(Number(text))
            elif name in usage_csv.MOMENTS:
                cells.append(number_format.local(usage_csv.MOMENTS[name](record), zone))
            else:
                cells.append(text)
        yield cells
