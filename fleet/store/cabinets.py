"""Cabinets, their outlets, the state they last sent, and who views them.

`groups` are the site groups that a member of staff may see; an empty list means all sites of the company.
"""

import datetime
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from cabinet.errors import Refused
from cabinet.uplink.messages import OutletReport, StateReport
from fleet.store import rows
from fleet.store.database import Connection

Condition = Literal["all", "offline", "silent", "fault", "problems", "full", "free"]
Sort = Literal["site", "name", "heard", "load", "free"]
SORTS: dict[Sort, str] = {
    "site": "site.name, cabinet.name, cabinet.id",
    "name": "cabinet.name, cabinet.id",
    "heard": "cabinet.heard NULLS FIRST, cabinet.id",
    "load": "cabinet.feed_mw DESC NULLS LAST, cabinet.id",
    "free": "cabinet.free_outlets DESC, cabinet.id",
}
CONDITIONS: dict[Condition, str] = {
    "all": "TRUE",
    "offline": "NOT cabinet.online",
    "silent": "cabinet.heard IS NULL OR cabinet.heard < now() - interval '11 minutes'",
    "fault": "cabinet.fault IS NOT NULL OR cabinet.bad_outlets > 0",
    "problems": "cabinet.problems > 0",
    "full": "cabinet.online AND cabinet.free_outlets = 0",
    "free": "cabinet.online AND cabinet.free_outlets > 0",
}


class CabinetRow(msgspec.Struct, frozen=True):
    """One cabinet. Its state is as the cabinet last sent it, also while it is offline: `state_at` is its age."""

    id: str
    company_id: int
    site_id: int
    site: str
    site_address: str
    site_group: str
    timezone: str
    name: str
    added: datetime.datetime
    revoked: datetime.datetime | None
    online: bool
    online_changed: datetime.datetime | None
    heard: datetime.datetime | None
    software: str
    usage_key: str
    epoch: str
    boot: str
    challenge: str
    state_at: datetime.datetime | None
    free_outlets: int
    busy_outlets: int
    bad_outlets: int
    fault: str | None
    problems: int
    feed_mw: int | None
    feed_limit_mw: int | None
    facts_waiting: int
    state: Any = None  # JSON of `messages.StateReport`; None in lists, and before the first one

    def present(self) -> StateReport | None:
        """Return the last state, decoded; None without one, and for one of an earlier version that is no state now."""
        try:
            return None if self.state is None else msgspec.convert(self.state, StateReport)
        except msgspec.ValidationError:
            return None

    def outlet_state(self, number: int) -> OutletReport | None:
        """Return the last state of one outlet."""
        state = self.present()
        return None if state is None else next((each for each in state.outlets if each.number == number), None)


class CabinetPage(msgspec.Struct, frozen=True):
    cabinets: list[CabinetRow]
    total: int  # of all pages


class OutletRow(msgspec.Struct, frozen=True):
    cabinet: str
    number: int
    code: str
    max_power_w: int
    company_id: int
    site_id: int


class Glance(msgspec.Struct, frozen=True):
    """Counts of a company's cabinets and outlets, not of revoked ones."""

    cabinets: int
    offline: int
    fault: int
    full: int
    free_outlets: int
    busy_outlets: int
    bad_outlets: int
    feed_mw: int


COLUMNS = (
    "cabinet.id, cabinet.company_id, cabinet.site_id, site.name AS site, site.address AS site_address, site.site_group,"
    " site.timezone, cabinet.name, cabinet.added, cabinet.revoked, cabinet.online, cabinet.online_changed,"
    " cabinet.heard, cabinet.software, cabinet.usage_key, cabinet.epoch, cabinet.boot, cabinet.challenge,"
    " cabinet.state_at, cabinet.free_outlets, cabinet.busy_outlets, cabinet.bad_outlets, cabinet.fault,"
    " cabinet.problems, cabinet.feed_mw, cabinet.feed_limit_mw, cabinet.facts_waiting"
)
_FROM = " FROM cabinet JOIN site ON site.id = cabinet.site_id"
_GROUPS = "(cardinality(%(groups)s::text[]) = 0 OR site.site_group = ANY(%(groups)s::text[]))"


