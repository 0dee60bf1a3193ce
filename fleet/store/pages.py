"""Queries of the web pages that no other subject needs."""

import datetime
import hashlib
from typing import Any

import msgspec

from cabinet.records import CurvePoint
from fleet.store import cabinets, orders, rows
from fleet.store.cabinets import CabinetRow
from fleet.store.database import Connection
from fleet.store.orders import OrderRow
from fleet.store.residents import ResidentListRow
from fleet.store.usage import MirroredRecord


class OutletPrint(msgspec.Struct, frozen=True):
    """An outlet and its printed code."""

    cabinet: str
    number: int
    code: str


class ScannedOutlet(CabinetRow, frozen=True, kw_only=True):
    """A cabinet, and what its outlet's page needs: read in one statement, because it is the page that is read most."""

    outlet: int
    code: str
    company: str
    complaint_phone: str
    tariffs: Any  # desired value in force
    taken: bool  # by an order
    now: datetime.datetime


class SignedIn(msgspec.Struct, frozen=True):
    """The resident of a token, with the money."""

    id: int
    company_id: int
    card: str | None
    phone: str | None
    tariff_group: str
    balance_fen: int
    held_fen: int
    unused_s: float


def scanned_sql(more: str = "") -> str:
    """Return the statement for the outlet with the code `%(code)s`, with `more` columns."""
    return (
        f"SELECT {cabinets.COLUMNS}, cabinet.state, outlet.number AS outlet, code, company.name AS company,"
        " complaint_phone, desired.applied_value AS tariffs, now() AS now,"
        " EXISTS (SELECT 1 FROM charge_order WHERE charge_order.cabinet = cabinet.id"
        f" AND charge_order.outlet = outlet.number AND {orders.IS_OPEN}) AS taken{', ' if more else ''}{more}"
        " FROM outlet JOIN cabinet ON cabinet.id = outlet.cabinet JOIN site ON site.id = cabinet.site_id"
        " JOIN company ON company.id = cabinet.company_id"
        " LEFT JOIN desired ON desired.cabinet = cabinet.id AND desired.kind = 'tariffs'"
        " WHERE code = %(code)s AND cabinet.revoked IS NULL"
    )


async def scanned(connection: Connection, code: str) -> ScannedOutlet | None:
    """Return the outlet with this printed code, of any company: the code is public and leads to its company."""
    return await rows.one(connection, ScannedOutlet, scanned_sql(), {"code": code})


async def cabinet_of(connection: Connection, code: str) -> str:
    """Return the cabinet of the outlet with this printed code; empty if there is none."""
    return str(await rows.value(connection, "SELECT cabinet FROM outlet WHERE code = %s", (code,)) or "")


async def signed_in(connection: Connection, token_hash: str, at: str = "") -> SignedIn | None:
    """Return the resident of a token, if the outlet with the code `at` is not of another company."""
    return await rows.one(
        connection,
        SignedIn,
        "SELECT resident.id, resident.company_id, card, phone, tariff_group, coalesce(balance_fen, 0) AS balance_fen,"
        " coalesce((SELECT sum(held_fen)::bigint FROM charge_order WHERE resident_id = resident.id"
        " AND state IN ('held', 'sent', 'accepted', 'charging')), 0) AS held_fen,"
        " extract(epoch FROM now() - used)::float AS unused_s FROM login"
        " JOIN resident ON resident.id = resident_id AND NOT blocked AND NOT erased"
        " LEFT JOIN account ON account.company_id = resident.company_id AND account.name = 'wallet:' || resident.id"
        " WHERE token_hash = %(token)s AND expires > now() AND (%(at)s = '' OR NOT EXISTS (SELECT 1 FROM outlet"
        " JOIN cabinet ON cabinet.id = outlet.cabinet WHERE code = %(at)s AND company_id <> resident.company_id))",
        {"token": token_hash, "at": at},
    )


async def company_of_resident(connection: Connection, resident_id: int) -> int | None:
    found = await rows.value(connection, "SELECT company_id FROM resident WHERE id = %s", (resident_id,))
    return None if found is None else int(found)


async def only_company(connection: Connection) -> int | None:
    """Return the company if the fleet has exactly one."""
    cursor = await connection.execute("SELECT id FROM company LIMIT 2")
    found = await cursor.fetchall()
    return int(found[0][0]) if len(found) == 1 else None


