"""The audit log: who did what on the property company's pages. Runs inside the caller's transaction."""

import sqlite3

from cabinet.clock import WallTime
from cabinet.service.office_views import Actor, AuditEntry, AuditFilter


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


def found(connection: sqlite3.Connection, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    """Newest first."""
    conditions: list[tuple[str, object]] = [
        ("number < ?", wanted.before),
        ("unix_ms >= ?", wanted.from_unix_ms),
        ("unix_ms < ?", wanted.to_unix_ms),
        ("staff = ?", wanted.staff or None),
        ("action = ?", wanted.action or None),
        ("resident_id = ?", wanted.resident_id),
    ]
    used = [(condition, value) for condition, value in conditions if value is not None]
    where = " AND ".join(["1", *(condition for condition, _ in used)])
    rows = connection.execute(
        f"SELECT * FROM audit_entry WHERE {where} ORDER BY number DESC LIMIT ?", (*(value for _, value in used), limit)
    )
    return [_entry(row) for row in rows]


def staff_names(connection: sqlite3.Connection) -> list[str]:
    return [str(row["staff"]) for row in connection.execute("SELECT DISTINCT staff FROM audit_entry ORDER BY staff")]


def _entry(row: sqlite3.Row) -> AuditEntry:
    return AuditEntry(
        number=row["number"],
        at=WallTime(row["unix_ms"], bool(row["trusted"])),
        staff=row["staff"],
        role=row["role"],
        address=row["address"],
        action=row["action"],
        resident_id=row["resident_id"],
        subject=row["subject"],
        detail=row["detail"],
    )
