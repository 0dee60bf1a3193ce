"""Residents and top-ups out of a spreadsheet: read as a whole, checked as a whole, done in one transaction.

The first row names the columns, in Chinese or English; spreadsheets write UTF-8 or GB 18030, with comma, semicolon or
tab between.
"""

import csv
import io
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from cabinet.billing import ledger
from cabinet.clock import Clock
from cabinet.errors import CabinetError
from cabinet.service import admin, money
from cabinet.service.signing_in import hash_secret
from cabinet.store import people
from cabinet.store.accounts import SqliteBooks
from cabinet.store.database import Database

COLUMNS = {
    "card": ("card", "卡号"),
    "name": ("name", "姓名"),
    "group": ("group", "分组"),
    "pin": ("pin", "密码"),
    "balance": ("balance", "余额"),
    "amount": ("amount", "金额"),
    "key": ("key", "凭证号"),
}
LARGEST_BYTES = 4 * 1024 * 1024
MOST_MISTAKES = 20

Row = dict[str, str]
Progress = Callable[[int, int], None]


class Mistake(msgspec.Struct, frozen=True):
    line: int
    problem: str


class ImportFailed(CabinetError):
    """Nothing of the file was imported; one line a mistake."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        lines = [f"{source}, line {each.line}: {each.problem}" for each in mistakes[:MOST_MISTAKES]]
        if len(mistakes) > MOST_MISTAKES:
            lines.append(f"and {len(mistakes) - MOST_MISTAKES} more")
        super().__init__("\n".join(lines))


class NewResident(msgspec.Struct, frozen=True):
    """Of one row; `pin` is made here where the row has none."""

    line: int
    card: str
    name: str
    group: str
    pin: str
    first_fen: int


class TopUp(msgspec.Struct, frozen=True):
    line: int
    card: str
    amount_fen: int
    key: str


def read_rows(path: Path, needed: Iterable[str], allowed: Iterable[str]) -> list[tuple[int, Row]]:
    """Line numbers and cells by column name, blank rows left out. Raises ImportFailed."""
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = _names(path, next(lines, []), needed, allowed)
        rows = []
        for cells in lines:
            if any(cell.strip() for cell in cells):
                if any(cell.strip() for cell in cells[len(names) :]):
                    raise ImportFailed(str(path), [Mistake(lines.line_num, "has more cells than there are columns")])
                filled = [cell.strip() for cell in cells] + [""] * len(names)  # spreadsheets leave out the last ones
                rows.append((lines.line_num, dict(zip(names, filled, strict=False))))
    except csv.Error as error:
        raise ImportFailed(str(path), [Mistake(lines.line_num, f"is no CSV: {error}")]) from error
    if not rows:
        raise ImportFailed(str(path), [Mistake(1, "nothing follows the row of titles")])
    return rows


def _names(path: Path, cells: Sequence[str], needed: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Of the columns, from the row of titles. Raises ImportFailed."""
    titles = [cell.strip() for cell in cells]
    while titles and not titles[-1]:
        titles.pop()
    names = [next((name for name, words in COLUMNS.items() if title.lower() in words), "") for title in titles]
    problems = [
        f"there is no column {title!r}"
        for title, name in zip(titles, names, strict=True)
        if name not in {*needed, *allowed}
    ]
    problems += [f"the column {' or '.join(COLUMNS[name])} is missing" for name in needed if name not in names]
    problems += [
        f"the column {' or '.join(COLUMNS[name])} is there twice"
        for name in set(names)
        if names.count(name) > 1 and name
    ]
    if problems:
        raise ImportFailed(str(path), [Mistake(1, problem) for problem in problems])
    return names


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise CabinetError(f"{path}: larger than {LARGEST_BYTES // 1024 // 1024} MB: split it")
        data = path.read_bytes()
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CabinetError(f"{path}: neither UTF-8 nor GB 18030: save it as CSV UTF-8")


