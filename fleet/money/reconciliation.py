"""Comparison of the platforms' bills of a day with our payments and refunds; each difference is an entry with a name.

A person closes each entry with a note. Kinds: `unknown_payment` and `unknown_refund` (a platform has it, we do not),
`missing_payment` and `missing_refund` (we have it, the bill does not), `other_amount`, and `wrong_report` (a
notification or an answer that contradicts our row).
"""

import datetime
import logging
from collections.abc import Sequence

import msgspec

from cabinet.errors import CabinetError, Refused
from fleet.money import paying
from fleet.money.payments.accounts import MerchantAccount, MerchantAccounts
from fleet.money.payments.port import BillLine, PlatformError
from fleet.store import rows
from fleet.store.database import Connection, Pool

log = logging.getLogger(__name__)

CHINA = datetime.timezone(datetime.timedelta(hours=8))
READY_HOUR = 10  # both platforms have the bill of a day by ten in the morning of the next
DAYS_BACK = 7  # a bill that could not be fetched is tried again for so long


class DifferenceRow(msgspec.Struct, frozen=True):
    """A difference between a platform and our rows; `closed_by` and `note` once a person has closed it."""

    id: int
    company_id: int
    account_id: int
    day: datetime.date
    kind: str
    payment_number: str
    refund_number: str
    ours_fen: int
    theirs_fen: int
    detail: str
    found: datetime.datetime
    closed: datetime.datetime | None
    closed_by: str
    note: str


class _Ours(msgspec.Struct, frozen=True):
    payment_number: str
    refund_number: str
    amount_fen: int


async def open_differences(connection: Connection, company_id: int) -> list[DifferenceRow]:
    """Return the company's differences that no person has closed, the oldest first."""
    sql = "SELECT * FROM payment_difference WHERE company_id = %s AND closed IS NULL ORDER BY id"
    return await rows.many(connection, DifferenceRow, sql, (company_id,))


async def close_difference(connection: Connection, company_id: int, difference: int, who: str, note: str) -> None:
    """Close a difference with a note. Refuses unknown_record."""
    done = await rows.changed(
        connection,
        "UPDATE payment_difference SET closed = now(), closed_by = %s, note = %s"
        " WHERE company_id = %s AND id = %s AND closed IS NULL",
        (who, note, company_id, difference),
    )
    if not done:
        raise Refused("unknown_record")


async def reconcile(pool: Pool, account: MerchantAccount, day: datetime.date) -> int:
    """Fetch and compare the bill of a day; return the number of differences. Raises PlatformError without a bill."""
    lines = await account.platform.bill(day)
    async with pool.connection() as connection:
        return await compare(connection, account, day, lines)


async def compare(
    connection: Connection, account: MerchantAccount, day: datetime.date, lines: Sequence[BillLine]
) -> int:
    """Compare a bill with our rows, once a day and account; return the number of differences.

    A line may be of the day beside it by our clock, so it is looked up by its number, and our rows are looked for in
    the bill only if they are well inside the day.
    """
    theirs = {(line.payment_number, line.refund_number): line for line in lines}
    ours = {(each.payment_number, each.refund_number): each for each in await _named(connection, account, theirs)}
    count = 0
    for key, line in theirs.items():
        own = ours.get(key)
        if own is not None and own.amount_fen == line.amount_fen:
            continue
        kind = "other_amount" if own else "unknown_refund" if line.refund_number else "unknown_payment"
        ours_fen = own.amount_fen if own else 0
        await paying.difference(connection, account, kind, *key, ours_fen, line.amount_fen, f"bill of {day}")
        count += 1
    for each in await _of_day(connection, account, day):
        if (each.payment_number, each.refund_number) not in theirs:
            kind = "missing_refund" if each.refund_number else "missing_payment"
            await paying.difference(
                connection, account, kind, each.payment_number, each.refund_number, each.amount_fen, 0,
                f"bill of {day}",
            )  # fmt: skip
            count += 1
    paid = [line for line in lines if not line.refund_number]
    await connection.execute(
        "INSERT INTO platform_bill (account_id, day, payments, paid_fen, refunded_fen, fee_fen)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (account.row.id, day, len(paid), sum(line.amount_fen for line in paid),
         sum(line.amount_fen for line in lines if line.refund_number), sum(line.fee_fen for line in lines)),
    )  # fmt: skip
    return count


async def _named(
    connection: Connection, account: MerchantAccount, theirs: dict[tuple[str, str], BillLine]
) -> list[_Ours]:
    """Return our rows with the numbers of a bill."""
    numbers = sorted({payment for payment, _ in theirs})
    return await rows.many(
        connection,
        _Ours,
        "SELECT number AS payment_number, '' AS refund_number, amount_fen FROM payment"
        " WHERE account_id = %(account)s AND paid IS NOT NULL AND number = ANY(%(numbers)s)"
        " UNION ALL SELECT payment_number, refund.number, refund.amount_fen FROM refund JOIN payment"
        " ON payment.number = payment_number WHERE account_id = %(account)s AND payment_number = ANY(%(numbers)s)",
        {"account": account.row.id, "numbers": numbers},
    )


async def _of_day(connection: Connection, account: MerchantAccount, day: datetime.date) -> list[_Ours]:
    """Return our payments, and refunds that are done, of the day less an hour at both ends."""
    begin = datetime.datetime.combine(day, datetime.time(1), CHINA)
    end = begin + datetime.timedelta(hours=22)
    return await rows.many(
        connection,
        _Ours,
        "SELECT number AS payment_number, '' AS refund_number, amount_fen FROM payment"
        " WHERE account_id = %(account)s AND paid >= %(begin)s AND paid < %(end)s"
        " UNION ALL SELECT payment_number, refund.number, refund.amount_fen FROM refund JOIN payment"
        " ON payment.number = payment_number WHERE account_id = %(account)s AND refund.state = 'done'"
        " AND refund.platform_number <> 'cash' AND refund.made >= %(begin)s AND ended < %(end)s",
        {"account": account.row.id, "begin": begin, "end": end},
    )


async def every_morning(pool: Pool, accounts: MerchantAccounts) -> None:
    """Fetch and compare the bills of the last days that are due and were not fetched."""
    now = datetime.datetime.fromtimestamp(accounts.now_s(), CHINA)
    newest = now.date() - datetime.timedelta(days=1 if now.hour >= READY_HOUR else 2)
    days = [newest - datetime.timedelta(days=back) for back in range(DAYS_BACK)]
    for account in await accounts.all(pool):
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT day FROM platform_bill WHERE account_id = %s AND day = ANY(%s)", (account.row.id, days)
            )
            known = {day for (day,) in await cursor.fetchall()}
        added = account.row.added.astimezone(CHINA).date()
        for day in sorted(day for day in days if day not in known and day >= added):
            try:
                count = await reconcile(pool, account, day)
            except (PlatformError, CabinetError) as error:
                log.warning("merchant account %s: bill of %s: %s: later again", account.row.id, day, error)
                break
            if count:
                log.warning("merchant account %s: bill of %s: %s differences", account.row.id, day, count)
