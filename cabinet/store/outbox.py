"""Outbox: facts for the fleet, numbered without gaps, each written in the transaction of the fact itself.

Runs inside the caller's transaction. Without a row in `uplink` (`begin`) no fact is written at all.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from cabinet.clock import WallTime
from cabinet.store import residents, usage
from cabinet.uplink import messages
from cabinet.uplink.messages import Fact, FactBody, SessionSettled

KEPT_MS = 31 * 86_400_000  # after its acknowledgement; a fleet restored from a backup of that age can still have it
MAX_ANSWER = 128 * 1024  # bytes of facts in one answer; a usage record has about 1.5 kB
_SETTLED = "session_settled"


class OutboxPosition(NamedTuple):
    """The highest numbers written and acknowledged; `epoch` names the store."""

    epoch: str
    facts: int
    acked: int


def begin(connection: sqlite3.Connection, wall: WallTime) -> bool:
    """Begin an epoch if there is none: the usage log and its closings so far become the first facts, in order.

    Return whether it began now.
    """
    if position(connection) is not None:
        return False
    resident_id = residents.add_fleet_row(connection, wall.unix_ms)
    connection.execute(
        "INSERT INTO uplink (only, epoch, resident_id) VALUES (1, ?, ?)", (secrets.token_hex(8), resident_id)
    )
    connection.execute(
        "INSERT INTO outbox (number, kind, body, usage_number, unix_ms, trusted)"
        " SELECT row_number() OVER (ORDER BY place, later), kind, body, usage_number, ?, ? FROM ("
        "  SELECT number AS place, 0 AS later, ? AS kind, NULL AS body, number AS usage_number FROM usage_record"
        "  UNION ALL"
        "  SELECT body ->> '$.last_number', number, 'month_closed',"
        "   json_object('kind', 'month_closed', 'signed', json_object('closing', json(body), 'signature', signature)),"
        "   NULL FROM usage_closing)",
        (wall.unix_ms, wall.trusted, _SETTLED),
    )
    connection.execute("UPDATE uplink SET facts = (SELECT coalesce(max(number), 0) FROM outbox)")
    return True


def forget(connection: sqlite3.Connection) -> None:
    """End the epoch, as in a restored backup: the next `begin` starts another one with number 1."""
    connection.execute("DELETE FROM outbox")
    connection.execute("DELETE FROM uplink")
    connection.execute("DELETE FROM reported_alarm")


def position(connection: sqlite3.Connection) -> OutboxPosition | None:
    """Return the position; None if no epoch has begun."""
    row = connection.execute("SELECT epoch, facts, acked FROM uplink").fetchone()
    return None if row is None else OutboxPosition(*row)


def fleet_resident_id(connection: sqlite3.Connection) -> int:
    """Return the row that charges of the fleet's orders refer to. An epoch has begun."""
    return int(connection.execute("SELECT resident_id FROM uplink").fetchone()[0])


def add(connection: sqlite3.Connection, fact: FactBody, wall: WallTime) -> None:
    """Write the next fact."""
    body = messages.encode_fact(fact).decode()
    _add(connection, str(type(fact).__struct_config__.tag), body, None, wall)


def add_settled(connection: sqlite3.Connection, usage_number: int, wall: WallTime) -> None:
    """Write the next fact: the charge of this usage record is settled."""
    _add(connection, _SETTLED, None, usage_number, wall)


def _add(connection: sqlite3.Connection, kind: str, body: str | None, usage_number: int | None, wall: WallTime) -> None:
    found = connection.execute("UPDATE uplink SET facts = facts + 1 RETURNING facts").fetchall()
    connection.executemany(
        "INSERT INTO outbox (number, kind, body, usage_number, unix_ms, trusted) VALUES (?, ?, ?, ?, ?, ?)",
        [(row["facts"], kind, body, usage_number, wall.unix_ms, wall.trusted) for row in found],
    )


def after(connection: sqlite3.Connection, number: int, most: int) -> list[Fact]:
    """Return at most `most` facts after `number`, in order, within `MAX_ANSWER`; the same bytes each time."""
    facts: list[Fact] = []
    size = 0
    for fact in _facts(connection, number, most):
        size += len(bytes(fact.body))
        if facts and size > MAX_ANSWER:
            break
        facts.append(fact)
    return facts


def _facts(connection: sqlite3.Connection, number: int, most: int) -> Iterator[Fact]:
    rows = connection.execute(
        "SELECT outbox.number AS number, outbox.body AS body, outbox.usage_number AS usage_number, fleet_order"
        " FROM outbox"
        " LEFT JOIN usage_record ON usage_record.number = outbox.usage_number"
        " LEFT JOIN session ON session.session_id = usage_record.session_id"
        " WHERE outbox.number > ? ORDER BY outbox.number LIMIT ?",
        (number, most),
    ).fetchall()
    for row in rows:
        if row["usage_number"] is None:
            yield Fact(row["number"], msgspec.Raw(row["body"].encode()))
        else:
            record = usage.as_written(connection, row["usage_number"])
            yield Fact(row["number"], msgspec.Raw(messages.encode_fact(SessionSettled(record, row["fleet_order"]))))


def acknowledge(connection: sqlite3.Connection, number: int, wall: WallTime) -> bool:
    """Note that the fleet has all facts up to `number`. Return False, and note nothing, if none has such a number."""
    found = position(connection)
    if found is None or number > found.facts:
        return False
    if number > found.acked:
        connection.execute(
            "UPDATE outbox SET acked_unix_ms = ? WHERE number > ? AND number <= ?", (wall.unix_ms, found.acked, number)
        )
        connection.execute("UPDATE uplink SET acked = ?", (number,))
    return True


def rewind(connection: sqlite3.Connection, number: int) -> bool:
    """Have the facts after `number` sent again, as far as they are kept. Return False if none has such a number."""
    found = position(connection)
    if found is None or number > found.facts:
        return False
    kept = connection.execute("SELECT coalesce(min(number), 0) AS first FROM outbox").fetchone()["first"]
    connection.execute("UPDATE uplink SET acked = ? WHERE acked > ?", (max(number, kept - 1),) * 2)
    return True


def oldest_unacknowledged_ms(connection: sqlite3.Connection) -> int | None:
    """Return the time of the oldest fact that the fleet has not acknowledged; None if there is none."""
    row = connection.execute("SELECT unix_ms FROM outbox WHERE number = (SELECT acked + 1 FROM uplink)").fetchone()
    return None if row is None else int(row["unix_ms"])


def delete_old(connection: sqlite3.Connection, wall: WallTime) -> int:
    """Delete the facts acknowledged `KEPT_MS` ago; return their number."""
    return connection.execute("DELETE FROM outbox WHERE acked_unix_ms < ?", (wall.unix_ms - KEPT_MS,)).rowcount


# --- alarms ----------------------------------------------------------------------------------------------------------


def reported_alarms(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the faults that stand, by outlet, as they were last written."""
    return dict(map(tuple, connection.execute("SELECT outlet, fault FROM reported_alarm")))


def set_reported_alarm(connection: sqlite3.Connection, outlet: int, fault: str | None) -> None:
    """Note the fault that stands at an outlet after its fact; None: none any more."""
    connection.execute("DELETE FROM reported_alarm WHERE outlet = ?", (outlet,))
    if fault is not None:
        connection.execute("INSERT INTO reported_alarm VALUES (?, ?)", (outlet, fault))
