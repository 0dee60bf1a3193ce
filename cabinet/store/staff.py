"""Staff accounts in the database. Runs inside the caller's transaction.

A password is stored as its argon2 hash only.
"""

import sqlite3

import msgspec

from cabinet.records import Role
from cabinet.store import rows


class StaffRow(msgspec.Struct, frozen=True):
    id: int
    name: str
    password_hash: str
    role: Role = "operator"


def add(connection: sqlite3.Connection, name: str, password_hash: str, unix_ms: int, role: Role = "operator") -> int:
    cursor = connection.execute(
        "INSERT INTO staff (name, password_hash, added_unix_ms, role) VALUES (?, ?, ?, ?)",
        (name, password_hash, unix_ms, role),
    )
    assert cursor.lastrowid is not None  # an INSERT that did not raise has one
    return cursor.lastrowid


def by_name(connection: sqlite3.Connection, name: str) -> StaffRow | None:
    """Return the login of this name, in any spelling; if several are alike, the one with this exact spelling."""
    return rows.by_spelling(all_staff(connection), name)


def by_id(connection: sqlite3.Connection, staff_id: int) -> StaffRow | None:
    return rows.one(connection, StaffRow, "SELECT * FROM staff WHERE id = ?", staff_id)


def all_staff(connection: sqlite3.Connection) -> list[StaffRow]:
    return rows.many(connection, StaffRow, "SELECT * FROM staff ORDER BY name")


def set_role(connection: sqlite3.Connection, staff_id: int, role: Role) -> None:
    connection.execute("UPDATE staff SET role = ? WHERE id = ?", (role, staff_id))


def set_password(connection: sqlite3.Connection, staff_id: int, password_hash: str) -> None:
    """Set the hash of a new password; all sign-ins of the login end."""
    connection.execute("UPDATE staff SET password_hash = ? WHERE id = ?", (password_hash, staff_id))
    connection.execute("DELETE FROM login WHERE staff_id = ?", (staff_id,))


def remove(connection: sqlite3.Connection, name: str) -> bool:
    """Remove a login and its sign-ins. Return False if there is none."""
    return connection.execute("DELETE FROM staff WHERE name = ?", (name,)).rowcount > 0
