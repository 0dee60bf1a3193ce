"""Logins of property companies. Only the argon2 hash of a password is kept."""

import datetime

import msgspec
import psycopg

from cabinet.errors import Refused
from cabinet.records import Role
from fleet.store import rows
from fleet.store.database import Connection


class FleetStaffRow(msgspec.Struct, frozen=True):
    """A login; an empty `site_groups` means all sites of the company."""

    id: int
    company_id: int
    name: str
    password_hash: str
    role: Role
    site_groups: list[str]
    removed: datetime.datetime | None
    added: datetime.datetime


_PRESENT = "SELECT * FROM staff WHERE removed IS NULL"


async def add(
    connection: Connection,
    company_id: int,
    name: str,
    password_hash: str,
    role: Role,
    site_groups: list[str] | None = None,
) -> int:
    """Add a login; return its id. Names are unique within the company. Refuses name_taken, also for a removed one."""
    try:
        async with connection.transaction():
            return int(
                await rows.value(
                    connection,
                    "INSERT INTO staff (company_id, name, password_hash, role, site_groups)"
                    " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                    (company_id, name, password_hash, role, site_groups or []),
                )
            )
    except psycopg.errors.UniqueViolation:
        raise Refused("name_taken") from None


async def by_name(connection: Connection, company_id: int, name: str) -> FleetStaffRow | None:
    return await rows.one(
        connection, FleetStaffRow, f"{_PRESENT} AND company_id = %s AND name = %s", (company_id, name)
    )


async def get(connection: Connection, company_id: int, staff_id: int) -> FleetStaffRow | None:
    return await rows.one(
        connection, FleetStaffRow, f"{_PRESENT} AND company_id = %s AND id = %s", (company_id, staff_id)
    )


async def everyone(connection: Connection, company_id: int) -> list[FleetStaffRow]:
    """Return the company's logins by name."""
    return await rows.many(connection, FleetStaffRow, f"{_PRESENT} AND company_id = %s ORDER BY name", (company_id,))


async def set_role(connection: Connection, company_id: int, staff_id: int, role: Role) -> None:
    """Change a role. Refuses unknown_staff, last_operator."""
    await _check_operators(connection, company_id, staff_id, keeps=role == "operator")
    await _change(connection, company_id, staff_id, "role = %s", role)


async def set_site_groups(connection: Connection, company_id: int, staff_id: int, site_groups: list[str]) -> None:
    """Change the sites that a login may see; empty: all. Refuses unknown_staff, last_operator."""
    await _check_operators(connection, company_id, staff_id, keeps=not site_groups)
    await _change(connection, company_id, staff_id, "site_groups = %s", site_groups)


async def set_password(connection: Connection, company_id: int, staff_id: int, password_hash: str) -> None:
    """Set the hash of a new password; the login is signed out everywhere. Refuses unknown_staff."""
    await _change(connection, company_id, staff_id, "password_hash = %s", password_hash)
    await connection.execute("DELETE FROM login WHERE staff_id = %s", (staff_id,))


async def remove(connection: Connection, company_id: int, staff_id: int) -> None:
    """Remove a login and sign it out; its name stays in the audit log. Refuses unknown_staff, last_operator."""
    await _check_operators(connection, company_id, staff_id, keeps=False)
    await _change(connection, company_id, staff_id, "removed = CASE WHEN %s THEN now() END", True)
    await connection.execute("DELETE FROM login WHERE staff_id = %s", (staff_id,))


async def _check_operators(connection: Connection, company_id: int, staff_id: int, *, keeps: bool) -> None:
    """Refuse last_operator if afterwards no operator would have all sites: only such a one manages logins.

    Locks the operators: two changes take turns.
    """
    operators = await rows.many(
        connection,
        FleetStaffRow,
        f"{_PRESENT} AND company_id = %s AND role = 'operator' ORDER BY id FOR UPDATE",
        (company_id,),
    )
    if not keeps and [each.id for each in operators if not each.site_groups] == [staff_id]:
        raise Refused("last_operator")


async def _change(connection: Connection, company_id: int, staff_id: int, assignment: str, new: object) -> None:
    sql = f"UPDATE staff SET {assignment} WHERE company_id = %s AND id = %s AND removed IS NULL"
    if await rows.changed(connection, sql, (new, company_id, staff_id)) == 0:
        raise Refused("unknown_staff")
