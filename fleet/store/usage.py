"""Mirrored usage logs of all cabinets, for reading. Only `fleet.ingest` writes them.

A record is named by cabinet, epoch and number: numbers are gapless in one epoch of one cabinet, so lists over many
cabinets are ordered by `received` and paged by (received, cabinet, epoch, number).
"""

import datetime
from collections.abc import AsyncIterator

import msgspec

from cabinet.records import SignedClosing, UsageHead, UsageRecord
from fleet.store import rows
from fleet.store.database import Connection


class FleetUsageFilter(msgspec.Struct, frozen=True):
    """A selection of records; times by the end of the charge as its cabinet's clock said, in [from, to)."""

    cabinet: str | None = None
    site_id: int | None = None
    from_unix_ms: int | None = None
    to_unix_ms: int | None = None
    outlet: int | None = None
    resident_id: int | None = None
    session_id: str | None = None


class MirroredRecord(msgspec.Struct, frozen=True):
    """A usage record with its place."""

    cabinet: str
    epoch: str
    number: int
    site_id: int
    order_number: str | None
    received: datetime.datetime
    body: str
    record_hash: str

    def record(self) -> UsageRecord:
        return msgspec.structs.replace(_decoder.decode(self.body), record_hash=self.record_hash)

    @property
    def place(self) -> tuple[datetime.datetime, str, str, int]:
        """Return the key of the next page."""
        return self.received, self.cabinet, self.epoch, self.number


class FleetSums(msgspec.Struct, frozen=True):
    records: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int


class PeriodSums(msgspec.Struct, frozen=True):
    """Sums of a day, month, cabinet or site; `name` is 2026-11-30, 2026-11, or an id."""

    name: str
    records: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int


class LogAlarm(msgspec.Struct, frozen=True):
    """A problem of a mirrored log: gap, fork, rewrite, bad_hash, bad_signature, other_key."""

    id: int
    cabinet: str
    epoch: str
    kind: str
    number: int
    detail: str
    raised: datetime.datetime


_decoder = msgspec.json.Decoder(UsageRecord)

_FIELDS = (
    "usage_record.cabinet, usage_record.epoch, usage_record.number, usage_record.site_id, order_number,"
    " usage_record.received, body, record_hash"
)
_WHERE = (
    " FROM usage_record JOIN site ON site.id = usage_record.site_id WHERE usage_record.company_id = %(company)s"
    " AND (cardinality(%(groups)s::text[]) = 0 OR site_group = ANY(%(groups)s::text[]))"
    " AND (%(cabinet)s::text IS NULL OR cabinet = %(cabinet)s)"
    " AND (%(site_id)s::bigint IS NULL OR site_id = %(site_id)s)"
    " AND (%(from_unix_ms)s::bigint IS NULL OR ended_unix_ms >= %(from_unix_ms)s)"
    " AND (%(to_unix_ms)s::bigint IS NULL OR ended_unix_ms < %(to_unix_ms)s)"
    " AND (%(outlet)s::int IS NULL OR outlet = %(outlet)s)"
    " AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)"
    " AND (%(resident_id)s::bigint IS NULL OR order_number IN (SELECT number FROM charge_order"
    " WHERE charge_order.company_id = %(company)s AND resident_id = %(resident_id)s))"
)
_SUMS = (
    "count(*) AS records, coalesce(sum(energy_mwh), 0)::bigint AS energy_mwh,"
    " coalesce(sum(electricity_fen), 0)::bigint AS electricity_fen,"
    " coalesce(sum(service_fen), 0)::bigint AS service_fen"
)


async def newest(
    connection: Connection,
    company_id: int,
    wanted: FleetUsageFilter,
    groups: list[str] | None = None,
    before: tuple[datetime.datetime, str, str, int] | None = None,
    limit: int = 50,
) -> list[MirroredRecord]:
    """Return matching records, the last received first; `before` is the `place` of the last one of the page before."""
    parameters = _parameters(company_id, wanted, groups) | {"limit": limit}
    page = ""
    if before is not None:
        page = " AND (usage_record.received, cabinet, epoch, usage_record.number) < (%(r)s, %(c)s, %(e)s, %(n)s)"
        parameters |= dict(zip("rcen", before, strict=True))
    return await rows.many(
        connection,
        MirroredRecord,
        f"SELECT {_FIELDS}{_WHERE}{page}"
        " ORDER BY usage_record.received DESC, cabinet DESC, epoch DESC, usage_record.number DESC LIMIT %(limit)s",
        parameters,
    )


