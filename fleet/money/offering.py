"""Calls to a platform for a payment that a person is waiting for: its offer, its close, a look at how it stands.

No transaction is open during a call. A kill between call and commit leaves a row that the watcher asks about.
"""

import logging

import msgspec

from fleet.config import OrdersSection
from fleet.money import paying
from fleet.money.payments.accounts import MerchantAccount, MerchantAccounts
from fleet.money.payments.port import Notification, PaymentReport, PaymentRequest, PlatformError, PlatformRefused
from fleet.store import payments
from fleet.store.database import Pool
from fleet.store.payments import PaymentRow

log = logging.getLogger(__name__)


async def offer(
    pool: Pool,
    accounts: MerchantAccounts,
    account: MerchantAccount,
    rules: OrdersSection,
    row: PaymentRow,
    payer: str,
    description: str,
) -> PaymentRow:
    """Have the platform offer a payment; return its row, which is paid if an earlier offer of it was taken up.

    Raises PlatformError if there is no offer now.
    """
    request = PaymentRequest(
        number=row.number,
        amount_fen=row.amount_fen,
        description=description,
        expires=row.expires,
        notify_url=accounts.notify_url(account.row),
        return_url=f"{accounts.public_url}/pay/{row.number}",
        way="in_app" if row.way == "in_app" else "browser",
        payer=payer,
        address=row.address,
    )
    try:
        made = await account.platform.create(request)
    except PlatformRefused as error:
        log.warning("payment %s: not offered: %s", row.number, error)
        report = await ask(pool, account, rules, row)  # it may refuse because an earlier offer was taken up
        if report.state == "paid":
            return await _again(pool, row)
        async with pool.connection() as connection:
            await paying.not_offered(connection, row.number, error.code)
        raise
    async with pool.connection() as connection:
        await paying.offered(connection, row.number, msgspec.to_builtins(made))
    return await _again(pool, row)


async def close(pool: Pool, account: MerchantAccount, rules: OrdersSection, row: PaymentRow, why: str) -> PaymentRow:
    """Close a payment before another one is offered; return its row, which is paid if the person was faster."""
    async with pool.connection() as connection:
        await paying.want_closed(connection, row.number, why)
    try:
        if await account.platform.close(row.number):
            async with pool.connection() as connection:
                await paying.closed(connection, row.number)
        else:
            await ask(pool, account, rules, row)
    except PlatformError as error:
        log.warning("payment %s: %s: the watcher asks again", row.number, error)
    return await _again(pool, row)


async def ask(pool: Pool, account: MerchantAccount, rules: OrdersSection, row: PaymentRow) -> PaymentReport:
    """Ask the platform how a payment stands, and take its answer. Raises PlatformError."""
    report = await account.platform.query(row.number)
    await took(pool, account, rules, report)
    return report


async def took(pool: Pool, account: MerchantAccount, rules: OrdersSection, report: Notification) -> paying.Taken:
    """Take a report, and use the payment at once if it is paid now."""
    async with pool.connection() as connection:
        outcome = await paying.take(connection, account, report)
    if outcome == "taken" and isinstance(report, PaymentReport) and report.state == "paid":
        async with pool.connection() as connection:
            await paying.use(connection, rules, report.number)
    return outcome


async def _again(pool: Pool, row: PaymentRow) -> PaymentRow:
    async with pool.connection() as connection:
        now = await payments.get(connection, row.company_id, row.number)
    assert now is not None  # payments are never deleted
    return now
