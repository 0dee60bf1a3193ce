"""Facts as they arrived: those set aside, alarms and trips of cabinets, positions. Only `fleet.ingest` writes."""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection


class SetAside(msgspec.Struct, frozen=True):
    """A fact that could not be taken up, and the reason; the facts after it were."""

    cabinet: str
    epoch: str
    number: int
    kind: str
    body: str
    received: datetime.datetime
    refused: str


class AlarmRow(msgspec.Struct, frozen=True):
    """A fault of a cabinet (outlet 0) or an outlet; it lasts while `cleared_unix_ms` is None."""

    cabinet: str
    outlet: int
    fault: str
    raised_unix_ms: int
    cleared_unix_ms: int | None


class TripRow(msgspec.Struct, frozen=True):
    cabinet: str
    epoch: str
    fact_number: int
    outlet: int
    fault: str
    at_unix_ms: int
    peak_ma: int | None
    session_id: str | None


class Position(msgspec.Struct, frozen=True):
    cabinet: str
    epoch: str
    number: int  # the highest contiguous one that is committed and applied
    highest: int  # above `number` while facts wait for a missing one
    usage_number: int
    usage_hash: str
    closing_number: int
    first_seen: datetime.datetime


_OF = (
    " JOIN cabinet ON cabinet.id = {0}.cabinet WHERE company_id = %(company)s"
    " AND (%(cabinet)s::text IS NULL OR {0}.cabinet = %(cabinet)s)"
)


async def set_aside(
    connection: Connection, company_id: int, cabinet: str | None = None, limit: int = 200
) -> list[SetAside]:
    """Return the facts of the company's cabinets that were set aside, newest first."""
    return await rows.many(
        connection,
        SetAside,
        f"SELECT fact.cabinet, fact.epoch, number, kind, body, received, refused FROM fact{_OF.format('fact')}"
        " AND refused IS NOT NULL ORDER BY received DESC, number DESC LIMIT %(limit)s",
        {"company": company_id, "cabinet": cabinet, "limit": limit},
    )


async def alarms(
    connection: Connection, company_id: int, cabinet: str | None = None, *, lasting: bool = True, limit: int = 200
) -> list[AlarmRow]:
    """Return alarms of the company's cabinets, newest first; only those that last now, unless `lasting` is False."""
    return await rows.many(
        connection,
        AlarmRow,
        f"SELECT alarm.cabinet, outlet, alarm.fault, raised_unix_ms, cleared_unix_ms FROM alarm{_OF.format('alarm')}"
        " AND (NOT %(lasting)s OR cleared_unix_ms IS NULL) ORDER BY raised_unix_ms DESC, outlet LIMIT %(limit)s",
        {"company": company_id, "cabinet": cabinet, "lasting": lasting, "limit": limit},
    )


async def trips(connection: Connection, company_id: int, cabinet: str | None = None, limit: int = 200) -> list[TripRow]:
    """Return trips of the company's cabinets, newest first."""
    return await rows.many(
        connection,
        TripRow,
        "SELECT trip.cabinet, trip.epoch, fact_number, outlet, trip.fault, at_unix_ms, peak_ma, session_id"
        f" FROM trip{_OF.format('trip')}"
        " ORDER BY at_unix_ms DESC, fact_number DESC LIMIT %(limit)s",
        {"company": company_id, "cabinet": cabinet, "limit": limit},
    )


async def positions(connection: Connection, company_id: int, cabinet: str) -> list[Position]:
    """Return the positions of a cabinet by epoch, the newest epoch first."""
    return await rows.many(
        connection,
        Position,
        f"SELECT fact_position.* FROM fact_position{_OF.format('fact_position')} ORDER BY first_seen DESC",
        {"company": company_id, "cabinet": cabinet},
    )


async def add_log_alarm(connection: Connection, cabinet: str, epoch: str, kind: str, number: int, detail: str) -> None:
    """Raise an alarm of a cabinet's log or link, once for each place. For the worker only."""
    await connection.execute(
        "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (cabinet, epoch, kind, number, detail),
    )
