"""Audit log: the actions of people on the property pages and on the console. Runs in the caller's transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from cabinet.clock import WallTime
from cabinet.link.service_protocol import ConsoleAuditEntry
from cabinet.records import Actor, AuditEntry, AuditFilter
from cabinet.store import rows


def add(
    connection: sqlite3.Connection,
    wall: WallTime,
    actor: Actor,
    action: str,
    *,
    resident_id: int | None = None,
    subject: str = "",
    detail: str = "",
) -> None:
    connection.execute(
        "INSERT INTO audit_entry (unix_ms, trusted, staff, role, address, action, resident_id, subject, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            wall.unix_ms, wall.trusted, actor.staff.name, actor.staff.role, actor.address, action, resident_id,
            subject, detail,
        ),
    )  # fmt: skip


CONSOLE = "console"  # both the action and the address of a console entry


def add_console(connection: sqlite3.Connection, entries: Sequence[ConsoleAuditEntry]) -> int:
    """Add entries of the console's log, each once even if it is sent repeatedly; return the number of new ones."""
    new = 0
    for entry in entries:
        if connection.execute(
            "SELECT 1 FROM console_entry WHERE journal = ? AND seq = ?", (entry.journal, entry.seq)
        ).fetchone():
            continue
        cursor = connection.execute(
            "INSERT INTO audit_entry (unix_ms, trusted, staff, role, address, action, subject, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.at.unix_ms, entry.at.trusted, entry.account, entry.level, CONSOLE, CONSOLE, entry.line,
                entry.outcome,
            ),
        )  # fmt: skip
        connection.execute(
            "INSERT INTO console_entry (journal, seq, number) VALUES (?, ?, ?)",
            (entry.journal, entry.seq, cursor.lastrowid),
        )
        new += 1
    return new


def found(connection: sqlite3.Connection, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    """Return the matching entries, newest first."""
    where, values = rows.where(
        ("number < ?", wanted.before),
        ("unix_ms >= ?", wanted.from_unix_ms),
        ("unix_ms < ?", wanted.to_unix_ms),
        ("staff = ?", wanted.staff or None),
        ("action = ?", wanted.action or None),
        ("resident_id = ?", wanted.resident_id),
    )
    sql = f"SELECT * FROM audit_entry WHERE {where} ORDER BY number DESC LIMIT ?"
    return [_entry(**dict(row)) for row in connection.execute(sql, (*values, limit))]


def staff_names(connection: sqlite3.Connection) -> list[str]:
    return [str(row["staff"]) for row in connection.execute("SELECT DISTINCT staff FROM audit_entry ORDER BY staff")]


def _entry(unix_ms: int, trusted: int, **columns: Any) -> AuditEntry:
    return AuditEntry(at=WallTime(unix_ms, bool(trusted)), **columns)
