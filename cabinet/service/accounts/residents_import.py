"""Import of residents and top-ups from a spreadsheet: read whole, checked whole, applied in one transaction.

The first row names the columns, in Chinese or English. Spreadsheets write UTF-8 or GB 18030, separated by comma,
semicolon or tab.
"""

import csv
import io
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.clock import Clock, WallTime
from cabinet.errors import CabinetError, os_error_at
from cabinet.pin_codes import random_pin
from cabinet.secret_hash import hash_secret
from cabinet.service.accounts import admin, wallets
from cabinet.store import residents
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks

COLUMNS = {
    "card": ("card", "卡号"),
    "name": ("name", "姓名"),
    "group": ("group", "分组"),
    "pin": ("pin", "密码"),
    "balance": ("balance", "余额"),
    "amount": ("amount", "金额"),
    "key": ("key", "凭证号"),
    "phone": ("phone", "电话", "手机", "手机号", "联系电话"),  # in most lists; not needed, so not stored
}
_SHORTENED = re.compile(r"[0-9.]+E\+?[0-9]+")  # a long number shortened by a spreadsheet: 6.22202E+18
TOP_UP = "top-up:"  # prefix of the ledger's keys of top-ups
MAX_BYTES = 4 * 1024 * 1024
MAX_MISTAKES = 20

T = TypeVar("T")
Row = dict[str, str]
Progress = Callable[[int, int], None]


class Mistake(msgspec.Struct, frozen=True):
    """A mistake in the file: `problem` in English; `code` and the `word` concerned for pages in any language."""

    line: int
    problem: str
    code: str
    word: str = ""


class BadRow(CabinetError):
    """A row that cannot be imported; `code` and `word` as in `Mistake`."""

    def __init__(self, code: str, word: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code
        self.word = word

    def at(self, line: int) -> Mistake:
        return Mistake(line, str(self), self.code, self.word)


class ImportFailed(CabinetError):
    """Nothing of the file was imported. The message has one line per mistake."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        lines = [f"{source}, line {each.line}: {each.problem}" for each in mistakes[:MAX_MISTAKES]]
        if len(mistakes) > MAX_MISTAKES:
            lines.append(f"and {len(mistakes) - MAX_MISTAKES} more")
        super().__init__("\n".join(lines))
        self.mistakes = mistakes


class NewResident(msgspec.Struct, frozen=True):
    """A resident from one row; `pin` is generated if the row has none."""

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


def read_rows(source: str, text: str, needed: Iterable[str], allowed: Iterable[str]) -> list[tuple[int, Row]]:
    """Return line numbers and cells by column name, without blank rows. Raises ImportFailed."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = _names(source, next(lines, []), needed, allowed)
        rows = []
        for cells in lines:
            cells = [normal_form.text(cell) for cell in cells]
            if any(cells):
                if any(cells[len(names) :]):
                    problem = "has more cells than there are columns"
                    raise ImportFailed(source, [Mistake(lines.line_num, problem, "too_many_cells")])
                filled = cells + [""] * len(names)  # spreadsheets omit empty cells at the end
                rows.append((lines.line_num, dict(zip(names, filled, strict=False))))
    except csv.Error as error:
        raise ImportFailed(source, [Mistake(lines.line_num, f"is no CSV: {error}", "no_csv")]) from error
    if not rows:
        raise ImportFailed(source, [Mistake(1, "nothing follows the row of titles", "empty")])
    return rows


def _names(source: str, cells: Sequence[str], needed: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Return the column names, from the row of titles. Raises ImportFailed."""
    titles = [normal_form.spelling(cell) for cell in cells]  # titles of two characters are padded like names
    while titles and not titles[-1]:
        titles.pop()
    names = [next((name for name, words in COLUMNS.items() if title.lower() in words), "") for title in titles]
    problems = [
        Mistake(1, f"there is no column {title!r}", "unknown_column", title)
        for title, name in zip(titles, names, strict=True)
        if name not in {*needed, *allowed}
    ]
    words_of = {name: " or ".join(COLUMNS[name]) for name in COLUMNS}
    problems += [
        Mistake(1, f"the column {words_of[name]} is missing", "missing_column", COLUMNS[name][-1])
        for name in needed
        if name not in names
    ]
    problems += [
        Mistake(1, f"the column {words_of[name]} is there twice", "column_twice", COLUMNS[name][-1])
        for name in set(names)
        if names.count(name) > 1 and name
    ]
    if problems:
        raise ImportFailed(source, problems)
    return names


def text_of(path: Path) -> str:
    with os_error_at(path):
        if path.stat().st_size > MAX_BYTES:
            raise CabinetError(f"{path}: larger than {MAX_BYTES // 1024 // 1024} MB: split it")
        data = path.read_bytes()
    return decoded(str(path), data)


def decoded(source: str, data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CabinetError(f"{source}: neither UTF-8 nor GB 18030: save it as CSV UTF-8")


def plan_residents(connection: sqlite3.Connection, source: str, text: str) -> list[NewResident]:
    """Return the residents that a file would add; write nothing. Raises ImportFailed with every mistake."""
    mistakes: list[Mistake] = []
    planned: dict[str, NewResident] = {}
    for line, row in read_rows(source, text, ["card"], ["name", "group", "pin", "balance", "phone"]):
        try:
            new = _resident(line, row)
            if residents.all_by_card(connection, new.card):
                raise BadRow("there", new.card, f"card {new.card} is there already")
            if new.card in planned:
                raise BadRow("twice", new.card, f"card {new.card} is in line {planned[new.card].line} already")
            planned[new.card] = new
        except BadRow as error:
            mistakes.append(error.at(line))
    if mistakes:
        raise ImportFailed(source, mistakes)
    return list(planned.values())


def _resident(line: int, row: Row) -> NewResident:
    card, group = normal_form.card(row["card"]), normal_form.group(row.get("group", ""))
    pin = normal_form.digits(row.get("pin", "")) or random_pin()
    name = row.get("name", "")
    if _SHORTENED.fullmatch(card):
        problem = f"card {card}: a spreadsheet has shortened the number: make its column text, and type it again"
        raise BadRow("shortened", card, problem)
    _coded("card", row["card"], admin.check_card, card)
    _coded("pin", "", admin.check_pin, pin)
    _coded("name", name, admin.check_name)
    _coded("group", row.get("group", ""), admin.check_group, group)
    first_fen = _coded("amount", row.get("balance") or "0", wallets.fen_of_yuan)
    return NewResident(line, card, name, group, pin, first_fen)


def _coded(code: str, word: str, check: Callable[[str], T], form: str | None = None) -> T:
    """Return `check(form)`, or `check(word)` if `form` is None. Raises BadRow with `code` and the word as typed."""
    try:
        return check(word if form is None else form)
    except CabinetError as error:
        raise BadRow(code, word, str(error)) from error


def add_residents(database: Database, clock: Clock, planned: Sequence[NewResident], progress: Progress) -> None:
    """Add all of them or none. Raises CabinetError if a card was added meanwhile."""
    hashes = pin_hashes(planned, progress)
    with database.transaction() as connection:
        insert_residents(connection, clock.wall(), planned, hashes)


def pin_hashes(planned: Sequence[NewResident], progress: Progress) -> list[str]:
    """Return the PIN hashes. Slow on purpose, 50 ms each: not for use inside a transaction."""
    hashes = []
    for number, new in enumerate(planned, 1):
        hashes.append(hash_secret(new.pin))
        progress(number, len(planned))
    return hashes


def insert_residents(
    connection: sqlite3.Connection, wall: WallTime, planned: Sequence[NewResident], hashes: Sequence[str]
) -> None:
    """Add them inside the caller's transaction. Raises CabinetError if a card was added meanwhile."""
    for new, pin_hash in zip(planned, hashes, strict=True):
        if residents.all_by_card(connection, new.card):
            raise CabinetError(f"card {new.card} is there already")
        who = residents.add(connection, new.card, new.name, pin_hash, wall.unix_ms, new.group)
        if new.first_fen:
            ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"first:{who}", who, new.first_fen))