async def add(connection: Connection, company_id: int, site_id: int, cabinet: str, name: str) -> None:
    """Add a cabinet to a site of the company. Refuses name_taken (the id is in use), unknown_site."""
    own = await rows.value(connection, "SELECT 1 FROM site WHERE company_id = %s AND id = %s", (company_id, site_id))
    if own is None:
        raise Refused("unknown_site")
    added = await rows.changed(
        connection,
        "INSERT INTO cabinet (id, company_id, site_id, name) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (cabinet, company_id, site_id, name),
    )
    if added == 0:
        raise Refused("name_taken")


async def get(
    connection: Connection, company_id: int, cabinet: str, groups: list[str] | None = None
) -> CabinetRow | None:
    """Return a cabinet with its state; None if the company has none of this id in `groups`."""
    return await rows.one(
        connection,
        CabinetRow,
        f"SELECT {COLUMNS}, cabinet.state{_FROM}"
        f" WHERE cabinet.company_id = %(company)s AND cabinet.id = %(cabinet)s AND {_GROUPS}",
        {"company": company_id, "cabinet": cabinet, "groups": groups or []},
    )


async def listed(
    connection: Connection,
    company_id: int,
    groups: list[str] | None = None,
    *,
    words: str = "",
    site_id: int | None = None,
    condition: Condition = "all",
    sort: Sort = "site",
    offset: int = 0,
    limit: int = 50,
    with_revoked: bool = False,
) -> CabinetPage:
    """Return one page of the company's cabinets, without their states; `words` are in name, id or site."""
    where = (
        f" WHERE cabinet.company_id = %(company)s AND {_GROUPS} AND ({CONDITIONS[condition]})"
        " AND (%(revoked)s OR cabinet.revoked IS NULL) AND (%(site)s::bigint IS NULL OR cabinet.site_id = %(site)s)"
        " AND (%(words)s = '' OR cabinet.name ILIKE %(like)s OR cabinet.id ILIKE %(like)s OR site.name ILIKE %(like)s)"
    )
    parameters = {
        "company": company_id, "groups": groups or [], "revoked": with_revoked, "site": site_id, "words": words,
        "like": f"%{rows.like(words)}%", "offset": max(0, offset), "limit": limit,
    }  # fmt: skip
    found = await rows.many(
        connection,
        CabinetRow,
        f"SELECT {COLUMNS}{_FROM}{where} ORDER BY {SORTS[sort]} OFFSET %(offset)s LIMIT %(limit)s",
        parameters,
    )
    return CabinetPage(found, int(await rows.value(connection, f"SELECT count(*){_FROM}{where}", parameters)))


async def glance(connection: Connection, company_id: int, groups: list[str] | None = None) -> Glance:
    """Return the counts of the company's first page."""
    found = await rows.one(
        connection,
        Glance,
        "SELECT count(*) AS cabinets, count(*) FILTER (WHERE NOT online) AS offline,"
        f" count(*) FILTER (WHERE {CONDITIONS['fault']}) AS fault,"
        f" count(*) FILTER (WHERE {CONDITIONS['full']}) AS full,"
        " coalesce(sum(free_outlets) FILTER (WHERE online), 0)::bigint AS free_outlets,"
        " coalesce(sum(busy_outlets) FILTER (WHERE online), 0)::bigint AS busy_outlets,"
        " coalesce(sum(bad_outlets) FILTER (WHERE online), 0)::bigint AS bad_outlets,"
        " coalesce(sum(feed_mw) FILTER (WHERE online), 0)::bigint AS feed_mw"
        f"{_FROM} WHERE cabinet.company_id = %(company)s AND cabinet.revoked IS NULL AND {_GROUPS}",
        {"company": company_id, "groups": groups or []},
    )
    assert found is not None  # an aggregate has one row
    return found


async def outlets(connection: Connection, company_id: int, cabinet: str) -> list[OutletRow]:
    """Return the outlets of a cabinet by number."""
    return await rows.many(
        connection,
        OutletRow,
        "SELECT outlet.*, company_id, site_id FROM outlet JOIN cabinet ON cabinet.id = outlet.cabinet"
        " WHERE company_id = %s AND cabinet.id = %s ORDER BY number",
        (company_id, cabinet),
    )


