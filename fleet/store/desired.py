"""Desired things of cabinets by version, and the tariffs that were rolled out.

The fleet says what should be, the cabinet reports what is. The worker sends a version that the cabinet does not have;
the state message reports the version in force, or the reason why it was refused.
"""

import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from cabinet.errors import CabinetError, Refused
from cabinet.uplink.messages import MAX_MESSAGE, DesiredKind
from fleet.store import rows
from fleet.store.database import Connection

MAX_VALUE_BYTES = MAX_MESSAGE - 1024  # as JSON; the rest is for signature and names


class ValueTooLarge(CabinetError):
    """A value that fits into no message: the broker would close the connection of the worker that sends it."""


class DesiredRow(msgspec.Struct, frozen=True):
    """One desired thing. `applied_value` is the value in force, as the fleet set it under `applied_version`."""

    cabinet: str
    kind: DesiredKind
    version: int
    value: Any
    set_at: datetime.datetime
    applied_version: int
    applied_value: Any
    applied_at: datetime.datetime | None
    rejected: str | None
    sent_at: datetime.datetime | None

    @property
    def in_force(self) -> bool:
        return self.applied_version >= self.version


class TariffRow(msgspec.Struct, frozen=True):
    company_id: int
    version: str
    toml: str
    added: datetime.datetime


_DESIRED = "SELECT desired.* FROM desired JOIN cabinet ON cabinet.id = desired.cabinet WHERE company_id = %(company)s"


async def set_value(connection: Connection, company_id: int, cabinet: str, kind: DesiredKind, value: Any) -> int:
    """Set what should be in force, under the next version; return the version. An equal value keeps its version.

    Notifies `fleet_order`, on which the worker waits. Refuses unknown_cabinet. Raises ValueTooLarge.
    """
    size = len(msgspec.json.encode(value))
    if size > MAX_VALUE_BYTES:
        raise ValueTooLarge(f"{cabinet}: {kind} of {size} bytes together; at most {MAX_VALUE_BYTES} can be sent")
    version = await rows.value(
        connection,
        "INSERT INTO desired (cabinet, kind, version, value)"
        " SELECT id, %(kind)s, 1, %(value)s FROM cabinet WHERE company_id = %(company)s AND id = %(cabinet)s"
        " ON CONFLICT (cabinet, kind) DO UPDATE SET"
        " version = desired.version + CASE WHEN desired.value = excluded.value THEN 0 ELSE 1 END,"
        " set_at = CASE WHEN desired.value = excluded.value THEN desired.set_at ELSE now() END,"
        " rejected = CASE WHEN desired.value = excluded.value THEN desired.rejected END,"
        " sent_at = CASE WHEN desired.value = excluded.value THEN desired.sent_at END, value = excluded.value"
        " RETURNING version",
        {"company": company_id, "cabinet": cabinet, "kind": kind, "value": Jsonb(value)},
    )
    if version is None:
        raise Refused("unknown_cabinet")
    await connection.execute("NOTIFY fleet_order")
    return int(version)


async def get(connection: Connection, company_id: int, cabinet: str, kind: DesiredKind) -> DesiredRow | None:
    sql = f"{_DESIRED} AND cabinet.id = %(cabinet)s AND kind = %(kind)s"
    return await rows.one(connection, DesiredRow, sql, {"company": company_id, "cabinet": cabinet, "kind": kind})


async def of_kind(connection: Connection, company_id: int, kind: DesiredKind) -> list[DesiredRow]:
    """Return the desired things of one kind by cabinet: who has it, and who not yet."""
    sql = f"{_DESIRED} AND kind = %(kind)s ORDER BY cabinet.id"
    return await rows.many(connection, DesiredRow, sql, {"company": company_id, "kind": kind})


async def of_cabinet(connection: Connection, company_id: int, cabinet: str) -> list[DesiredRow]:
    sql = f"{_DESIRED} AND cabinet.id = %(cabinet)s ORDER BY kind"
    return await rows.many(connection, DesiredRow, sql, {"company": company_id, "cabinet": cabinet})


async def add_tariff(connection: Connection, company_id: int, version: str, toml: str) -> None:
    """Keep a tariff under its version. Idempotent; refuses name_taken if the version has another text."""
    kept = await rows.value(
        connection,
        "INSERT INTO tariff (company_id, version, toml) VALUES (%s, %s, %s)"
        " ON CONFLICT (company_id, version) DO UPDATE SET toml = tariff.toml RETURNING toml",
        (company_id, version, toml),
    )
    if kept != toml:
        raise Refused("name_taken")


async def tariffs(connection: Connection, company_id: int) -> list[TariffRow]:
    sql = "SELECT * FROM tariff WHERE company_id = %s ORDER BY added, version"
    return await rows.many(connection, TariffRow, sql, (company_id,))


async def tariff(connection: Connection, company_id: int, version: str) -> TariffRow | None:
    sql = "SELECT * FROM tariff WHERE company_id = %s AND version = %s"
    return await rows.one(connection, TariffRow, sql, (company_id, version))
