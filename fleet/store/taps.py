"""Rows of a tap on an outlet: all that decides about an order, read in one round trip, and the order, written in one.

The resident's row is locked first, so that two taps of one resident take turns; each later statement of the same round
trip sees what the one before has committed.
"""

from typing import Any

import msgspec
from psycopg.rows import class_row

from cabinet.billing import ledger
from fleet.order_table import OrderState, OrderStep, next_state
from fleet.store import orders, pages
from fleet.store.database import Connection
from fleet.store.orders import OrderRow
from fleet.store.pages import ScannedOutlet


class TapResident(msgspec.Struct, frozen=True):
    """The person who taps. `wait_s`: seconds until one more start is allowed; None: it is."""

    tariff_group: str
    blocked: bool
    erased: bool
    earlier: str | None  # number of the order of the same tap
    charging: bool
    balance_fen: int
    in_debt: bool
    wait_s: int | None


class TapOutlet(ScannedOutlet, frozen=True, kw_only=True):
    """The outlet that is tapped on, with its cabinet. `wait_s` as in `TapResident`."""

    max_power_w: int
    wait_s: int | None


class Limits(msgspec.Struct, frozen=True):
    """Most starts of one resident and of one outlet within a time."""

    within_s: int
    of_resident: int
    of_outlet: int


_WAIT_S = (
    "(SELECT ceil(extract(epoch FROM made + make_interval(secs => %(within)s) - now()))::int FROM charge_order AS past"
    " WHERE {0} AND past.sent IS NOT NULL AND past.made > now() - make_interval(secs => %(within)s)"
    " ORDER BY past.made DESC OFFSET %({1})s LIMIT 1) AS wait_s"
)
_RESIDENT = (
    "SELECT tariff_group, blocked, erased, coalesce(balance_fen, 0) AS balance_fen,"
    " (SELECT number FROM charge_order WHERE resident_id = resident.id AND request_key = %(key)s) AS earlier,"
    f" EXISTS (SELECT 1 FROM charge_order WHERE resident_id = resident.id AND {orders.IS_OPEN}) AS charging,"
    " EXISTS (SELECT 1 FROM charge_order JOIN account AS debt ON debt.company_id = charge_order.company_id"
    " AND debt.name = 'debt:' || number WHERE resident_id = resident.id AND debt_fen > 0 AND debt.balance_fen < 0)"
    f" AS in_debt, {_WAIT_S.format('past.resident_id = resident.id', 'of_resident')}"
    " FROM resident LEFT JOIN account ON account.company_id = resident.company_id AND account.name = %(wallet)s"
    " WHERE resident.company_id = %(company)s AND resident.id = %(resident)s"
)
_OUTLET = pages.scanned_sql(
    "outlet.max_power_w, " + _WAIT_S.format("past.cabinet = cabinet.id AND past.outlet = outlet.number", "of_outlet")
)


async def read(
    connection: Connection, company_id: int, resident_id: int, code: str, request_key: str, limits: Limits
) -> tuple[TapResident | None, TapOutlet | None]:
    """Lock the resident; return the resident and the outlet with this code. One round trip; the transaction begins."""
    parameters = {
        "company": company_id, "resident": resident_id, "code": code, "key": request_key,
        "wallet": ledger.wallet(resident_id), "within": limits.within_s, "of_resident": limits.of_resident - 1,
        "of_outlet": limits.of_outlet - 1,
    }  # fmt: skip
    async with (
        connection.cursor(row_factory=class_row(TapResident)) as resident,
        connection.cursor(row_factory=class_row(TapOutlet)) as outlet,
    ):
        async with connection.pipeline():
            await connection.execute(
                "SELECT 1 FROM resident WHERE company_id = %s AND id = %s FOR UPDATE", (company_id, resident_id)
            )
            await resident.execute(_RESIDENT.encode(), parameters)
            await outlet.execute(_OUTLET.encode(), parameters)
        return await resident.fetchone(), await outlet.fetchone()


class NewOrder(msgspec.Struct, frozen=True):
    """An order as it is placed; its money is held in the same statement."""

    number: str
    company_id: int
    resident_id: int
    request_key: str
    cabinet: str
    outlet: int
    code: str
    choice: str
    choice_amount: int
    tariff_group: str
    tariff_version: str
    held_fen: int


_FIELDS = NewOrder.__struct_fields__
_PLACE = (
    "WITH paid AS (UPDATE account SET balance_fen = balance_fen - %(held_fen)s WHERE company_id = %(company_id)s"
    " AND name = %(wallet)s AND balance_fen >= %(held_fen)s AND %(held_fen)s > 0 RETURNING 1),"
    f" placed AS (INSERT INTO charge_order ({', '.join(_FIELDS)}, state)"
    f" SELECT {', '.join(f'%({name})s' for name in _FIELDS)}, %(state)s"
    " WHERE %(held_fen)s = 0 OR EXISTS (SELECT 1 FROM paid) RETURNING *),"
    " step AS (INSERT INTO order_step (order_number, step, from_state, to_state)"
    " SELECT number, %(step)s, %(before)s, %(state)s FROM placed),"
    " hold AS (INSERT INTO account (company_id, name, balance_fen) SELECT company_id, %(hold)s, held_fen FROM placed"
    " WHERE held_fen > 0),"
    " entry AS (INSERT INTO ledger_transaction (company_id, key, kind) SELECT company_id, %(ledger_key)s, %(kind)s"
    " FROM placed WHERE held_fen > 0 RETURNING id, company_id),"
    " line AS (INSERT INTO posting (transaction_id, company_id, account, amount_fen)"
    " SELECT id, company_id, account, amount_fen FROM entry, unnest(%(accounts)s::text[], %(amounts)s::bigint[])"
    " AS of_hold (account, amount_fen)) SELECT * FROM placed"
)


async def place(connection: Connection, new: NewOrder) -> OrderRow | None:
    """Write the order, its first step and the hold of its money, and wake the worker at the commit. One round trip.

    Returns None, and writes nothing, if the wallet does not have the money any more. Raises
    psycopg.errors.UniqueViolation if outlet or resident have been taken meanwhile; the transaction is then lost.
    """
    hold = ledger.hold(new.number, new.resident_id, new.held_fen)
    parameters: dict[str, Any] = {
        **msgspec.structs.asdict(new),
        "state": str(next_state(OrderState.CREATED, OrderStep.HOLD)), "before": str(OrderState.CREATED),
        "step": str(OrderStep.HOLD), "wallet": ledger.wallet(new.resident_id), "hold": ledger.held(new.number),
        "ledger_key": hold.key, "kind": hold.kind, "accounts": [each.account for each in hold.postings],
        "amounts": [each.amount_fen for each in hold.postings],
    }  # fmt: skip
    async with connection.cursor(row_factory=class_row(OrderRow)) as cursor:
        async with connection.pipeline():
            await cursor.execute(_PLACE.encode(), parameters)
            await connection.execute("NOTIFY fleet_order")
        return await cursor.fetchone()
