"""Residents of a company, by phone or by card. A PIN is stored as its argon2 hash only."""

import datetime

import msgspec
import psycopg

from cabinet import normal_form
from cabinet.errors import Refused
from fleet.store import orders, rows
from fleet.store.database import Connection


class FleetResidentRow(msgspec.Struct, frozen=True):
    id: int
    company_id: int
    phone: str | None
    card: str | None
    name: str
    pin_hash: str | None
    tariff_group: str
    blocked: bool
    erased: bool
    added: datetime.datetime


class ResidentListRow(msgspec.Struct, frozen=True):
    id: int
    phone: str | None
    card: str | None
    name: str
    tariff_group: str
    blocked: bool
    balance_fen: int
    held_fen: int


_LIST = (
    "SELECT resident.id, phone, card, resident.name, tariff_group, blocked, coalesce(balance_fen, 0) AS balance_fen,"
    " coalesce((SELECT held_fen FROM charge_order WHERE resident_id = resident.id"
    " AND state IN ('held', 'sent', 'accepted', 'charging')), 0) AS held_fen"
    " FROM resident LEFT JOIN account ON account.company_id = resident.company_id"
    " AND account.name = 'wallet:' || resident.id WHERE resident.company_id = %(company)s AND NOT erased"
)


async def add(
    connection: Connection,
    company_id: int,
    *,
    phone: str | None = None,
    card: str | None = None,
    name: str = "",
    pin_hash: str | None = None,
    tariff_group: str = "",
) -> int:
    """Add a resident; return the id. Refuses name_taken if the company has one with this phone or card."""
    try:
        async with connection.transaction():
            return int(
                await rows.value(
                    connection,
                    "INSERT INTO resident (company_id, phone, card, name, pin_hash, tariff_group)"
                    " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
                    (company_id, phone, None if card is None else normal_form.card(card), name, pin_hash, tariff_group),
                )
            )
    except psycopg.errors.UniqueViolation:
        raise Refused("name_taken") from None


async def get(connection: Connection, company_id: int, resident_id: int) -> FleetResidentRow | None:
    sql = "SELECT * FROM resident WHERE company_id = %s AND id = %s"
    return await rows.one(connection, FleetResidentRow, sql, (company_id, resident_id))


async def by_phone(connection: Connection, company_id: int, phone: str) -> FleetResidentRow | None:
    sql = "SELECT * FROM resident WHERE company_id = %s AND phone = %s"
    return await rows.one(connection, FleetResidentRow, sql, (company_id, phone))


async def by_card(connection: Connection, company_id: int, card: str) -> FleetResidentRow | None:
    """Return the resident with this card, in any spelling."""
    sql = "SELECT * FROM resident WHERE company_id = %s AND card = %s"
    return await rows.one(connection, FleetResidentRow, sql, (company_id, normal_form.card(card)))


async def found(
    connection: Connection, company_id: int, words: str = "", after_id: int = 0, limit: int = 50
) -> list[ResidentListRow]:
    """Return residents by id, after `after_id`, if `words` begin or end phone or card or are in the name."""
    return await rows.many(
        connection,
        ResidentListRow,
        f"{_LIST} AND resident.id > %(after)s AND (%(words)s = '' OR phone LIKE %(like)s || '%%'"
        " OR phone LIKE '%%' || %(like)s OR card ILIKE %(like)s || '%%' OR card ILIKE '%%' || %(like)s"
        " OR resident.name ILIKE '%%' || %(like)s || '%%') ORDER BY resident.id LIMIT %(limit)s",
        {"company": company_id, "after": after_id, "words": words, "like": rows.like(words), "limit": limit},
    )


async def list_row(connection: Connection, company_id: int, resident_id: int) -> ResidentListRow | None:
    sql = f"{_LIST} AND resident.id = %(id)s"
    return await rows.one(connection, ResidentListRow, sql, {"company": company_id, "id": resident_id})


async def set_blocked(connection: Connection, company_id: int, resident_id: int, blocked: bool) -> None:
    """Block or unblock; a blocked resident is signed out, a running charge goes on. Refuses unknown_resident."""
    await _change(connection, company_id, resident_id, "blocked = %s", blocked)
    if blocked:
        await _sign_out(connection, company_id, resident_id)


async def set_pin(connection: Connection, company_id: int, resident_id: int, pin_hash: str) -> None:
    """Set the hash of a new PIN; all sign-ins end. Refuses unknown_resident."""
    await _change(connection, company_id, resident_id, "pin_hash = %s", pin_hash)
    await _sign_out(connection, company_id, resident_id)


async def set_group(connection: Connection, company_id: int, resident_id: int, tariff_group: str) -> None:
    """Refuses unknown_resident."""
    await _change(connection, company_id, resident_id, "tariff_group = %s", tariff_group)


async def erase(connection: Connection, company_id: int, resident_id: int) -> None:
    """Erase all personal data; the row stays for the references of money and orders.

    Refuses unknown_resident; charge_running, money_left (also while a payment is open or money is on its way back).
    """
    await rows.value(
        connection, "SELECT 1 FROM resident WHERE company_id = %s AND id = %s FOR UPDATE", (company_id, resident_id)
    )
    row = await list_row(connection, company_id, resident_id)
    if row is None:
        raise Refused("unknown_resident")
    if await orders.open_of(connection, company_id, resident_id) is not None:  # also one that is free of charge
        raise Refused("charge_running")
    in_hand = await rows.value(
        connection,
        "SELECT 1 FROM payment WHERE resident_id = %s AND state IN ('created', 'offered', 'closing', 'paid', 'started',"
        " 'returning') LIMIT 1",
        (resident_id,),
    )
    if row.balance_fen or in_hand is not None:
        raise Refused("money_left")
    await connection.execute("DELETE FROM payer WHERE resident_id = %s", (resident_id,))
    await connection.execute("UPDATE payment SET payer = '', address = '' WHERE resident_id = %s", (resident_id,))
    await _change(
        connection,
        company_id,
        resident_id,
        "phone = NULL, card = NULL, name = '', pin_hash = NULL, tariff_group = '', blocked = TRUE, erased = %s",
        True,
    )
    await _sign_out(connection, company_id, resident_id)


async def _change(connection: Connection, company_id: int, resident_id: int, assignment: str, new: object) -> None:
    sql = f"UPDATE resident SET {assignment} WHERE company_id = %s AND id = %s AND NOT erased"
    if await rows.changed(connection, sql, (new, company_id, resident_id)) == 0:
        raise Refused("unknown_resident")


async def _sign_out(connection: Connection, company_id: int, resident_id: int) -> None:
    await connection.execute(
        "DELETE FROM login WHERE resident_id = (SELECT id FROM resident WHERE company_id = %s AND id = %s)",
        (company_id, resident_id),
    )