async def by_code(connection: Connection, code: str) -> OutletRow | None:
    """Return the outlet with this printed code, of any company: the code is public and leads to its company."""
    return await rows.one(
        connection,
        OutletRow,
        "SELECT outlet.*, company_id, site_id FROM outlet JOIN cabinet ON cabinet.id = outlet.cabinet"
        " WHERE code = %s AND revoked IS NULL",
        (code,),
    )


async def with_free_outlets(
    connection: Connection, company_id: int, site_id: int, but_not: str = "", limit: int = 10
) -> list[CabinetRow]:
    """Return online cabinets of the company with free outlets, with their states: those of the site first."""
    return await rows.many(
        connection,
        CabinetRow,
        f"SELECT {COLUMNS}, cabinet.state{_FROM} WHERE cabinet.company_id = %s AND cabinet.revoked IS NULL"
        " AND cabinet.online AND free_outlets > 0 AND cabinet.id <> %s"
        " ORDER BY cabinet.site_id <> %s, site.name, cabinet.name, cabinet.id LIMIT %s",
        (company_id, but_not, site_id, limit),
    )


async def look(connection: Connection, company_id: int, cabinet: str, seconds: int = 30) -> None:
    """Note that a person views the cabinet for `seconds` from now; the worker has it send its state every 2 s.

    Notifies `fleet_order`, on which the worker waits, if it had no viewer until now.
    """
    begun = await rows.value(
        connection,
        "INSERT INTO viewer (cabinet, until) SELECT id, now() + make_interval(secs => %(seconds)s) FROM cabinet"
        " WHERE company_id = %(company)s AND id = %(cabinet)s"
        " ON CONFLICT (cabinet) DO UPDATE SET until = greatest(viewer.until, excluded.until)"
        " RETURNING (xmax = 0)",
        {"company": company_id, "cabinet": cabinet, "seconds": seconds},
    )
    if begun:
        await connection.execute("NOTIFY fleet_order")


async def revoke(connection: Connection, company_id: int, cabinet: str) -> None:
    """Revoke a cabinet: nothing of it is taken any more. Refuses unknown_cabinet. Its certificates: `fleet.trust`."""
    done = await rows.changed(
        connection,
        "UPDATE cabinet SET revoked = coalesce(revoked, now()), online = FALSE WHERE company_id = %s AND id = %s",
        (company_id, cabinet),
    )
    if done == 0:
        raise Refused("unknown_cabinet")


async def rename(connection: Connection, company_id: int, cabinet: str, name: str) -> None:
    """Change the name that people see. Refuses unknown_cabinet."""
    done = await rows.changed(
        connection, "UPDATE cabinet SET name = %s WHERE company_id = %s AND id = %s", (name, company_id, cabinet)
    )
    if done == 0:
        raise Refused("unknown_cabinet")


async def everyone(connection: Connection, *, with_revoked: bool = False) -> list[CabinetRow]:
    """Return all cabinets of all companies by id; for the operator of the fleet only."""
    sql = f"SELECT {COLUMNS}{_FROM} WHERE %s OR cabinet.revoked IS NULL ORDER BY cabinet.id"
    return await rows.many(connection, CabinetRow, sql, (with_revoked,))


async def company_of(connection: Connection, cabinet: str) -> int | None:
    """Return the company of a cabinet; for the worker and the operator's commands only."""
    found = await rows.value(connection, "SELECT company_id FROM cabinet WHERE id = %s", (cabinet,))
    return None if found is None else int(found)


async def challenge_of(connection: Connection, cabinet: str) -> str:
    """Return the challenge of the cabinet's last state; empty if there is none. For the worker only."""
    return str(await rows.value(connection, "SELECT challenge FROM cabinet WHERE id = %s", (cabinet,)) or "")


async def not_revoked(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of the cabinets that exist and are not revoked. For the worker only."""
    cursor = await connection.execute(
        "SELECT id FROM cabinet WHERE id = ANY(%s) AND revoked IS NULL", (sorted(set(ids)),)
    )
    return {cabinet for (cabinet,) in await cursor.fetchall()}
