"""Usage log: one record per settled charge, each chained to the previous one by its hash.

A record's hash is the SHA-256 of its canonical JSON (keys sorted, no spaces, UTF-8), which holds the hash of the
previous record. If a record is edited, dropped, inserted or reordered, `verify` finds the place. The head of the
chain is stored separately: records cut off the end are detected too. The chain cannot detect a log rewritten as a
whole by a person with write access to the file.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from cabinet.records import UsageFilter, UsageRecord
from cabinet.store import rows
from cabinet.texts import number_format
from cabinet.usage_chain import FIRST_PREVIOUS_HASH, canonical, hash_of_body

RECORDS_A_STEP = 1000  # between two progress reports of `verify`

_WITH_CARD = "SELECT body, record_hash, card FROM usage_record LEFT JOIN resident USING (holder)"

_FIGURES = (
    "SELECT ended_unix_ms, outlet, usage_record.holder AS holder, body ->> '$.charging_s' AS charging_s,"
    " body ->> '$.energy_mwh' AS energy_mwh, body ->> '$.electricity_fen' AS electricity_fen,"
    " body ->> '$.service_fen' AS service_fen, card"
    " FROM usage_record LEFT JOIN resident USING (holder)"
)

_decoder = msgspec.json.Decoder(UsageRecord)


class UsageFigures(NamedTuple):
    """Figures of one record; `card` is masked, and empty once the resident is erased."""

    ended_unix_ms: int
    outlet: int
    holder: str
    charging_s: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int
    card: str


class BadRecord(msgspec.Struct, frozen=True):
    """First record that is not as it was written, and its problem."""

    number: int
    problem: str


class Verified(msgspec.Struct, frozen=True):
    """Result of `verify`: `records` are good before `bad`; if `bad` is None, all are good."""

    records: int
    bad: BadRecord | None


def append(connection: sqlite3.Connection, record: UsageRecord) -> UsageRecord:
    """Append `record` with the next number, chained; return it with `number` and hashes filled in.

    Runs inside the caller's transaction: the numbers have no gap.
    """
    head = connection.execute("SELECT number, record_hash FROM usage_head").fetchone()
    number, previous_hash = (0, FIRST_PREVIOUS_HASH) if head is None else (head["number"], head["record_hash"])
    chained = msgspec.structs.replace(record, number=number + 1, previous_hash=previous_hash)
    body = canonical(chained)
    complete = msgspec.structs.replace(chained, record_hash=hash_of_body(body))
    connection.execute(
        "INSERT INTO usage_record (number, session_id, ended_unix_ms, body, record_hash, holder)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            complete.number,
            complete.session_id,
            complete.ended.unix_ms,
            body.decode(),
            complete.record_hash,
            complete.holder,
        ),
    )
    connection.execute(
        "INSERT INTO usage_head (only, number, record_hash) VALUES (1, ?, ?)"
        " ON CONFLICT (only) DO UPDATE SET number = excluded.number, record_hash = excluded.record_hash",
        (complete.number, complete.record_hash),
    )
    return complete


def found(connection: sqlite3.Connection, wanted: UsageFilter, limit: int | None = None) -> Iterator[UsageRecord]:
    """Yield the records that match `wanted`, by number, at most `limit` of them."""
    return map(_record, _rows(connection, _WITH_CARD, wanted, limit))


def figures_of(connection: sqlite3.Connection, wanted: UsageFilter) -> Iterator[UsageFigures]:
    """Yield the few figures needed for sums; much faster than whole records."""
    for row in _rows(connection, _FIGURES, wanted, None):
        yield UsageFigures(**{**dict(row), "card": number_format.masked(row["card"] or "")})


def newest(connection: sqlite3.Connection, wanted: UsageFilter, before: int | None, limit: int) -> list[UsageRecord]:
    """Return at most `limit` matching records, newest first; if `before` is given, only those numbered below it."""
    return list(map(_record, _rows(connection, _WITH_CARD, wanted, limit, before, "DESC")))


def stored(connection: sqlite3.Connection, number: int) -> tuple[UsageRecord, str, bool] | None:
    """Return record `number`, the canonical JSON that is hashed, and whether that JSON gives the record's hash."""
    row = connection.execute(f"{_WITH_CARD} WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    return _record(row), row["body"], hash_of_body(row["body"].encode()) == row["record_hash"]


def hash_of_session(connection: sqlite3.Connection, session_id: str) -> str | None:
    """Return the hash of a charge's record; None if it is not settled."""
    row = connection.execute("SELECT record_hash FROM usage_record WHERE session_id = ?", (session_id,)).fetchone()
    return None if row is None else str(row["record_hash"])


def as_written(connection: sqlite3.Connection, number: int) -> UsageRecord:
    """Return record `number` as it was written: nothing that can change, such as its resident's card, is in it."""
    row = connection.execute("SELECT body, record_hash FROM usage_record WHERE number = ?", (number,)).fetchone()
    return msgspec.structs.replace(_decoder.decode(row["body"]), record_hash=row["record_hash"])


def last_number(connection: sqlite3.Connection) -> int:
    return rows.number(connection, "SELECT coalesce(max(number), 0) FROM usage_record")


def _rows(
    connection: sqlite3.Connection,
    select: str,
    wanted: UsageFilter,
    limit: int | None,
    before: int | None = None,
    order: str = "ASC",
) -> Iterable[sqlite3.Row]:
    where, values = rows.where(
        ("number > ?", wanted.after),
        ("number < ?", before),
        ("ended_unix_ms >= ?", wanted.from_unix_ms),
        ("ended_unix_ms < ?", wanted.to_unix_ms),
        ("outlet = ?", wanted.outlet),
        ("usage_record.holder = ?", wanted.holder),
    )
    sql = f"{select} WHERE {where} ORDER BY number {order} LIMIT ?"
    return connection.execute(sql, (*values, -1 if limit is None else limit))


def _record(row: sqlite3.Row) -> UsageRecord:
    record = _decoder.decode(row["body"])
    card = record.card if row["card"] is None else number_format.masked(row["card"])
    return msgspec.structs.replace(record, card=card, record_hash=row["record_hash"])


def verify(connection: sqlite3.Connection, progress: Callable[[int], None] = lambda _: None) -> Verified:
    """Check the whole chain from the first record to the head; `progress` regularly gets the number of records done."""
    expected, previous_hash = 1, FIRST_PREVIOUS_HASH
    for row in connection.execute(
        "SELECT number, session_id, ended_unix_ms, body, record_hash, holder FROM usage_record ORDER BY number"
    ):
        problem = _problem(row, expected, previous_hash)
        if problem is not None:
            return Verified(expected - 1, BadRecord(min(row["number"], expected), problem))
        expected, previous_hash = expected + 1, row["record_hash"]
        if expected % RECORDS_A_STEP == 0:
            progress(expected - 1)
    head = connection.execute("SELECT number, record_hash FROM usage_head").fetchone()
    last, last_hash = (0, FIRST_PREVIOUS_HASH) if head is None else (head["number"], head["record_hash"])
    if last >= expected:
        return Verified(expected - 1, BadRecord(expected, f"dropped: the log ends before it, and had {last} records"))
    if last < expected - 1:
        return Verified(last, BadRecord(last + 1, f"inserted: the log had {last} records"))
    if last_hash != previous_hash:
        return Verified(expected - 2, BadRecord(expected - 1, "edited: it is not the last record that was written"))
    return Verified(expected - 1, None)


def _problem(row: sqlite3.Row, expected: int, previous_hash: str) -> str | None:
    """Return the problem of the record in `row`, or None; it should be number `expected`, after `previous_hash`."""
    number = row["number"]
    if number > expected:
        return "dropped: there is no such record"
    if number < expected:
        return "inserted: the log begins with number 1"
    if hash_of_body(row["body"].encode()) != row["record_hash"]:
        return "edited: its contents do not give its hash"
    try:
        record = msgspec.json.decode(row["body"])
    except msgspec.DecodeError:
        return "edited: its contents are no JSON"
    if record.get("number") != number:
        return f"reordered: it was written as number {record.get('number')}"
    if record.get("previous_hash") != previous_hash:
        return "edited: it does not follow from the record before it, one of the two was replaced"
    if (record.get("session_id"), (record.get("ended") or {}).get("unix_ms"), record.get("holder", "")) != (
        row["session_id"],
        row["ended_unix_ms"],
        row["holder"],
    ):
        return "edited: its columns differ from its contents"
    return None
