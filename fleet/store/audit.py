"""Audit log of companies: one row for each action of a person, in the transaction of the action. Never changed."""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection


class FleetAuditRow(msgspec.Struct, frozen=True):
    """`company_id` is None for an action of the fleet's operator that concerns no company."""

    id: int
    company_id: int | None
    at: datetime.datetime
    staff: str
    role: str
    address: str
    action: str
    resident_id: int | None
    subject: str
    detail: str


class FleetAuditFilter(msgspec.Struct, frozen=True):
    """A selection of entries: below `before`, made in [begin, end), by one person, one action, one resident."""

    before: int | None = None
    begin: datetime.datetime | None = None
    end: datetime.datetime | None = None
    staff: str = ""
    action: str = ""
    resident_id: int | None = None


async def add(
    connection: Connection,
    company_id: int | None,
    staff: str,
    action: str,
    *,
    role: str = "",
    address: str = "",
    resident_id: int | None = None,
    subject: str = "",
    detail: str = "",
) -> None:
    """Add an entry; `staff` is the name of the login, or of the account that ran a command."""
    await connection.execute(
        "INSERT INTO audit (company_id, staff, role, address, action, resident_id, subject, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (company_id, staff, role, address, action, resident_id, subject, detail),
    )


async def entries(
    connection: Connection, company_id: int, wanted: FleetAuditFilter, limit: int = 50
) -> list[FleetAuditRow]:
    """Return the company's entries that match, newest first."""
    return await rows.many(
        connection,
        FleetAuditRow,
        "SELECT * FROM audit WHERE company_id = %(company)s AND (%(before)s::bigint IS NULL OR id < %(before)s)"
        " AND (%(begin)s::timestamptz IS NULL OR at >= %(begin)s) AND (%(end)s::timestamptz IS NULL OR at < %(end)s)"
        " AND (%(staff)s = '' OR staff = %(staff)s) AND (%(action)s = '' OR action = %(action)s)"
        " AND (%(resident_id)s::bigint IS NULL OR resident_id = %(resident_id)s) ORDER BY id DESC LIMIT %(limit)s",
        {"company": company_id, "limit": limit, **msgspec.structs.asdict(wanted)},
    )


async def staff_names(connection: Connection, company_id: int) -> list[str]:
    """Return the names of all staff in the company's log."""
    cursor = await connection.execute(
        "SELECT DISTINCT staff FROM audit WHERE company_id = %s ORDER BY 1", (company_id,)
    )
    return [name for (name,) in await cursor.fetchall()]
