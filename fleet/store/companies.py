"""Property companies and their sites."""

import datetime

import msgspec
import psycopg

from cabinet.errors import Refused
from fleet.store import rows
from fleet.store.database import Connection


class CompanyRow(msgspec.Struct, frozen=True):
    id: int
    name: str
    complaint_phone: str
    added: datetime.datetime


class SiteRow(msgspec.Struct, frozen=True):
    id: int
    company_id: int
    name: str
    address: str
    site_group: str
    timezone: str


async def add(connection: Connection, name: str) -> int:
    """Add a company; return its id. Refuses name_taken."""
    company_id = await rows.value(
        connection, "INSERT INTO company (name) VALUES (%s) ON CONFLICT DO NOTHING RETURNING id", (name,)
    )
    if company_id is None:
        raise Refused("name_taken")
    return int(company_id)


async def everyone(connection: Connection) -> list[CompanyRow]:
    """Return all companies by name; for the operator of the fleet only."""
    return await rows.many(connection, CompanyRow, "SELECT * FROM company ORDER BY name")


async def by_name(connection: Connection, name: str) -> CompanyRow | None:
    return await rows.one(connection, CompanyRow, "SELECT * FROM company WHERE name = %s", (name,))


async def get(connection: Connection, company_id: int) -> CompanyRow | None:
    return await rows.one(connection, CompanyRow, "SELECT * FROM company WHERE id = %s", (company_id,))


async def add_site(
    connection: Connection,
    company_id: int,
    name: str,
    address: str = "",
    site_group: str = "",
    timezone: str = "Asia/Shanghai",
) -> int:
    """Add a site; return its id. Refuses name_taken, unknown_company."""
    try:
        async with connection.transaction():
            site_id = await rows.value(
                connection,
                "INSERT INTO site (company_id, name, address, site_group, timezone) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING id",
                (company_id, name, address, site_group, timezone),
            )
    except psycopg.errors.ForeignKeyViolation:
        raise Refused("unknown_company") from None
    if site_id is None:
        raise Refused("name_taken")
    return int(site_id)


async def sites(connection: Connection, company_id: int, groups: list[str] | None = None) -> list[SiteRow]:
    """Return the sites of a company by name; only those in `groups`, unless that is empty."""
    return await rows.many(
        connection,
        SiteRow,
        "SELECT * FROM site WHERE company_id = %s AND (cardinality(%s::text[]) = 0 OR site_group = ANY(%s::text[]))"
        " ORDER BY name",
        (company_id, groups or [], groups or []),
    )


async def site_by_name(connection: Connection, company_id: int, name: str) -> SiteRow | None:
    sql = "SELECT * FROM site WHERE company_id = %s AND name = %s"
    return await rows.one(connection, SiteRow, sql, (company_id, name))
