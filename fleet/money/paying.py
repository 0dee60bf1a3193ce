"""Payments from the tap to the charge, and back: each function is one transaction, decided by the locked row.

No platform is called here: `offering` and `watcher` call, and hand over what was reported. A report counts once,
whether it comes as a notification, as the answer to a query, or both, in any order and any number of times.
"""

import datetime
from typing import Any, Literal

import msgspec
import psycopg

from cabinet.billing import ledger
from cabinet.errors import Refused
from cabinet.service.charges import pricing
from cabinet.service.ports import StartChoice
from fleet import orders
from fleet.config import OrdersSection
from fleet.money.payment_book import PaymentBook
from fleet.money.payment_table import (
    OPEN,
    RETURNABLE,
    PaymentState,
    PaymentStep,
    RefundState,
    RefundStep,
    new_payment_number,
)
from fleet.money.payments.accounts import MerchantAccount
from fleet.money.payments.checks import objection_to_payment, objection_to_refund
from fleet.money.payments.port import Notification, PaymentReport, RefundReport, Way
from fleet.store import cabinets, pages, payments, rows, wallets
from fleet.store import orders as order_rows
from fleet.store.database import Connection
from fleet.store.payments import PaymentRow

MIN_TOP_UP_FEN, MAX_TOP_UP_FEN = 100, 50_000
CHARGE_FEN = (100, 200, 500)
"""Amounts offered for a charge, beside "until full"."""

MAX_OPEN_AN_HOUR = 20  # payments begun by one resident
PAYMENT_KEY = "payment:"
"""The begin of the request key of an order that was paid by phone; no form of ours can have a colon in its key."""

CHANNEL = "fleet_payment"
"""Notified with a payment's number at each change."""

Taken = Literal["taken", "known", "other"]


class PaymentWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as a person wants it: a charge at the outlet `code` (`choice` is `full` or `amount`), or a top-up."""

    purpose: Literal["charge", "wallet"]
    amount_fen: int
    way: Way
    code: str = ""
    choice: str = ""
    address: str = ""

    def start_choice(self) -> StartChoice:
        return start_choice(self.choice, self.amount_fen)


def start_choice(choice: str, amount_fen: int) -> StartChoice:
    return StartChoice("full") if choice == "full" else StartChoice("amount", amount_fen=amount_fen)


async def needed_fen(connection: Connection, rules: OrdersSection, code: str, choice: str, amount_fen: int) -> int:
    """Return the amount in fen to pay for a charge, by the cabinet's own arithmetic of holds.

    Refuses unknown_code, unknown_tariff, bad_choice, and no_money if the amount is too small for any charge.
    """
    outlet = await cabinets.by_code(connection, code)
    row = None if outlet is None else await pages.scanned(connection, code)
    if outlet is None or row is None:
        raise Refused("unknown_code")
    wanted = start_choice(choice, amount_fen)
    pricing.check_choice(wanted)
    posted = orders.chosen(orders.posted_of(row.tariffs), row, row.outlet, "", row.now)
    tariff = pricing.session_tariff(posted, wanted, 0)
    balance = amount_fen if choice == "amount" else max(rules.full_hold_fen, rules.minimum_hold_fen)
    return pricing.hold_fen(rules, tariff, wanted, balance, outlet.max_power_w)


async def begin(
    connection: Connection,
    account: MerchantAccount,
    resident_id: int,
    wanted: PaymentWanted,
    request_key: str,
    expires: datetime.datetime,
) -> PaymentRow:
    """Write a payment before any platform hears of it; the same `request_key` again gives the same one.

    Refuses bad_amount, bad_request, unknown_resident, card_blocked, too_many_requests; payment_open if another
    payment of the resident waits: close that first.
    """
    company_id = account.row.company_id
    if not 0 < len(request_key) <= orders.MAX_REQUEST_KEY:
        raise Refused("bad_request")
    if wanted.purpose == "wallet" and not MIN_TOP_UP_FEN <= wanted.amount_fen <= MAX_TOP_UP_FEN:
        raise Refused("bad_amount")
    cursor = await connection.execute(
        "SELECT blocked FROM resident WHERE company_id = %s AND id = %s AND NOT erased FOR UPDATE",
        (company_id, resident_id),
    )
    found = await cursor.fetchone()
    if found is None:
        raise Refused("unknown_resident")
    if found[0]:
        raise Refused("card_blocked")
    earlier = await payments.by_request(connection, company_id, resident_id, request_key)
    if earlier is not None:
        return earlier
    begun = await rows.value(
        connection,
        "SELECT count(*) FROM payment WHERE resident_id = %s AND made > now() - interval '1 hour'",
        (resident_id,),
    )
    if begun >= MAX_OPEN_AN_HOUR:
        raise Refused("too_many_requests", retry_after_s=600)
    number = new_payment_number()
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO payment (number, company_id, resident_id, account_id, request_key, purpose, way,"
                " amount_fen, code, choice, state, address, expires, due) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s,"
                " %s, 'created', %s, %s, now() + interval '10 seconds')",
                (number, company_id, resident_id, account.row.id, request_key, wanted.purpose, wanted.way,
                 wanted.amount_fen, wanted.code, wanted.choice, wanted.address, expires),
            )  # fmt: skip
    except psycopg.errors.UniqueViolation:
        raise Refused("payment_open") from None
    made = await payments.get(connection, company_id, number)
    assert made is not None
    return made


async def offered(connection: Connection, number: str, offer: dict[str, object]) -> None:
    """Note the platform's offer; if the payment was paid or closed meanwhile, that stays."""
    book = await PaymentBook.load(connection, [number])
    if book.find(number) is not None and book.state(number) is PaymentState.CREATED:
        book.step(number, PaymentStep.OFFER, offer=offer)
        await _write(connection, book, number)


