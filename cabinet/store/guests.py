"""One-time codes for guests, in the database. Runs inside the caller's transaction."""

import sqlite3

import msgspec

from cabinet.store import rows


class GuestCodeRow(msgspec.Struct, frozen=True):
    """One code. `number` is its public half; of the other half only the hash is stored."""

    number: str
    resident_id: int
    secret_hash: str


def add(connection: sqlite3.Connection, row: GuestCodeRow, expires_unix_ms: int) -> None:
    connection.execute(
        "INSERT INTO guest_code (number, resident_id, secret_hash, expires_unix_ms) VALUES (?, ?, ?, ?)",
        (row.number, row.resident_id, row.secret_hash, expires_unix_ms),
    )


def by_number(connection: sqlite3.Connection, number: str, now_unix_ms: int) -> GuestCodeRow | None:
    """Return the code, if it may still be used."""
    sql = "SELECT * FROM guest_code WHERE number = ? AND expires_unix_ms > ?"
    return rows.one(connection, GuestCodeRow, sql, number, now_unix_ms)


def take(connection: sqlite3.Connection, number: str, resident_id: int) -> bool:
    """Use up the code. Return False if it was already used."""
    deleted = connection.execute(
        "DELETE FROM guest_code WHERE number = ? AND resident_id = ?", (number, resident_id)
    ).rowcount
    return deleted > 0


def remove_expired(connection: sqlite3.Connection, now_unix_ms: int) -> None:
    connection.execute("DELETE FROM guest_code WHERE expires_unix_ms <= ?", (now_unix_ms,))