async def company_named(connection: Connection, name: str) -> int | None:
    """Return the company of this name; without a name, the only one."""
    if not name:
        return await only_company(connection)
    found = await rows.value(connection, "SELECT id FROM company WHERE name = %s", (name,))
    return None if found is None else int(found)


async def codes_of(connection: Connection, cabinets: list[str]) -> list[OutletPrint]:
    """Return the codes of all outlets of these cabinets."""
    sql = "SELECT cabinet, number, code FROM outlet WHERE cabinet = ANY(%s) ORDER BY cabinet, number"
    return await rows.many(connection, OutletPrint, sql, (cabinets,))


async def records_of(connection: Connection, company_id: int, orders: list[str]) -> dict[str, MirroredRecord]:
    """Return the usage records of these orders by order number."""
    found = await rows.many(
        connection,
        MirroredRecord,
        "SELECT cabinet, epoch, number, site_id, order_number, received, body, record_hash FROM usage_record"
        " WHERE company_id = %s AND order_number = ANY(%s)",
        (company_id, orders),
    )
    return {each.order_number: each for each in found if each.order_number is not None}


async def is_known(connection: Connection, name: str, address: str) -> bool:
    """Return whether the address has signed in under this name before, within the last months."""
    found = await rows.value(connection, "SELECT 1 FROM known_address WHERE hash = %s", (_hash(name, address),))
    return found is not None


async def know(connection: Connection, name: str, address: str) -> None:
    """Note that the address has signed in under this name. Only a hash of both is kept."""
    await connection.execute(
        "INSERT INTO known_address (hash) VALUES (%s) ON CONFLICT (hash) DO UPDATE SET used = now()",
        (_hash(name, address),),
    )


def _hash(name: str, address: str) -> str:
    return hashlib.sha256(f"{name} from {address}".encode()).hexdigest()


async def attempt(
    connection: Connection, keys: dict[str, int], within: datetime.timedelta
) -> tuple[str, datetime.datetime] | None:
    """Note one attempt for each of `keys`; or, if a key has its most attempts lately, note none.

    `keys`: the most attempts of each. Returns the full key and the moment of its last attempt, or None. Attempts of one
    key take turns: many at once gain nothing.
    """
    for key in sorted(keys):
        await take_turns(connection, key)
    for key, most in keys.items():
        cursor = await connection.execute(
            "SELECT count(*), max(at) FROM sign_in_failure WHERE key = %s AND at > now() - %s::interval", (key, within)
        )
        row = await cursor.fetchone()
        if row is not None and row[0] >= most:
            return key, row[1]
    await connection.execute("INSERT INTO sign_in_failure (key) SELECT * FROM unnest(%s::text[])", (list(keys),))
    return None


async def take_back(connection: Connection, key: str) -> None:
    """Delete the newest attempt of `key`, as it was no failure."""
    await connection.execute(
        "DELETE FROM sign_in_failure WHERE ctid ="
        " (SELECT ctid FROM sign_in_failure WHERE key = %s ORDER BY at DESC LIMIT 1)",
        (key,),
    )


async def now(connection: Connection) -> datetime.datetime:
    moment: Any = await rows.value(connection, "SELECT now()")
    assert isinstance(moment, datetime.datetime)
    return moment


