"""Printed codes of outlets: given to a cabinet by the operator of the fleet, or by its first connection.

A code leads residents, and their money, to the company of its cabinet. A cabinet that was given none gets the codes
that it states when it first connects, if no other cabinet has them; from then on it gets no further ones by itself.
"""

from collections.abc import Iterable, Mapping, Sequence

from cabinet.errors import Refused
from cabinet.uplink.messages import Online, OutletPlace
from fleet.store import audit, facts, rows
from fleet.store.database import Connection

FLEET = "fleet"  # in the audit log, in place of a person


async def given(connection: Connection, company_id: int, cabinet: str) -> list[str]:
    """Return the codes that were given to a cabinet, in order."""
    cursor = await connection.execute(
        "SELECT code FROM outlet_code JOIN cabinet ON cabinet.id = outlet_code.cabinet"
        " WHERE company_id = %s AND cabinet.id = %s ORDER BY code",
        (company_id, cabinet),
    )
    return [code for (code,) in await cursor.fetchall()]


async def give(connection: Connection, company_id: int, cabinet: str, codes: Iterable[str]) -> None:
    """Give codes to a cabinet of the company, also those of its revoked ones; used from its next connection on.

    Refuses unknown_cabinet, code_taken; then nothing of the transaction may be kept.
    """
    wanted = sorted(set(codes))
    found = await rows.value(
        connection, "SELECT 1 FROM cabinet WHERE company_id = %s AND id = %s FOR UPDATE", (company_id, cabinet)
    )
    if found is None:
        raise Refused("unknown_cabinet")
    await _take_over(connection, cabinet, wanted)
    await _add(connection, cabinet, wanted)
    if set(wanted) - set(await given(connection, company_id, cabinet)):
        raise Refused("code_taken")


async def take_away(connection: Connection, company_id: int, cabinet: str, codes: Sequence[str]) -> None:
    """Take codes from a cabinet of the company: at once, nobody reaches it by them any more."""
    for table in ("outlet", "outlet_code"):
        sql = (
            f"DELETE FROM {table} USING cabinet WHERE cabinet.id = {table}.cabinet AND company_id = %s"
            " AND cabinet.id = %s AND code = ANY(%s)"
        )
        await connection.execute(sql.encode(), (company_id, cabinet, list(codes)))


async def write_stated(connection: Connection, here: Mapping[str, Online]) -> None:
    """Write the outlets of cabinets that state other ones than those that are known; few do. For the worker only."""
    cursor = await connection.execute(
        "SELECT cabinet, number, code, max_power_w FROM outlet WHERE cabinet = ANY(%s)", (list(here),)
    )
    known: dict[str, set[tuple[int, str, int]]] = {}
    for cabinet, number, code, max_power_w in await cursor.fetchall():
        known.setdefault(cabinet, set()).add((number, code, max_power_w))
    for cabinet, online in here.items():
        stated = {(outlet.number, outlet.code, outlet.max_power_w) for outlet in online.outlets}
        if stated and stated != known.get(cabinet):
            await _replace(connection, cabinet, online)


async def _replace(connection: Connection, cabinet: str, online: Online) -> None:
    """Write the outlets whose codes were given to the cabinet; raise an alarm for each other one."""
    company_id = await rows.value(connection, "SELECT company_id FROM cabinet WHERE id = %s FOR UPDATE", (cabinet,))
    codes = sorted({outlet.code for outlet in online.outlets})
    own = set(await given(connection, company_id, cabinet))
    if not own:
        await _take_over(connection, cabinet, codes)
        await _add(connection, cabinet, codes)
        own = set(await given(connection, company_id, cabinet))
        await audit.add(connection, company_id, FLEET, "codes_given", subject=cabinet, detail=" ".join(sorted(own)))
    cursor = await connection.execute(
        "SELECT code, CASE WHEN company_id = %s THEN cabinet.id ELSE 'another company' END FROM outlet_code"
        " JOIN cabinet ON cabinet.id = outlet_code.cabinet WHERE code = ANY(%s) AND cabinet.id <> %s",
        (company_id, codes, cabinet),
    )
    others: dict[str, str] = dict(await cursor.fetchall())
    for outlet in online.outlets:
        if outlet.code in others:
            detail = f"{outlet.code} is of {others[outlet.code]}"
            await facts.add_log_alarm(connection, cabinet, online.epoch, "code_taken", outlet.number, detail)
        elif outlet.code not in own:
            await facts.add_log_alarm(connection, cabinet, online.epoch, "code_not_given", outlet.number, outlet.code)
    await _write(connection, cabinet, {o.number: o for o in online.outlets if o.code in own})


async def _write(connection: Connection, cabinet: str, outlets: Mapping[int, OutletPlace]) -> None:
    await connection.execute("DELETE FROM outlet WHERE cabinet = %s", (cabinet,))  # codes may have changed places
    await connection.execute(
        "INSERT INTO outlet (cabinet, number, code, max_power_w)"
        " SELECT %s, * FROM unnest(%s::int[], %s::text[], %s::int[]) ON CONFLICT DO NOTHING",
        (
            cabinet,
            list(outlets),
            [outlet.code for outlet in outlets.values()],
            [outlet.max_power_w for outlet in outlets.values()],
        ),
    )


async def _take_over(connection: Connection, cabinet: str, codes: Sequence[str]) -> None:
    """Free codes of revoked cabinets of the same company: the cabinet is in the place of one."""
    for table in ("outlet", "outlet_code"):
        sql = (
            f"DELETE FROM {table} USING cabinet AS former, cabinet AS present WHERE former.id = {table}.cabinet"
            " AND former.revoked IS NOT NULL AND present.id = %s AND present.company_id = former.company_id"
            " AND former.id <> present.id AND code = ANY(%s)"
        )
        await connection.execute(sql.encode(), (cabinet, list(codes)))


async def _add(connection: Connection, cabinet: str, codes: Sequence[str]) -> None:
    """Give the codes that no cabinet has."""
    await connection.execute(
        "INSERT INTO outlet_code (code, cabinet) SELECT code, %s FROM unnest(%s::text[]) AS wanted (code)"
        " ON CONFLICT DO NOTHING",
        (cabinet, list(codes)),
    )
