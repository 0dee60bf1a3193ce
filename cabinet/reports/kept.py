"""Reader of files that were kept outside the cabinet: closings, heads by day, exports of any form."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from cabinet import normal_form, texts
from cabinet.errors import CabinetError, os_error_at
from cabinet.records import SignedClosing, UsageHead, UsageRecord
from cabinet.reports import xlsx_reader
from cabinet.store.proof import KeptRecord
from cabinet.usage_chain import hash_of

MAX_BYTES = 1024 * 1024 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")


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

    JSON lines hold whole records: their contents must give the hash.
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
    if number_at is None or hash_at is None:
        raise CabinetError(f"{path}: is no export of records: it has no column of numbers, or none of hashes")
    for row, cells in rows:
        if not any(cells):
            continue
        number, record_hash = (cells[at] if at < len(cells) else "" for at in (number_at, hash_at))
        whole = normal_form.whole(number.removesuffix(".0"))
        if whole is None or not _HASH.fullmatch(record_hash):
            raise CabinetError(f"{path}, row {row}: no number and hash of a record: was the file changed?")
        yield KeptRecord(whole, record_hash, f"{path}, row {row}")


def _column(titles: Sequence[str], name: str) -> int | None:
    known = {texts.table("common", language)[f"usage.{name}"] for language in texts.LANGUAGES}
    return next((at for at, title in enumerate(titles) if title in known), None)


def _read(path: Path) -> bytes:
    with os_error_at(path):
        if path.stat().st_size > MAX_BYTES:
            raise CabinetError(f"{path}: larger than {MAX_BYTES // 1024 // 1024} MB")
        return path.read_bytes()