async def curve(connection: Connection, order: OrderRow) -> list[CurvePoint]:
    """Return the power of an order's charge, from the states that were kept of its cabinet: one in five minutes."""
    begin, end = order.answered or order.sent, order.ended
    if begin is None:
        return []
    cursor = await connection.execute(
        "SELECT extract(epoch FROM at - %(begin)s)::int, power_mw[%(outlet)s] FROM telemetry"
        " WHERE cabinet = %(cabinet)s AND at >= %(begin)s AND at <= coalesce(%(end)s, now()) ORDER BY at",
        {"begin": begin, "end": end, "outlet": order.outlet, "cabinet": order.cabinet},
    )
    return [CurvePoint(at_s, power_mw // 1000) for at_s, power_mw in await cursor.fetchall() if power_mw is not None]


async def take_turns(connection: Connection, subject: str) -> None:
    """Wait for other transactions of the same subject; it is free again at the end of this one."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (subject,))


async def residents_found(
    connection: Connection,
    company_id: int,
    groups: list[str],
    words: str,
    after_id: int,
    limit: int,
    resident_id: int | None = None,
) -> list[ResidentListRow]:
    """Return residents by id, as `residents.found`; only those who ordered at a site of `groups`, unless empty."""
    return await rows.many(
        connection,
        ResidentListRow,
        "SELECT resident.id, phone, card, resident.name, tariff_group, blocked,"
        " coalesce(balance_fen, 0) AS balance_fen, coalesce((SELECT held_fen FROM charge_order"
        " WHERE resident_id = resident.id AND state IN ('held', 'sent', 'accepted', 'charging')), 0) AS held_fen"
        " FROM resident LEFT JOIN account ON account.company_id = resident.company_id"
        " AND account.name = 'wallet:' || resident.id WHERE resident.company_id = %(company)s AND NOT erased"
        " AND resident.id > %(after)s AND (%(id)s::bigint IS NULL OR resident.id = %(id)s)"
        " AND (cardinality(%(groups)s::text[]) = 0 OR EXISTS (SELECT 1 FROM charge_order"
        " JOIN cabinet ON cabinet.id = charge_order.cabinet JOIN site ON site.id = cabinet.site_id"
        " WHERE charge_order.resident_id = resident.id AND site_group = ANY(%(groups)s::text[])))"
        " AND (%(words)s = '' OR phone LIKE %(like)s || '%%' OR phone LIKE '%%' || %(like)s"
        " OR card ILIKE %(like)s || '%%' OR card ILIKE '%%' || %(like)s"
        " OR resident.name ILIKE '%%' || %(like)s || '%%')"
        " ORDER BY resident.id LIMIT %(limit)s",
        {
            "company": company_id, "groups": groups, "words": words, "like": rows.like(words), "after": after_id,
            "id": resident_id, "limit": limit,
        },
    )  # fmt: skip


class PlacedRecord(msgspec.Struct, frozen=True):
    """A mirrored record, the last number of its log, and the resident who ordered the charge."""

    cabinet: str
    epoch: str
    number: int
    site_id: int
    order_number: str | None
    received: datetime.datetime
    body: str
    record_hash: str
    last_number: int
    resident_id: int | None

    def mirrored(self) -> MirroredRecord:
        names = MirroredRecord.__struct_fields__
        return MirroredRecord(**{name: getattr(self, name) for name in names})


async def record(
    connection: Connection, company_id: int, groups: list[str], cabinet: str, epoch: str, number: int
) -> PlacedRecord | None:
    """Return one record of a cabinet in `groups`; None if there is none."""
    return await rows.one(
        connection,
        PlacedRecord,
        "SELECT usage_record.cabinet, usage_record.epoch, usage_record.number, usage_record.site_id, order_number,"
        " received, body, record_hash, (SELECT max(last.number) FROM usage_record AS last"
        " WHERE last.cabinet = usage_record.cabinet AND last.epoch = usage_record.epoch) AS last_number, resident_id"
        " FROM usage_record JOIN site ON site.id = usage_record.site_id"
        " LEFT JOIN charge_order ON charge_order.number = order_number"
        " AND charge_order.company_id = usage_record.company_id"
        " WHERE usage_record.company_id = %(company)s AND usage_record.cabinet = %(cabinet)s"
        " AND usage_record.epoch = %(epoch)s AND usage_record.number = %(number)s"
        " AND (cardinality(%(groups)s::text[]) = 0 OR site_group = ANY(%(groups)s::text[]))",
        {"company": company_id, "groups": groups, "cabinet": cabinet, "epoch": epoch, "number": number},
    )


async def cabinets_in(
    connection: Connection, company_id: int, groups: list[str], site_id: int | None = None, cabinet: str | None = None
) -> list[str]:
    """Return the ids of the company's cabinets that are not revoked: in `groups`, of one site, or one of them."""
    cursor = await connection.execute(
        "SELECT cabinet.id FROM cabinet JOIN site ON site.id = cabinet.site_id WHERE cabinet.company_id = %(company)s"
        " AND revoked IS NULL AND (cardinality(%(groups)s::text[]) = 0 OR site_group = ANY(%(groups)s::text[]))"
        " AND (%(site)s::bigint IS NULL OR site.id = %(site)s)"
        " AND (%(cabinet)s::text IS NULL OR cabinet.id = %(cabinet)s) ORDER BY cabinet.id",
        {"company": company_id, "groups": groups, "site": site_id, "cabinet": cabinet},
    )
    return [str(each[0]) for each in await cursor.fetchall()]
