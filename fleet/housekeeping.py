"""Upkeep of the database by the worker: partitions ahead, old data, silent cabinets, facts that are missing."""

import datetime

from fleet.config import RetentionSection
from fleet.states import mark_silent
from fleet.store import logins, rows
from fleet.store.database import Connection

MONTHS_AHEAD = 2
HOLE_AFTER = datetime.timedelta(hours=1)
DELETE_AT_ONCE = 20_000  # facts in one transaction


def month_after(day: datetime.date, months: int) -> datetime.date:
    """Return the first day of the month `months` after that of `day`; before it, if negative."""
    count = day.year * 12 + day.month - 1 + months
    return datetime.date(count // 12, count % 12 + 1, 1)


async def make_partitions(connection: Connection, today: datetime.date) -> None:
    """Create the partitions of this month and the next two.

    PostgreSQL makes no partition for rows that are in `telemetry_other` already, as after a long stop of the worker or
    a step of its clock: such a month stays there.
    """
    for months in range(MONTHS_AHEAD + 1):
        begin, end = month_after(today, months), month_after(today, months + 1)
        held = "SELECT EXISTS (SELECT 1 FROM telemetry_other WHERE at >= %s AND at < %s)"
        if await rows.value(connection, held, (begin, end)):
            continue
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS telemetry_{begin:%Y_%m} PARTITION OF telemetry"
            f" FOR VALUES FROM ('{begin}') TO ('{end}')".encode()
        )


async def drop_partitions(connection: Connection, today: datetime.date, keep_months: int) -> list[str]:
    """Drop whole months of telemetry that are older than `keep_months`; return the names of the tables."""
    oldest = f"telemetry_{month_after(today, -keep_months):%Y_%m}"
    cursor = await connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'telemetry'::regclass"
    )
    names = sorted(name for (name,) in await cursor.fetchall() if name[10:14].isdigit() and name < oldest)
    for name in names:
        await connection.execute(f"DROP TABLE {name}".encode())
    await connection.execute("DELETE FROM telemetry_other WHERE at < %s", (month_after(today, -keep_months),))
    return names


async def drop_facts(connection: Connection, days: int) -> int:
    """Delete facts that were applied so long ago; those that wait or were set aside stay. Return their number."""
    cursor = await connection.execute(
        "DELETE FROM fact WHERE ctid IN (SELECT fact.ctid FROM fact JOIN fact_position USING (cabinet, epoch)"
        " WHERE received < now() - make_interval(days => %s) AND refused IS NULL"
        " AND fact.number <= fact_position.number LIMIT %s)",
        (days, DELETE_AT_ONCE),
    )
    return cursor.rowcount


async def report_holes(connection: Connection) -> None:
    """Raise an alarm for a fact that is missing while later ones wait for it."""
    await connection.execute(
        "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail)"
        " SELECT cabinet, epoch, 'missing_fact', number + 1, 'facts up to ' || highest || ' wait for it'"
        " FROM fact_position WHERE highest > number AND NOT EXISTS (SELECT 1 FROM fact"
        " WHERE fact.cabinet = fact_position.cabinet AND fact.epoch = fact_position.epoch"
        " AND fact.number > fact_position.number AND received > now() - %s::interval) ON CONFLICT DO NOTHING",
        (HOLE_AFTER,),
    )


async def behind(connection: Connection) -> list[tuple[str, str, int]]:
    """Return cabinet, epoch and position of online cabinets that were told of more than is here: after a restore."""
    cursor = await connection.execute(
        "SELECT id, cabinet.epoch, coalesce(number, 0) FROM cabinet LEFT JOIN fact_position"
        " ON fact_position.cabinet = id AND fact_position.epoch = cabinet.epoch"
        " WHERE online AND revoked IS NULL AND state ->> 'epoch' = cabinet.epoch"
        " AND (state ->> 'acked')::bigint > coalesce(number, 0)"
    )
    return await cursor.fetchall()


async def hourly(connection: Connection, retention: RetentionSection) -> None:
    """Do the upkeep of an hour."""
    today: datetime.date = await rows.value(connection, "SELECT current_date")
    await make_partitions(connection, today)
    await drop_partitions(connection, today, retention.telemetry_months)
    await drop_facts(connection, retention.fact_days)
    await report_holes(connection)
    await logins.drop_old(connection)


async def every_minute(connection: Connection) -> None:
    await mark_silent(connection)