async def not_offered(connection: Connection, number: str, code: str) -> None:
    """Note that the platform refused to offer the payment."""
    book = await PaymentBook.load(connection, [number])
    if book.find(number) is not None and book.state(number) is PaymentState.CREATED:
        book.step(number, PaymentStep.FAIL, code, refusal=code)
        await _write(connection, book, number)


async def want_closed(connection: Connection, number: str, why: str) -> PaymentRow | None:
    """Want a payment no more, before another one is offered or because its time is over; then ask the platform."""
    book = await PaymentBook.load(connection, [number])
    if book.find(number) is None:
        return None
    if book.state(number) in (PaymentState.CREATED, PaymentState.OFFERED):
        book.step(number, PaymentStep.CLOSE, why, due=book.now, tries=0)
        await _write(connection, book, number)
    return book.row(number)


async def closed(connection: Connection, number: str) -> None:
    """Note that the platform takes no money for the payment any more."""
    book = await PaymentBook.load(connection, [number])
    if book.find(number) is not None and book.state(number) is PaymentState.CLOSING:
        book.step(number, PaymentStep.CLOSED)
        await _write(connection, book, number)


async def take(connection: Connection, account: MerchantAccount, report: Notification) -> Taken:
    """Take what a platform has verifiably reported: `taken`, `known` before, or `other`: it cannot be ours.

    What cannot be ours is kept as a difference that a person closes: it may be money.
    """
    if isinstance(report, RefundReport):
        return await take_refund(connection, account, report)
    return await take_payment(connection, account, report)


