"""Power queue in the database: the residents who wait for power. Runs inside the caller's transaction."""

import sqlite3
from typing import Literal

import msgspec

from cabinet.store import rows
from cabinet.store.moment import Moment


class WaitingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of table `waiting`, under the same names."""

    number: int
    resident_id: int
    outlet: int
    code: str
    choice: Literal["full", "hours", "amount", "package"]
    choice_amount: int
    since: Moment
    attempts: int = 0
    outcome: str | None = None


def all_entries(connection: sqlite3.Connection) -> list[WaitingRow]:
    """Return all entries in the order of arrival, including those that ended without a charge."""
    return [_to_row(record) for record in connection.execute("SELECT * FROM waiting ORDER BY number")]


def of_resident(connection: sqlite3.Connection, resident_id: int) -> WaitingRow | None:
    record = connection.execute("SELECT * FROM waiting WHERE resident_id = ?", (resident_id,)).fetchone()
    return None if record is None else _to_row(record)


def waits_at(connection: sqlite3.Connection, outlet: int) -> WaitingRow | None:
    record = connection.execute("SELECT * FROM waiting WHERE outlet = ? AND outcome IS NULL", (outlet,)).fetchone()
    return None if record is None else _to_row(record)


def next_number(connection: sqlite3.Connection) -> int:
    return rows.number(connection, "SELECT coalesce(max(number), 0) + 1 FROM waiting")


def put(connection: sqlite3.Connection, row: WaitingRow) -> None:
    """Add `row`; it replaces the earlier entry of its resident."""
    connection.execute("DELETE FROM waiting WHERE resident_id = ?", (row.resident_id,))
    connection.execute(
        "INSERT INTO waiting (number, resident_id, outlet, code, choice, choice_amount, since, attempts, outcome)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.number, row.resident_id, row.outlet, row.code, row.choice, row.choice_amount,
            msgspec.json.encode(row.since).decode(), row.attempts, row.outcome,
        ),
    )  # fmt: skip


def note(connection: sqlite3.Connection, row: WaitingRow) -> None:
    """Set attempts and outcome of the entry, if it still exists."""
    connection.execute(
        "UPDATE waiting SET attempts = ?, outcome = ? WHERE number = ? AND resident_id = ?",
        (row.attempts, row.outcome, row.number, row.resident_id),
    )


def remove(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM waiting WHERE number = ?", (number,))


def _to_row(record: sqlite3.Row) -> WaitingRow:
    values = {name: record[name] for name in WaitingRow.__struct_fields__}
    values["since"] = msgspec.json.decode(record["since"])
    return msgspec.convert(values, WaitingRow)
