"""Orders of the fleet, each once, and the versions of what it wants in force. Runs in the caller's transaction."""

import sqlite3
from typing import Literal

import msgspec

from cabinet.clock import WallTime
from cabinet.model import EndReason
from cabinet.store import rows

KEPT_MS = 31 * 86_400_000

OrderState = Literal["received", "accepted", "refused", "ended"]


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of table `fleet_order`. received: on disk, and the guard has not answered yet."""

    order_number: str
    payload_hash: str
    outlet: int
    state: OrderState
    code: str | None = None
    session_id: str | None = None
    end_reason: EndReason | None = None


class DesiredRow(msgspec.Struct, frozen=True):
    """Columns of table `desired_version`; `version` 0 and an empty value: none was taken yet."""

    kind: str
    version: int
    value: str
    rejected_version: int | None = None
    rejected: str | None = None


def by_number(connection: sqlite3.Connection, order_number: str) -> OrderRow | None:
    return rows.one(connection, OrderRow, "SELECT * FROM fleet_order WHERE order_number = ?", order_number)


def insert(connection: sqlite3.Connection, row: OrderRow, wall: WallTime) -> None:
    connection.execute(
        "INSERT INTO fleet_order (order_number, payload_hash, unix_ms, trusted, outlet, state, code, session_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.order_number, row.payload_hash, wall.unix_ms, wall.trusted, row.outlet, row.state, row.code,
            row.session_id,
        ),
    )  # fmt: skip


def accept(connection: sqlite3.Connection, order_number: str) -> None:
    """Note that the guard closed the outlet."""
    connection.execute(
        "UPDATE fleet_order SET state = 'accepted' WHERE order_number = ? AND state = 'received'", (order_number,)
    )


def refuse(connection: sqlite3.Connection, order_number: str, code: str) -> None:
    """Note that no charge began: nothing is owed."""
    connection.execute(
        "UPDATE fleet_order SET state = 'refused', code = ? WHERE order_number = ? AND state = 'received'",
        (code, order_number),
    )


def end(connection: sqlite3.Connection, order_number: str, reason: EndReason) -> None:
    """Note that the charge is over; a refused order stays refused."""
    connection.execute(
        "UPDATE fleet_order SET state = 'ended', end_reason = ?"
        " WHERE order_number = ? AND state IN ('received', 'accepted')",
        (reason.value, order_number),
    )


def delete_old_refused(connection: sqlite3.Connection, wall: WallTime) -> None:
    """Delete orders without a session that were refused `KEPT_MS` ago."""
    connection.execute("DELETE FROM fleet_order WHERE session_id IS NULL AND unix_ms < ?", (wall.unix_ms - KEPT_MS,))


def desired(connection: sqlite3.Connection) -> dict[str, DesiredRow]:
    found = rows.many(connection, DesiredRow, "SELECT * FROM desired_version ORDER BY kind")
    return {row.kind: row for row in found}


def take(connection: sqlite3.Connection, kind: str, version: int, value: str, wall: WallTime) -> None:
    """Note that `version` of `kind` is in force."""
    connection.execute(
        "INSERT INTO desired_version (kind, version, value, unix_ms) VALUES (?, ?, ?, ?) ON CONFLICT (kind) DO UPDATE"
        " SET version = excluded.version, value = excluded.value, unix_ms = excluded.unix_ms,"
        " rejected_version = NULL, rejected = NULL",
        (kind, version, value, wall.unix_ms),
    )


def reject(connection: sqlite3.Connection, kind: str, version: int, reason: str, wall: WallTime) -> None:
    """Note that `version` of `kind` was rejected; the version in force stays."""
    connection.execute(
        "INSERT INTO desired_version (kind, version, value, rejected_version, rejected, unix_ms)"
        " VALUES (?, 0, '', ?, ?, ?) ON CONFLICT (kind) DO UPDATE SET rejected_version = excluded.rejected_version,"
        " rejected = excluded.rejected, unix_ms = excluded.unix_ms",
        (kind, version, reason, wall.unix_ms),
    )