async def take_payment(connection: Connection, account: MerchantAccount, report: PaymentReport) -> Taken:
    book = await PaymentBook.load(connection, [report.number])
    row = book.find(report.number)
    if row is None or row.account_id != account.row.id:
        if report.state == "paid":
            await difference(connection, account, "unknown_payment", report.number, "", 0, report.amount_fen)
        return "other"
    if report.state == "absent":
        return "known"
    if reason := objection_to_payment(row, account.platform.merchant, account.platform.app, report):
        if report.state == "paid":
            ours = row.amount_fen if row.paid is not None else 0
            await difference(connection, account, "wrong_report", row.number, "", ours, report.amount_fen, reason)
        return "other"
    number, state = row.number, book.state(row.number)
    if report.state == "closed":
        if state in (PaymentState.CREATED, PaymentState.OFFERED):
            book.step(number, PaymentStep.CLOSE, "closed at the platform")
        if state not in OPEN:
            return "known"
        book.step(number, PaymentStep.CLOSED)
    elif report.state == "paid":
        if row.paid is not None:
            return "known"
        late = state in (PaymentState.CLOSING, PaymentState.CLOSED)
        book.step(
            number, PaymentStep.PAY, report.platform_number, paid=report.paid or book.now,
            platform_number=report.platform_number, payer=row.payer or report.payer,
        )  # fmt: skip
        if late:
            book.give_back(number, row.amount_fen, "paid_late")
    else:
        return "known"
    await _write(connection, book, number)
    return "taken"


async def take_refund(connection: Connection, account: MerchantAccount, report: RefundReport) -> Taken:
    book = await PaymentBook.load(connection, [report.payment_number])
    row = book.refund(report.refund_number)
    if row is None or book.row(row.payment_number).account_id != account.row.id:
        if report.state == "done":
            numbers = report.payment_number, report.refund_number
            await difference(connection, account, "unknown_refund", *numbers, 0, report.amount_fen)
        return "other"
    if reason := objection_to_refund(row, account.platform.merchant, report):
        if report.state == "done":
            numbers = row.payment_number, row.number
            await difference(connection, account, "wrong_report", *numbers, row.amount_fen, report.amount_fen, reason)
        return "other"
    state = RefundState(row.state)
    if report.state == "done" and state is not RefundState.DONE:
        book.refund_step(row.number, RefundStep.DONE, report.platform_number, platform_number=report.platform_number)
    elif report.state == "failed" and state in (RefundState.WANTED, RefundState.SENT):
        book.refund_step(row.number, RefundStep.FAIL, report.failure, problem=report.failure)
    elif report.state == "processing" and state is RefundState.WANTED:
        soon = book.now + datetime.timedelta(seconds=5)
        book.refund_step(
            row.number, RefundStep.SEND, report.platform_number, platform_number=report.platform_number, due=soon,
            tries=0, problem=None,
        )  # fmt: skip
    else:
        return "known"
    await _write(connection, book, row.payment_number)
    return "taken"


async def use(connection: Connection, rules: OrdersSection, number: str) -> PaymentRow | None:
    """Use a payment that is in the wallet: place its charge, or leave the top-up there. Idempotent.

    Debts of earlier charges are paid first. If the charge cannot start, the rest goes back to where it came from.
    """
    book = await PaymentBook.load(connection, [number])
    row = book.find(number)
    if row is None or book.state(number) is not PaymentState.PAID:
        return row
    if row.purpose == "wallet":
        book.step(number, PaymentStep.CREDIT)
        await _write(connection, book, number)
        await wallets.collect_debts(connection, row.company_id, row.resident_id)
        return book.row(number)
    await connection.execute("SELECT 1 FROM resident WHERE id = %s FOR UPDATE", (row.resident_id,))  # before accounts
    await wallets.collect_debts(connection, row.company_id, row.resident_id)
    try:
        async with connection.transaction():
            order = await orders.place(
                connection, rules, row.company_id, row.resident_id, row.code,
                start_choice(row.choice, row.amount_fen), f"{PAYMENT_KEY}{number}",
            )  # fmt: skip
        book.step(number, PaymentStep.START, order.number, order_number=order.number)
    except Refused as refusal:
        book.change(number, refusal=refusal.code)
        await _give_back(connection, book, row, row.amount_fen, "no_charge")
    await _write(connection, book, number)
    return book.row(number)


async def finish(connection: Connection, number: str) -> None:
    """Send the rest of a charge that is over back to where it came from. Idempotent."""
    book = await PaymentBook.load(connection, [number])
    row = book.find(number)
    if row is None or book.state(number) is not PaymentState.STARTED:
        return
    order = await order_rows.get(connection, row.company_id, row.order_number or "")
    if order is None or order.state not in ("paid_out", "given_back"):
        return
    rest_fen = row.amount_fen - (order.cost_fen or 0)
    await _give_back(connection, book, row, rest_fen, "rest" if order.cost_fen else "no_charge")
    await _write(connection, book, number)


