"""The usage log as a spreadsheet: numbers as numbers, one sheet, rows written as they come."""

import zoneinfo
from collections.abc import Iterable
from pathlib import Path

import xlsxwriter

from cabinet import usage_table
from cabinet.errors import CabinetError
from cabinet.service.ports import UsageRecord

MOST_ROWS = 1_048_575  # that a sheet holds below its titles

_NUMBERS = frozenset(
    name
    for name in usage_table.COLUMNS
    if name in ("number", "outlet") or name.endswith(("_min", "_kwh", "_w", "_yuan"))
)
_WIDTH = 14


class TooManyRows(CabinetError):
    """A sheet holds no more; another format, or fewer days, does."""

    def __init__(self) -> None:
        super().__init__(f"a sheet holds {MOST_ROWS} records at most: take CSV, or fewer days")


def write(path: Path, records: Iterable[UsageRecord], language: str, zone: zoneinfo.ZoneInfo) -> int:
    """The number of records written to `path`. Raises TooManyRows."""
    with xlsxwriter.Workbook(str(path), {"constant_memory": True, "strings_to_formulas": False}) as book:
        sheet = book.add_worksheet()
        bold = book.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(usage_table.COLUMNS) - 1, _WIDTH)
        for column, title in enumerate(usage_table.header(language)):
            sheet.write_string(0, column, title, bold)
        row = 0
        for row, record in enumerate(records, 1):
            if row > MOST_ROWS:
                raise TooManyRows
            cells = zip(usage_table.COLUMNS, usage_table.row(record, language, zone), strict=True)
            for column, (name, cell) in enumerate(cells):
                if name in _NUMBERS:
                    sheet.write_number(row, column, float(cell))
                else:
                    sheet.write_string(row, column, cell.removeprefix("'"))  # a string cell runs nothing
    return row
