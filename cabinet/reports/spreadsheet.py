"""Spreadsheets with typed cells: text with every digit, numbers, dates."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xlsxwriter

from cabinet import plain_text

MAX_CELL = 32_767  # characters in a cell
_DATE_FORMAT = "yyyy-mm-dd hh:mm:ss"
_WIDTH = 20
_TEXT_ONLY = {"strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}


class Number(NamedTuple):
    """A number, as plain decimals."""

    decimals: str


Cell = str | Number | datetime.datetime
"""A cell; of a datetime the sheet shows its local time."""


def write(path: Path | BinaryIO, titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    """Write one sheet, row by row as they arrive; return the number of rows.

    If `path` is an open file, the sheet is made in memory and never touches a disk: for content that must not be
    stored.
    """
    where, keeping = (str(path), "constant_memory") if isinstance(path, Path) else (path, "in_memory")
    with xlsxwriter.Workbook(where, {keeping: True, **_TEXT_ONLY}) as book:
        sheet = book.add_worksheet()
        bold = book.add_format({"bold": True})
        text = book.add_format({"num_format": "@"})
        moment = book.add_format({"num_format": _DATE_FORMAT})
        sheet.freeze_panes(1, 0)
        sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})  # intended for cards and PINs
        sheet.set_column(0, len(titles) - 1, _WIDTH)
        count = 0
        for column, title in enumerate(titles):
            sheet.write_string(0, column, plain_text.one_line(title), bold)
        for count, cells in enumerate(rows, 1):
            for column, cell in enumerate(cells):
                if isinstance(cell, Number):
                    sheet.write_number(count, column, float(cell.decimals))
                elif isinstance(cell, datetime.datetime):
                    sheet.write_datetime(count, column, cell.replace(tzinfo=None), moment)
                elif cell:
                    sheet.write_string(count, column, plain_text.one_line(cell)[:MAX_CELL], text)
    return count
