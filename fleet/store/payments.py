"""Payments, refunds and their steps, for reading. Only `fleet.money` changes them."""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection


class PaymentRow(msgspec.Struct, frozen=True):
    """One payment. `code` and `choice` are those of the charge that it is for; `offer`: how the person pays it."""

    number: str
    company_id: int
    resident_id: int
    account_id: int
    request_key: str
    purpose: str
    way: str
    amount_fen: int
    code: str
    choice: str
    state: str
    payer: str
    address: str
    offer: dict[str, object] | None
    made: datetime.datetime
    expires: datetime.datetime
    paid: datetime.datetime | None
    platform_number: str
    order_number: str | None
    refusal: str | None
    due: datetime.datetime
    tries: int


class RefundRow(msgspec.Struct, frozen=True):
    """One refund. `problem` is the last answer of the platform that was none."""

    number: str
    payment_number: str
    company_id: int
    amount_fen: int
    reason: str
    state: str
    made: datetime.datetime
    ended: datetime.datetime | None
    platform_number: str
    problem: str | None
    due: datetime.datetime
    tries: int


class PaymentStepRow(msgspec.Struct, frozen=True):
    id: int
    payment_number: str
    refund_number: str | None
    step: str
    from_state: str
    to_state: str
    at: datetime.datetime
    detail: str


async def get(connection: Connection, company_id: int, number: str) -> PaymentRow | None:
    sql = "SELECT * FROM payment WHERE company_id = %s AND number = %s"
    return await rows.one(connection, PaymentRow, sql, (company_id, number))


async def by_request(connection: Connection, company_id: int, resident_id: int, request_key: str) -> PaymentRow | None:
    """Return the payment that this tap has made before, or None."""
    sql = "SELECT * FROM payment WHERE company_id = %s AND resident_id = %s AND request_key = %s"
    return await rows.one(connection, PaymentRow, sql, (company_id, resident_id, request_key))


async def open_of(connection: Connection, company_id: int, resident_id: int) -> PaymentRow | None:
    """Return the resident's payment that the platform waits for; there is at most one."""
    sql = "SELECT * FROM payment WHERE company_id = %s AND resident_id = %s AND state IN ('created', 'offered')"
    return await rows.one(connection, PaymentRow, sql, (company_id, resident_id))


async def of_order(connection: Connection, company_id: int, order_number: str) -> PaymentRow | None:
    """Return the payment that a charge was paid with."""
    sql = "SELECT * FROM payment WHERE company_id = %s AND order_number = %s"
    return await rows.one(connection, PaymentRow, sql, (company_id, order_number))


async def refunds(connection: Connection, company_id: int, payment_number: str) -> list[RefundRow]:
    """Return the refunds of a payment, the first one first."""
    sql = "SELECT * FROM refund WHERE company_id = %s AND payment_number = %s ORDER BY made, number"
    return await rows.many(connection, RefundRow, sql, (company_id, payment_number))


async def steps(connection: Connection, company_id: int, payment_number: str) -> list[PaymentStepRow]:
    """Return the steps of a payment and of its refunds, the first one first."""
    return await rows.many(
        connection,
        PaymentStepRow,
        "SELECT payment_step.* FROM payment_step JOIN payment ON number = payment_number"
        " WHERE company_id = %s AND number = %s ORDER BY payment_step.id",
        (company_id, payment_number),
    )


async def failed_refunds(connection: Connection, company_id: int) -> list[RefundRow]:
    """Return refunds that wait for a person."""
    sql = "SELECT * FROM refund WHERE company_id = %s AND state = 'failed' ORDER BY made"
    return await rows.many(connection, RefundRow, sql, (company_id,))


class BilledMonth(msgspec.Struct, frozen=True):
    """A month of one account by the platform's bills. `fee_fen` is what the platform keeps."""

    month: str
    platform: str
    merchant: str
    payments: int
    paid_fen: int
    refunded_fen: int
    fee_fen: int


async def by_month(connection: Connection, company_id: int, months: int) -> list[BilledMonth]:
    """Return the sums of the bills that were fetched, of the last months, the newest first."""
    return await rows.many(
        connection,
        BilledMonth,
        "SELECT to_char(day, 'YYYY-MM') AS month, platform, merchant, sum(payments)::bigint AS payments,"
        " sum(paid_fen)::bigint AS paid_fen, sum(refunded_fen)::bigint AS refunded_fen, sum(fee_fen)::bigint AS fee_fen"
        " FROM platform_bill JOIN merchant_account ON account_id = merchant_account.id WHERE company_id = %s"
        " AND day >= date_trunc('month', (SELECT max(day) FROM platform_bill)) - make_interval(months => %s)"
        " GROUP BY month, platform, merchant ORDER BY month DESC, platform, merchant",
        (company_id, months - 1),
    )


async def check(connection: Connection, company_id: int) -> list[str]:
    """Return disagreements between payments and the ledger, one sentence each; empty if there are none."""
    cursor = await connection.execute(
        "SELECT 'platform:' || platform || ':' || merchant AS account, coalesce(sum(balance), 0)::bigint AS expected,"
        " coalesce((SELECT balance_fen FROM account WHERE account.company_id = merchant_account.company_id"
        " AND account.name = 'platform:' || platform || ':' || merchant), 0) AS booked"
        " FROM merchant_account LEFT JOIN (SELECT account_id, coalesce((SELECT sum(amount_fen) FROM refund"
        " WHERE payment_number = payment.number AND state = 'done' AND platform_number <> 'cash'), 0) - amount_fen"
        " AS balance FROM payment WHERE paid IS NOT NULL) AS paid ON account_id = merchant_account.id"
        " WHERE company_id = %s GROUP BY company_id, platform, merchant",
        (company_id,),
    )
    problems = [
        f"account {account}: {booked} fen, its payments and refunds give {expected}"
        for account, expected, booked in await cursor.fetchall()
        if expected != booked
    ]
    cursor = await connection.execute(
        "SELECT number, refund.state, amount_fen, coalesce(balance_fen, 0) FROM refund LEFT JOIN account"
        " ON account.company_id = refund.company_id AND name = 'refund:' || number WHERE refund.company_id = %s"
        " AND coalesce(balance_fen, 0) <> CASE WHEN refund.state = 'done' THEN 0 ELSE amount_fen END ORDER BY number",
        (company_id,),
    )
    problems += [
        f"refund {number} is {state} with {amount} fen, its account has {balance}"
        for number, state, amount, balance in await cursor.fetchall()
    ]
    cursor = await connection.execute(
        "SELECT payment.number, payment.amount_fen, sum(refund.amount_fen)::bigint FROM payment JOIN refund"
        " ON payment_number = payment.number WHERE payment.company_id = %s GROUP BY payment.number"
        " HAVING sum(refund.amount_fen) > payment.amount_fen OR payment.paid IS NULL ORDER BY 1",
        (company_id,),
    )
    problems += [
        f"payment {number} of {amount} fen has refunds of {refunded}"
        for number, amount, refunded in await cursor.fetchall()
    ]
    return problems
