"""Reader of files that were kept outside the cabinet: closings, heads by day, exports of any form."""

import csv
import decimal
import io
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from cabinet import normal_form, plain_text, texts
from cabinet.errors import CabinetError, os_error_at
from cabinet.records import SignedClosing, UsageHead, UsageRecord
from cabinet.reports import usage_csv, xlsx_reader
from cabinet.store import usage
from cabinet.store.proof import MAX_REPORTED, KeptRecord
from cabinet.usage_chain import hash_of

MAX_BYTES = 1024 * 1024 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")
_FIGURES = tuple(name for name in usage_csv.COLUMNS if name in usage_csv.NUMBERS and name != "number")
_BETWEEN = "\x1f"  # of the figures in one text, which takes less memory than a tuple of them


class KeptClosings(msgspec.Struct):
    """Closings as the API returns them: with the key that should have signed them."""

    closings: list[SignedClosing]
    key: str = ""


class KeptHeads(msgspec.Struct):
    heads: list[UsageHead]


def closings(path: Path) -> KeptClosings:
    """Read closings as listed by `cabinet usage closings` or returned by the API. Raises CabinetError."""
    data = _read(path)
    try:
        if data.lstrip().startswith((b'{"key"', b'{"closings"')):
            found = msgspec.json.decode(data, type=KeptClosings)
        else:
            lines = [line for line in data.splitlines() if line.strip()]
            found = KeptClosings([msgspec.json.decode(line, type=SignedClosing) for line in lines])
    except msgspec.MsgspecError as error:
        raise CabinetError(f"{path}: is no list of closings: {error}") from error
    if not found.key:  # a kept key alone is worth a comparison
        _check_not_empty(path, found.closings, "closing")
    return found


def heads(path: Path) -> list[KeptRecord]:
    """Read heads from `cabinet usage heads` or the API; a file may contain several answers. Raises CabinetError."""
    data = _read(path)
    try:
        found: list[UsageHead] = []
        for line in data.splitlines():
            if line.lstrip().startswith(b'{"heads"'):
                found += msgspec.json.decode(line, type=KeptHeads).heads
            elif line.strip():
                found.append(msgspec.json.decode(line, type=UsageHead))
    except msgspec.MsgspecError as error:
        raise CabinetError(f"{path}: is no list of heads: {error}") from error
    _check_not_empty(path, found, "head")
    return [KeptRecord(head.number, head.record_hash, f"{path}, {head.site_id} on {head.day}") for head in found]


def export(path: Path) -> list[KeptRecord]:
    """Read the records of an export: JSON lines, CSV or spreadsheet, in any language. Raises CabinetError.

    JSON lines hold whole records: their contents must give the hash. The figures of a table are for `changed_figures`.
    """
    found = list(_of_export(path, _read(path)))
    _check_not_empty(path, found, "record")
    return found


def _check_not_empty(path: Path, found: Sequence[object], what: str) -> None:
    """Raise CabinetError for a file that holds nothing to compare: its OK would prove nothing."""
    if not found:
        raise CabinetError(f"{path}: holds no {what}, so nothing can be compared with it: was it cut off?")


def _of_export(path: Path, data: bytes) -> Iterator[KeptRecord]:
    if data.startswith(b"PK"):
        return _of_table(path, xlsx_reader.rows(path))
    if data.lstrip().startswith(b"{"):
        return _of_json(path, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CabinetError(f"{path}: is no export: neither JSON lines nor a table in UTF-8") from error
    first = text.partition("\n")[0]
    return _of_table(path, csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count)))


def _of_json(path: Path, data: bytes) -> Iterator[KeptRecord]:
    for line, text in enumerate(data.splitlines(), 1):
        if not text.strip():
            continue
        try:
            record = msgspec.json.decode(text, type=UsageRecord)
        except msgspec.MsgspecError as error:
            raise CabinetError(f"{path}, line {line}: is no record of the usage log: {error}") from error
        if hash_of(record) != record.record_hash:
            raise CabinetError(
                f"{path}, line {line}: record {record.number} was changed in this file: its contents do not give its"
                " hash; take another copy of the export"
            )
        yield KeptRecord(record.number, record.record_hash, f"{path}, line {line}")


def _of_table(path: Path, table: Iterable[Sequence[str]]) -> Iterator[KeptRecord]:
    rows = enumerate(table, 1)
    titles = [normal_form.text(cell) for cell in next(rows, (0, []))[1]]
    number_at, hash_at = _column(titles, "number"), _column(titles, "record_hash")
    figures_at = [_column(titles, name) for name in _FIGURES]
    if number_at is None or hash_at is None:
        raise CabinetError(f"{path}: is no export of records: it has no column of numbers, or none of hashes")
    for row, cells in rows:
        if not any(cells):
            continue
        number, record_hash = (cells[at] if at < len(cells) else "" for at in (number_at, hash_at))
        whole = normal_form.whole(number.removesuffix(".0"))
        if whole is None or not _HASH.fullmatch(record_hash):
            raise CabinetError(f"{path}, row {row}: no number and hash of a record: was the file changed?")
        figures = [cells[at] if at is not None and at < len(cells) else "" for at in figures_at]
        yield KeptRecord(whole, record_hash, f"{path}, row {row}", _BETWEEN.join(figures))


def changed_figures(connection: sqlite3.Connection, marks: Iterable[KeptRecord]) -> list[str]:
    """Return a sentence for each figure of a kept table that differs from the record with the same hash in the log.

    A hash stands for its record, not for the cells beside it. Left-out columns and cells are not compared.
    """
    problems: list[str] = []
    for mark in marks:
        found = usage.stored(connection, mark.number) if mark.figures else None
        if found is None or found[0].record_hash != mark.record_hash:
            continue  # nothing to compare, or reported already
        for name, kept_text in zip(_FIGURES, mark.figures.split(_BETWEEN), strict=True):
            text = usage_csv.figure(found[0], name)
            if kept_text.strip() and text and not _is_same_number(kept_text, text):
                shown, title = plain_text.one_line(kept_text), texts.table("common", "en")[f"usage.{name}"]
                problems.append(
                    f"{mark.place}: record {mark.number} has its hash, but {shown!r} as {title}, where the log has"
                    f" {text}: the file was changed, take another copy of the export"
                )
    more = len(problems) - MAX_REPORTED
    return problems if more <= 0 else [*problems[:MAX_REPORTED], f"and {more} figures more"]


def _is_same_number(kept_text: str, text: str) -> bool:
    """Return whether a cell shows the number `text`; other programs write 0.5, 0,50, 1,234.50 or 0.49999999999999."""
    plain, decimals = normal_form.spelling(kept_text), len(text.partition(".")[2])
    for number in (plain.replace(",", ""), plain.replace(",", ".")):
        try:
            if round(decimal.Decimal(number), decimals) == decimal.Decimal(text):
                return True
        except (decimal.InvalidOperation, ValueError):  # no number, or none that is finite
            continue
    return False


def _column(titles: Sequence[str], name: str) -> int | None:
    known = {texts.table("common", language)[f"usage.{name}"] for language in texts.LANGUAGES}
    return next((at for at, title in enumerate(titles) if title in known), None)


def _read(path: Path) -> bytes:
    with os_error_at(path):
        if path.stat().st_size > MAX_BYTES:
            raise CabinetError(f"{path}: larger than {MAX_BYTES // 1024 // 1024} MB")
        return path.read_bytes()