def plan_residents(database: Database, path: Path) -> list[NewResident]:
    """What a file of residents would add; nothing is written. Raises ImportFailed with every mistake."""
    mistakes: list[Mistake] = []
    planned: dict[str, NewResident] = {}
    with database.reading() as connection:
        for line, row in read_rows(path, ["card"], ["name", "group", "pin", "balance"]):
            try:
                new = _resident(line, row)
                if people.resident_by_card(connection, new.card) is not None:
                    raise CabinetError(f"card {new.card} is there already")
                if new.card in planned:
                    raise CabinetError(f"card {new.card} is in line {planned[new.card].line} already")
                planned[new.card] = new
            except CabinetError as error:
                mistakes.append(Mistake(line, str(error)))
    if mistakes:
        raise ImportFailed(str(path), mistakes)
    return list(planned.values())


def _resident(line: int, row: Row) -> NewResident:
    pin = row.get("pin") or admin.random_pin()
    admin.check_resident(row["card"], row.get("group", ""), pin, row.get("name", ""))
    first_fen = money.fen_of_yuan(row.get("balance") or "0")
    return NewResident(line, row["card"], row.get("name", ""), row.get("group", ""), pin, first_fen)


def add_residents(database: Database, clock: Clock, planned: Sequence[NewResident], progress: Progress) -> None:
    """All of them or none. Raises CabinetError where a card has come between."""
    hashes = []
    for number, new in enumerate(planned, 1):  # slow on purpose, and not inside the transaction
        hashes.append(hash_secret(new.pin))
        progress(number, len(planned))
    wall = clock.wall()
    with database.transaction() as connection:
        for new, pin_hash in zip(planned, hashes, strict=True):
            if people.resident_by_card(connection, new.card) is not None:
                raise CabinetError(f"card {new.card} is there already")
            who = people.add_resident(connection, new.card, new.name, pin_hash, wall.unix_ms, new.group)
            if new.first_fen:
                ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"first:{who}", who, new.first_fen))


def plan_top_ups(database: Database, path: Path) -> tuple[list[TopUp], list[TopUp]]:
    """Top-ups that a file would make, and those it holds that were made before. Raises ImportFailed."""
    mistakes: list[Mistake] = []
    new: list[TopUp] = []
    before: list[TopUp] = []
    lines_of: dict[str, int] = {}
    with database.reading() as connection:
        books = SqliteBooks(connection, None)
        for line, row in read_rows(path, ["card", "amount", "key"], ["name"]):
            try:
                each = _top_up(connection, line, row)
                if each.key in lines_of:
                    raise CabinetError(f"key {each.key} is in line {lines_of[each.key]} already")
                lines_of[each.key] = line
                done = books.postings(f"top-up:{each.key}")
                if done is not None and not _is_same(connection, each, done):
                    raise CabinetError(f"key {each.key} was used for another top-up: another card or amount")
                (new if done is None else before).append(each)
            except CabinetError as error:
                mistakes.append(Mistake(line, str(error)))
    if mistakes:
        raise ImportFailed(str(path), mistakes)
    return new, before


def _top_up(connection: sqlite3.Connection, line: int, row: Row) -> TopUp:
    amount_fen = money.fen_of_yuan(row.get("amount", ""))
    if amount_fen == 0:
        raise CabinetError("a top-up is above 0 yuan")
    if not row.get("key"):
        raise CabinetError("without a key (such as the receipt's number) it could not be told from a second one")
    admin.resident_of(connection, row["card"])
    return TopUp(line, row["card"], amount_fen, row["key"])


def _is_same(connection: sqlite3.Connection, each: TopUp, done: Sequence[ledger.Posting]) -> bool:
    wallet = ledger.wallet(admin.resident_of(connection, each.card).id)
    return ledger.Posting(wallet, each.amount_fen) in done


def make_top_ups(database: Database, clock: Clock, planned: Sequence[TopUp]) -> None:
    """All of them or none. Raises LedgerError where a key was used for something else."""
    wall = clock.wall()
    with database.transaction() as connection:
        for each in planned:
            who = admin.resident_of(connection, each.card).id
            ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"top-up:{each.key}", who, each.amount_fen))