def plan_top_ups(database: Database, path: Path) -> tuple[list[TopUp], list[TopUp]]:
    """Return the top-ups that a file would make, and those in it that were made before. Raises ImportFailed."""
    mistakes: list[Mistake] = []
    new: list[TopUp] = []
    before: list[TopUp] = []
    lines_of: dict[str, int] = {}
    with database.reading() as connection:
        books = SqliteBooks(connection, None)
        for line, row in read_rows(str(path), text_of(path), ["card", "amount", "key"], ["name", "phone"]):
            try:
                each = _top_up(connection, books, line, row)
                if each.key in lines_of:
                    raise BadRow("twice", each.key, f"key {each.key} is in line {lines_of[each.key]} already")
                lines_of[each.key] = line
                done = books.postings(f"{TOP_UP}{each.key}")
                if done is not None and not _is_same(connection, each, done):
                    problem = f"key {each.key} was used for another top-up: another card or amount"
                    raise BadRow("key_used", each.key, problem)
                (new if done is None else before).append(each)
            except BadRow as error:
                mistakes.append(error.at(line))
    if mistakes:
        raise ImportFailed(str(path), mistakes)
    return new, before


def _top_up(connection: sqlite3.Connection, books: SqliteBooks, line: int, row: Row) -> TopUp:
    amount_fen = _coded("amount", row.get("amount", ""), wallets.fen_of_yuan)
    if amount_fen == 0:
        raise BadRow("amount", "0", "a top-up is above 0 yuan")
    if not row.get("key"):
        problem = "without a key (such as the receipt's number) it could not be told from a second one"
        raise BadRow("no_key", "", problem)
    resident = _coded("no_card", row["card"], lambda card: admin.resident_of(connection, card))
    key = wallets.posted_key(books, TOP_UP, row["key"]).removeprefix(TOP_UP)
    return TopUp(line, resident.card, amount_fen, key)


def _is_same(connection: sqlite3.Connection, each: TopUp, done: Sequence[ledger.Posting]) -> bool:
    wallet = ledger.wallet(admin.resident_of(connection, each.card).id)
    return ledger.Posting(wallet, each.amount_fen) in done


def make_top_ups(database: Database, clock: Clock, planned: Sequence[TopUp]) -> None:
    """Make all of them or none. Raises LedgerError if a key was used for another transaction."""
    wall = clock.wall()
    with database.transaction() as connection:
        for each in planned:
            who = admin.resident_of(connection, each.card).id
            ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"{TOP_UP}{each.key}", who, each.amount_fen))