def all_records(
    connection: Connection, company_id: int, wanted: FleetUsageFilter, groups: list[str] | None = None
) -> AsyncIterator[MirroredRecord]:
    """Yield matching records by cabinet, epoch and number, as a stream: needs an open transaction."""
    return rows.stream(
        connection,
        MirroredRecord,
        f"SELECT {_FIELDS}{_WHERE} ORDER BY cabinet, epoch, usage_record.number",
        _parameters(company_id, wanted, groups),
    )


async def sums(
    connection: Connection, company_id: int, wanted: FleetUsageFilter, groups: list[str] | None = None
) -> FleetSums:
    """Return the sums of all matching records."""
    found = await rows.one(connection, FleetSums, f"SELECT {_SUMS}{_WHERE}", _parameters(company_id, wanted, groups))
    assert found is not None
    return found


async def sums_by(
    connection: Connection,
    company_id: int,
    wanted: FleetUsageFilter,
    unit: str,
    groups: list[str] | None = None,
) -> list[PeriodSums]:
    """Return sums by `unit`: day or month (in the site's time), cabinet or site."""
    local = "to_char(to_timestamp(ended_unix_ms / 1000.0) AT TIME ZONE site.timezone, "
    name = {
        "day": f"{local}'YYYY-MM-DD')", "month": f"{local}'YYYY-MM')", "cabinet": "cabinet", "site": "site.name",
    }[unit]  # fmt: skip
    return await rows.many(
        connection,
        PeriodSums,
        f"SELECT {name} AS name, {_SUMS}{_WHERE} GROUP BY 1 ORDER BY 1",
        _parameters(company_id, wanted, groups),
    )


async def record(
    connection: Connection, company_id: int, cabinet: str, epoch: str, number: int
) -> MirroredRecord | None:
    sql = f"SELECT {_FIELDS} FROM usage_record WHERE company_id = %s AND cabinet = %s AND epoch = %s AND number = %s"
    return await rows.one(connection, MirroredRecord, sql, (company_id, cabinet, epoch, number))


async def of_order(connection: Connection, company_id: int, order_number: str) -> MirroredRecord | None:
    """Return the record of an order, once it is settled: the resident's receipt."""
    sql = f"SELECT {_FIELDS} FROM usage_record WHERE company_id = %s AND order_number = %s ORDER BY received LIMIT 1"
    return await rows.one(connection, MirroredRecord, sql, (company_id, order_number))


async def closings(connection: Connection, company_id: int, cabinet: str) -> list[tuple[str, SignedClosing]]:
    """Return the signed closings of a cabinet with their epochs, the oldest first."""
    cursor = await connection.execute(
        "SELECT usage_closing.epoch, body, signature FROM usage_closing"
        " JOIN cabinet ON cabinet.id = usage_closing.cabinet WHERE company_id = %s AND cabinet.id = %s"
        " ORDER BY received, number",
        (company_id, cabinet),
    )
    return [
        (epoch, msgspec.convert({"closing": msgspec.json.decode(body), "signature": signature}, SignedClosing))
        for epoch, body, signature in await cursor.fetchall()
    ]


async def heads(connection: Connection, company_id: int, cabinet: str) -> list[UsageHead]:
    """Return the last record of every day of a cabinet, as the cabinet's own `usage verify` takes it."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (day) day, body::jsonb ->> 'site_id', number, record_hash FROM"
        " (SELECT usage_record.*, to_char(to_timestamp(ended_unix_ms / 1000.0) AT TIME ZONE timezone, 'YYYY-MM-DD')"
        " AS day FROM usage_record JOIN site ON site.id = usage_record.site_id WHERE usage_record.company_id = %s"
        " AND cabinet = %s) AS records ORDER BY day, number DESC, received DESC",
        (company_id, cabinet),
    )
    return [UsageHead(*row) for row in await cursor.fetchall()]


async def log_alarms(
    connection: Connection, company_id: int, cabinet: str | None = None, limit: int = 200
) -> list[LogAlarm]:
    """Return problems of the company's mirrored logs, the newest first."""
    return await rows.many(
        connection,
        LogAlarm,
        "SELECT log_alarm.* FROM log_alarm JOIN cabinet ON cabinet.id = log_alarm.cabinet"
        " WHERE company_id = %(company)s AND (%(cabinet)s::text IS NULL OR log_alarm.cabinet = %(cabinet)s)"
        " ORDER BY log_alarm.id DESC LIMIT %(limit)s",
        {"company": company_id, "cabinet": cabinet, "limit": limit},
    )


def _parameters(company_id: int, wanted: FleetUsageFilter, groups: list[str] | None) -> dict[str, object]:
    return {"company": company_id, "groups": groups or [], **msgspec.structs.asdict(wanted)}