async def want_back(connection: Connection, company_id: int, resident_id: int) -> int:
    """Send what is left of a resident's top-ups back to where they came from, the oldest first; return the fen.

    Refuses no_money if nothing came by phone, or nothing is left.
    """
    cursor = await connection.execute(
        "SELECT number FROM payment WHERE company_id = %s AND resident_id = %s AND purpose = 'wallet'"
        " AND state = ANY(%s) ORDER BY paid, number",
        (company_id, resident_id, [str(state) for state in RETURNABLE]),
    )
    numbers = [number for (number,) in await cursor.fetchall()]
    book = await PaymentBook.load(connection, numbers)
    balance_fen = await _locked_balance(connection, company_id, resident_id)
    total_fen = 0
    for number in numbers:
        amount_fen = min(book.left_fen(number), balance_fen - total_fen)
        if amount_fen > 0:
            book.give_back(number, amount_fen, "wanted_back")
            total_fen += amount_fen
    if not total_fen:
        raise Refused("no_money", balance_fen=balance_fen, needed_fen=1)
    await book.write(connection)
    await connection.execute(f"NOTIFY {CHANNEL}".encode())
    return total_fen


async def decide_refund(connection: Connection, company_id: int, refund_number: str, step: RefundStep) -> None:
    """Have a failed refund tried again, or note that it was paid out in cash. Refuses cannot_undo."""
    payment_number = await rows.value(
        connection,
        "SELECT payment_number FROM refund WHERE company_id = %s AND number = %s",
        (company_id, refund_number),
    )
    book = await PaymentBook.load(connection, [payment_number or ""])
    row = book.refund(refund_number)
    if row is None or row.state != RefundState.FAILED or step not in (RefundStep.AGAIN, RefundStep.BY_HAND):
        raise Refused("cannot_undo")
    fields: dict[str, Any] = {"due": book.now, "tries": 0} if step is RefundStep.AGAIN else {}
    book.refund_step(refund_number, step, **fields)
    await _write(connection, book, row.payment_number)


async def difference(
    connection: Connection,
    account: MerchantAccount,
    kind: str,
    payment_number: str,
    refund_number: str,
    ours_fen: int,
    theirs_fen: int,
    detail: str = "",
) -> None:
    """Keep a difference between a platform and us, once."""
    await connection.execute(
        "INSERT INTO payment_difference (company_id, account_id, day, kind, payment_number, refund_number, ours_fen,"
        " theirs_fen, detail) VALUES (%s, %s, (now() AT TIME ZONE 'Asia/Shanghai')::date, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (account.row.company_id, account.row.id, kind, payment_number[:64], refund_number[:64], ours_fen, theirs_fen,
         detail[:300]),
    )  # fmt: skip


async def _give_back(connection: Connection, book: PaymentBook, row: PaymentRow, wanted_fen: int, reason: str) -> None:
    """Send money back, as far as the wallet has it: debts of earlier charges may have taken a part."""
    balance_fen = await _locked_balance(connection, row.company_id, row.resident_id)
    amount_fen = min(wanted_fen, balance_fen, book.left_fen(row.number))
    if amount_fen > 0:
        book.give_back(row.number, amount_fen, reason)
    elif book.state(row.number) is PaymentState.PAID:
        book.step(row.number, PaymentStep.CREDIT, "nothing of it is left")
    else:
        book.step(row.number, PaymentStep.SPEND)


async def _locked_balance(connection: Connection, company_id: int, resident_id: int) -> int:
    sql = "SELECT balance_fen FROM account WHERE company_id = %s AND name = %s FOR UPDATE"
    return int(await rows.value(connection, sql, (company_id, ledger.wallet(resident_id))) or 0)


async def _write(connection: Connection, book: PaymentBook, number: str) -> None:
    await book.write(connection)
    await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, number))
