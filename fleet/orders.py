"""Orders for charges: placing one, and wanting its stop.

The web only writes rows: `place` holds the money and notifies the worker, which sends.
"""

import datetime
import functools
import zoneinfo
from typing import Any

import psycopg

from cabinet.billing import tariff_files
from cabinet.billing.posted import PostedTariff, choose
from cabinet.billing.tariff import Tariff
from cabinet.errors import Refused
from cabinet.service.charges import pricing
from cabinet.service.ports import StartChoice
from fleet.config import OrdersSection
from fleet.order_book import OrderBook
from fleet.order_table import OrderState, new_number
from fleet.store import orders as table
from fleet.store import taps, wallets
from fleet.store.cabinets import CabinetRow
from fleet.store.database import Connection
from fleet.store.orders import OrderRow
from fleet.store.taps import NewOrder, TapOutlet, TapResident

MAX_REQUEST_KEY = 100
STATE_FRESH_S = 330  # a cabinet sends its state every 300 s at least
LIMITS = taps.Limits(within_s=600, of_resident=10, of_outlet=20)
"""Limits as on the cabinet: each start wears a relay. Only orders that were sent count."""

_CONDITION_REFUSALS = {"in_use": "outlet_busy", "needs_service": "fault_latched", "unreachable": "guard_unreachable"}


async def place(
    connection: Connection,
    rules: OrdersSection,
    company_id: int,
    resident_id: int,
    code: str,
    choice: StartChoice,
    request_key: str,
) -> OrderRow:
    """Place an order for a charge at the outlet with `code`; its money is held, and the worker sends it.

    If `request_key` repeats, return the same order and place nothing. Runs in the caller's transaction, which is to be
    rolled back if this refuses; the order is sent after its commit. Two round trips to the database: one reads all
    that decides, with the resident locked, and one writes. Refuses unknown_code (also for another company's outlet),
    unknown_resident, card_blocked, cabinet_offline, outlet_busy, already_charging, bad_choice, no_money,
    unknown_tariff, too_many_requests, bad_request, or with the code that the cabinet itself last gave.
    """
    if not 0 < len(request_key) <= MAX_REQUEST_KEY:
        raise Refused("bad_request")
    resident, outlet = await taps.read(connection, company_id, resident_id, code, request_key, LIMITS)
    if resident is not None and resident.earlier is not None:
        earlier = await table.get(connection, company_id, resident.earlier)
        assert earlier is not None  # orders are never deleted
        return earlier
    amount = pricing.check_choice(choice)
    if resident is None or resident.erased:
        raise Refused("unknown_resident")
    if resident.blocked:
        raise Refused("card_blocked")
    if outlet is None or outlet.company_id != company_id:
        raise Refused("unknown_code")
    _check_free(resident, outlet)
    for wait_s in (resident.wait_s, outlet.wait_s):
        if wait_s is not None:
            raise Refused("too_many_requests", retry_after_s=max(1, wait_s))
    balance_fen = resident.balance_fen
    if resident.in_debt and balance_fen > 0:
        balance_fen -= await wallets.collect_debts(connection, company_id, resident_id)
    tariff = await _terms(connection, outlet, resident_id, resident.tariff_group, choice)
    held_fen = pricing.hold_fen(rules, tariff, choice, balance_fen, outlet.max_power_w)
    new = NewOrder(
        new_number(), company_id, resident_id, request_key, outlet.id, outlet.outlet, outlet.code, choice.kind, amount,
        resident.tariff_group, tariff.version, held_fen,
    )  # fmt: skip
    try:
        order = await taps.place(connection, new)
    except psycopg.errors.UniqueViolation as error:
        taken = error.diag.constraint_name == "one_order_an_outlet"
        raise Refused("outlet_busy" if taken else "already_charging") from None
    if order is None:  # the wallet was paid out since it was read
        left_fen = (await wallets.wallet(connection, company_id, resident_id)).balance_fen
        raise Refused("no_money", balance_fen=left_fen, needed_fen=held_fen)
    return order


async def want_stop(
    connection: Connection, company_id: int, number: str, *, resident_id: int | None = None, by: str = "resident"
) -> OrderRow:
    """Note that an order shall end; the worker sends the stop. Idempotent; nothing changes for an order that is over.

    `resident_id`: the order must be that resident's. An order that was not sent yet is given back at once. Refuses
    unknown_session.
    """
    book = await OrderBook.load(connection, [number])
    row = book.find(number)
    if row is None or row.company_id != company_id or resident_id not in (None, row.resident_id):
        raise Refused("unknown_session")
    if row.state in (OrderState.CREATED, OrderState.HELD):
        book.refuse(number, "session_over", "stopped before it was sent")
    elif row.open and row.stop_wanted is None:
        book.change(number, stop_wanted=book.now, stop_by=by)
        await connection.execute("NOTIFY fleet_order")
    await book.write(connection)
    return book.row(number)


def posted_of(applied: Any) -> list[PostedTariff]:
    """Return the tariffs of a desired value that is in force; None: none."""
    return [_loaded(str(each["file"])) for each in applied or ()]


@functools.lru_cache(maxsize=1000)
def _loaded(text: str) -> PostedTariff:
    """Return the tariff of a text; its check takes milliseconds, and a company has few."""
    return tariff_files.load_text(text, "tariff of the fleet")


def chosen(posted: list[PostedTariff], cabinet: CabinetRow, outlet: int, group: str, now: datetime.datetime) -> Tariff:
    """Return the one of the cabinet's tariffs for a charge that begins at `now`. Refuses unknown_tariff."""
    day = now.astimezone(zoneinfo.ZoneInfo(cabinet.timezone)).toordinal()
    if not any(each.fits(outlet, group, day) for each in posted):
        raise Refused("unknown_tariff")
    return choose(posted, outlet, group, day)


def is_fresh(cabinet: CabinetRow, now: datetime.datetime) -> bool:
    """Return whether a start may be sent: the cabinet is online, and its last state is not too old."""
    return (
        cabinet.online
        and cabinet.revoked is None
        and cabinet.state_at is not None
        and (now - cabinet.state_at).total_seconds() <= STATE_FRESH_S
    )


def _check_free(resident: TapResident, outlet: TapOutlet) -> None:
    """Refuse if no charge can start at the outlet now, as far as its last state and the open orders say."""
    if not is_fresh(outlet, outlet.now):
        raise Refused("cabinet_offline")
    if resident.charging:
        raise Refused("already_charging")
    if outlet.taken:
        raise Refused("outlet_busy")
    state = outlet.present()
    seen = None if state is None else next((each for each in state.outlets if each.number == outlet.outlet), None)
    if state is None or seen is None:
        raise Refused("cabinet_offline")
    refusal = state.accepting or seen.refusal
    if refusal is None and seen.condition != "free":
        refusal = _CONDITION_REFUSALS[seen.condition]
    if refusal is not None:
        raise Refused(refusal)


async def _terms(
    connection: Connection, outlet: TapOutlet, resident_id: int, group: str, choice: StartChoice
) -> Tariff:
    """Return the tariff of a charge that starts now, with what its cap of a day leaves."""
    posted = chosen(posted_of(outlet.tariffs), outlet, outlet.outlet, group, outlet.now)
    spent_fen = 0
    if posted.day_cap_fen is not None:
        begin = outlet.now.astimezone(zoneinfo.ZoneInfo(outlet.timezone))
        midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        spent_fen = await table.charged_between(
            connection, outlet.company_id, resident_id, midnight, midnight + datetime.timedelta(days=1)
        )
    return pricing.session_tariff(posted, choice, spent_fen)
