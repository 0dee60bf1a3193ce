"""Reader of the first sheet of a spreadsheet (Office Open XML) as rows of text, for stored exports."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from cabinet.errors import CabinetError

MAX_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_COLUMN = re.compile(r"[A-Z]{1,3}")


def rows(path: Path) -> Iterator[list[str]]:
    """Yield every row, from the first. Raises CabinetError."""
    try:
        with zipfile.ZipFile(path) as book:
            sheets = sorted(
                (name for name in book.namelist() if re.fullmatch(r"xl/worksheets/sheet[0-9]+\.xml", name)),
                key=lambda name: (len(name), name),
            )
            if not sheets or sum(each.file_size for each in book.infolist()) > MAX_UNPACKED_BYTES:
                raise CabinetError(f"{path}: is no spreadsheet that can be read")
            shared = _shared(book)
            with book.open(sheets[0]) as sheet:
                yield from _rows(sheet, shared)
    except (zipfile.BadZipFile, ElementTree.ParseError, ValueError, IndexError) as error:
        raise CabinetError(f"{path}: is no spreadsheet that can be read: {error}") from error


def _shared(book: zipfile.ZipFile) -> list[str]:
    """Return the shared strings, which cells refer to by number if the program stored them separately."""
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    with book.open("xl/sharedStrings.xml") as file:
        return [_text(item) for _, item in ElementTree.iterparse(file) if item.tag == f"{_SPACE}si"]


def _rows(sheet: IO[bytes], shared: list[str]) -> Iterator[list[str]]:
    for _, element in ElementTree.iterparse(sheet):
        if element.tag != f"{_SPACE}row":
            continue
        cells: dict[int, str] = {}
        for place, cell in enumerate(element.iter(f"{_SPACE}c")):
            named = _COLUMN.match(cell.get("r", ""))
            cells[place if named is None else _number(named[0])] = _value(cell, shared)
        yield [cells.get(column, "") for column in range(max(cells, default=-1) + 1)]
        element.clear()


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    kind, value = cell.get("t", "n"), cell.findtext(f"{_SPACE}v") or ""
    if kind == "inlineStr":
        return _text(cell)
    return shared[int(value)] if kind == "s" else value


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_SPACE}t"))


def _number(letters: str) -> int:
    """Return the column's number: A is 0, Z 25, AA 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
