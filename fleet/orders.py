"""Orders for charges: placing one, and wanting its stop.

The web only writes rows: `place` holds the money and notifies the worker, which sends.
"""

import datetime
import functools
import zoneinfo
from typing import Any

import psycopg

from cabinet.billing import ledger, tariff_files
from cabinet.billing.posted import PostedTariff, choose
from cabinet.billing.tariff import Tariff
from cabinet.errors import Refused
from cabinet.service.charges import pricing
from cabinet.service.ports import StartChoice
from fleet.config import OrdersSection
from fleet.order_book import OrderBook
from fleet.order_table import OrderState, OrderStep, new_number
from fleet.store import cabinets, desired, residents, rows, wallets
from fleet.store import orders as table
from fleet.store.cabinets import CabinetRow, OutletRow
from fleet.store.database import Connection
from fleet.store.orders import OrderRow
from fleet.store.residents import FleetResidentRow

MAX_REQUEST_KEY = 100
STATE_FRESH_S = 330  # a cabinet sends its state every 300 s at least
RATE_WINDOW_S = 600  # as on the cabinet: each start wears a relay
MAX_STARTS_PER_RESIDENT = 10
MAX_STARTS_PER_OUTLET = 20

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

    If `request_key` repeats, return the same order and place nothing. Runs in the caller's transaction; the order is
    sent after its commit. Refuses unknown_code (also for another company's outlet), unknown_resident, card_blocked,
    cabinet_offline, outlet_busy, already_charging, bad_choice, no_money, unknown_tariff, too_many_requests,
    bad_request, or with the code that the cabinet itself last gave.
    """
    if not 0 < len(request_key) <= MAX_REQUEST_KEY:
        raise Refused("bad_request")
    await connection.execute(
        "SELECT 1 FROM resident WHERE company_id = %s AND id = %s FOR UPDATE", (company_id, resident_id)
    )  # two taps of one resident take turns
    earlier = await table.by_request(connection, company_id, resident_id, request_key)
    if earlier is not None:
        return earlier
    amount = pricing.check_choice(choice)
    resident = await residents.get(connection, company_id, resident_id)
    if resident is None or resident.erased:
        raise Refused("unknown_resident")
    if resident.blocked:
        raise Refused("card_blocked")
    outlet = await cabinets.by_code(connection, code)
    if outlet is None or outlet.company_id != company_id:
        raise Refused("unknown_code")
    cabinet = await cabinets.get(connection, company_id, outlet.cabinet)
    if cabinet is None:
        raise Refused("unknown_code")
    now = await rows.value(connection, "SELECT now()")
    await _check_free(connection, cabinet, outlet, resident, now)
    await _check_rate(connection, resident_id, outlet)
    await wallets.collect_debts(connection, company_id, resident_id)
    tariff, held_fen = await _terms(connection, rules, cabinet, outlet, resident, choice, now)
    number = new_number()
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO charge_order (number, company_id, resident_id, request_key, cabinet, outlet, code, choice,"
                " choice_amount, tariff_group, tariff_version, held_fen, state)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'created')",
                (number, company_id, resident_id, request_key, outlet.cabinet, outlet.number, outlet.code, choice.kind,
                 amount, resident.tariff_group, tariff.version, held_fen),
            )  # fmt: skip
    except psycopg.errors.UniqueViolation as error:
        taken = error.diag.constraint_name == "one_order_an_outlet"
        raise Refused("outlet_busy" if taken else "already_charging") from None
    book = await OrderBook.load(connection, [number])
    book.step(number, OrderStep.HOLD)
    try:
        await book.write(connection)
    except ledger.Overdrawn as error:  # the wallet was paid out since it was read
        raise Refused("no_money", balance_fen=error.balance_fen, needed_fen=error.wanted_fen) from None
    await connection.execute("NOTIFY fleet_order")
    return book.row(number)


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


async def tariffs_in_force(connection: Connection, company_id: int, cabinet: str) -> list[PostedTariff]:
    """Return the tariffs that the cabinet has reported to have in force, from those that were rolled out to it."""
    row = await desired.get(connection, company_id, cabinet, "tariffs")
    return posted_of(None if row is None else row.applied_value)


def posted_of(applied: Any) -> list[PostedTariff]:
    """Return the tariffs of a desired value that is in force; None: none."""
    return [_loaded(str(each["file"])) for each in applied or ()]


@functools.lru_cache(maxsize=1000)
def _loaded(text: str) -> PostedTariff:
    """Return the tariff of a text; its check takes milliseconds, and a company has few."""
    return tariff_files.load_text(text, "tariff of the fleet")


async def tariff_for(
    connection: Connection, cabinet: CabinetRow, outlet: int, group: str, now: datetime.datetime
) -> Tariff:
    """Return the tariff of a charge that begins at `now` at this outlet. Refuses unknown_tariff if none is known."""
    return chosen(await tariffs_in_force(connection, cabinet.company_id, cabinet.id), cabinet, outlet, group, now)


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


async def _check_free(
    connection: Connection, cabinet: CabinetRow, outlet: OutletRow, resident: FleetResidentRow, now: datetime.datetime
) -> None:
    """Refuse if no charge can start at the outlet now, as far as its last state and the open orders say."""
    if not is_fresh(cabinet, now):
        raise Refused("cabinet_offline")
    if await table.open_of(connection, resident.company_id, resident.id) is not None:
        raise Refused("already_charging")
    if await table.open_at(connection, resident.company_id, outlet.cabinet, outlet.number) is not None:
        raise Refused("outlet_busy")
    state = cabinet.present()
    seen = cabinet.outlet_state(outlet.number)
    if state is None or seen is None:
        raise Refused("cabinet_offline")
    refusal = state.accepting or seen.refusal
    if refusal is None and seen.condition != "free":
        refusal = _CONDITION_REFUSALS[seen.condition]
    if refusal is not None:
        raise Refused(refusal)


async def _check_rate(connection: Connection, resident_id: int, outlet: OutletRow) -> None:
    """Refuse too_many_requests, with the seconds until the next start is allowed. Only what was sent counts."""
    for column, value, most in (
        ("resident_id = %(a)s", (resident_id, None), MAX_STARTS_PER_RESIDENT),
        ("cabinet = %(a)s AND outlet = %(b)s", (outlet.cabinet, outlet.number), MAX_STARTS_PER_OUTLET),
    ):
        left_s = await rows.value(
            connection,
            f"SELECT ceil(extract(epoch FROM made + make_interval(secs => {RATE_WINDOW_S}) - now()))::int"
            f" FROM charge_order WHERE {column} AND sent IS NOT NULL"
            f" AND made > now() - make_interval(secs => {RATE_WINDOW_S}) ORDER BY made DESC OFFSET %(most)s LIMIT 1",
            {"a": value[0], "b": value[1], "most": most - 1},
        )
        if left_s is not None:
            raise Refused("too_many_requests", retry_after_s=max(1, int(left_s)))


async def _terms(
    connection: Connection,
    rules: OrdersSection,
    cabinet: CabinetRow,
    outlet: OutletRow,
    resident: FleetResidentRow,
    choice: StartChoice,
    now: datetime.datetime,
) -> tuple[Tariff, int]:
    """Return the tariff of a charge that starts now, and its hold in fen, by the cabinet's own arithmetic."""
    posted = await tariff_for(connection, cabinet, outlet.number, resident.tariff_group, now)
    spent_fen = 0
    if posted.day_cap_fen is not None:
        zone = zoneinfo.ZoneInfo(cabinet.timezone)
        midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        spent_fen = await table.charged_between(
            connection, resident.company_id, resident.id, midnight, midnight + datetime.timedelta(days=1)
        )
    tariff = pricing.session_tariff(posted, choice, spent_fen)
    money = await wallets.wallet(connection, resident.company_id, resident.id)
    return tariff, pricing.hold_fen(rules, tariff, choice, money.balance_fen, outlet.max_power_w)
