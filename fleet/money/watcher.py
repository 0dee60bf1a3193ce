"""The watcher of payments, in the worker: whatever a notification should have brought, and everything that goes back.

What is to be done is found in the rows, at a notification and by a sweep each second; a platform is asked without an
open transaction. Waits between questions grow; an account that answers "too many requests" is left alone for a while.
"""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Awaitable, Callable, Sequence

import psycopg

from cabinet.errors import CabinetError
from fleet.config import FleetConfig
from fleet.money import offering, paying, reconciliation
from fleet.money.payment_book import PaymentBook
from fleet.money.payment_table import PaymentState, RefundState, RefundStep
from fleet.money.payments.accounts import MerchantAccount, MerchantAccounts
from fleet.money.payments.port import PlatformError, PlatformRefused, RateLimited, RefundReport, RefundRequest
from fleet.store import payments, rows
from fleet.store.database import Connection, Pool
from fleet.store.payments import PaymentRow, RefundRow

log = logging.getLogger(__name__)

SWEEP_S = 1.0
BATCH = 50  # calls of one kind in a sweep; both platforms take 100 a second and more
ASK_WAITS_S = (5, 10, 15, 30, 60, 120, 300, 600)  # between questions about one payment
REFUND_WAITS_S = (5, 10, 30, 60, 300, 900, 3600)
CLOSED_AFTER_S = 60  # after the end of its time, a payment that the platform does not know is none
REST_S = 10.0  # of an account after "too many requests"
NO_BALANCE_WAIT_S = 3600
BILLS_AGAIN_S = 900.0
SHORT_OF_MONEY = frozenset({"NOT_ENOUGH", "ACQ.SELLER_BALANCE_NOT_ENOUGH"})

REASONS = {
    "rest": "充电结束，退回余款", "no_charge": "未能开始充电，全额退款", "paid_late": "订单已关闭，全额退款",
    "wanted_back": "余额退回",
}  # fmt: skip
"""Reasons as the platforms show them to the person."""


class PaymentWatcher:
    def __init__(self, pool: Pool, config: FleetConfig, accounts: MerchantAccounts) -> None:
        self._pool = pool
        self._rules = config.orders
        self._accounts = accounts
        self._resting: dict[int, float] = {}  # account → time of the event loop
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Sweep until cancelled, and compare the platforms' bills when they are there."""
        loop = asyncio.get_running_loop()
        bills_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self.wake.wait()
            self.wake.clear()
            try:
                await self.sweep()
                if loop.time() >= bills_at:
                    bills_at = loop.time() + BILLS_AGAIN_S
                    await reconciliation.every_morning(self._pool, self._accounts)
            except (psycopg.Error, CabinetError) as error:
                log.warning("payments: %s: trying again", " ".join(str(error).split())[:300])

    async def sweep(self) -> None:
        """Do everything that is due now."""
        await self._use_paid()
        await self._finish_charges()
        await self._ask_about_open()
        await self._send_refunds()

    # --- rows alone --------------------------------------------------------------------------------------------------

    async def _use_paid(self) -> None:
        """Use payments that were left between their booking and their charge, as by a kill."""
        for number in await self._numbers("SELECT number FROM payment WHERE state = 'paid' ORDER BY paid"):
            await self._apart(number, lambda c, n=number: paying.use(c, self._rules, n))  # type: ignore[misc]

    async def _finish_charges(self) -> None:
        sql = (
            "SELECT payment.number FROM payment JOIN charge_order ON charge_order.number = order_number"
            " WHERE payment.state = 'started' AND charge_order.state IN ('paid_out', 'given_back')"
        )
        for number in await self._numbers(sql):
            await self._apart(number, lambda c, n=number: paying.finish(c, n))  # type: ignore[misc]

    async def _numbers(self, sql: str) -> list[str]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(f"{sql} LIMIT {BATCH}".encode())
            return [number for (number,) in await cursor.fetchall()]

    async def _apart(self, number: str, work: Callable[[Connection], Awaitable[object]]) -> None:
        """Do `work` in a transaction of its own: one payment that fails does not keep the others."""
        try:
            async with self._pool.connection() as connection:
                await work(connection)
        except (psycopg.Error, CabinetError) as error:
            log.error("payment %s: %s", number, " ".join(str(error).split())[:300])

    # --- questions ---------------------------------------------------------------------------------------------------

    async def _ask_about_open(self) -> None:
        async with self._pool.connection() as connection:
            found = await rows.many(
                connection,
                PaymentRow,
                "SELECT * FROM payment WHERE state IN ('created', 'offered', 'closing') AND due <= now()"
                " ORDER BY due LIMIT %s",
                (BATCH,),
            )
        for row in found:
            await self._with_account(row.account_id, row.number, lambda a, r=row: self._ask(a, r))  # type: ignore[misc]

    async def _ask(self, account: MerchantAccount, row: PaymentRow) -> None:
        """Ask about one payment; close it when its time is over, or when it is wanted no more."""
        await self._put_off("payment", row.number, row.tries, ASK_WAITS_S)
        now = datetime.datetime.fromtimestamp(self._accounts.now_s(), datetime.UTC)
        report = await offering.ask(self._pool, account, self._rules, row)
        if report.state in ("paid", "closed"):
            return
        if row.state != PaymentState.CLOSING and now < row.expires:
            return
        long_over = now >= row.expires + datetime.timedelta(seconds=CLOSED_AFTER_S)
        if row.state != PaymentState.CLOSING:
            async with self._pool.connection() as connection:
                await paying.want_closed(connection, row.number, "its time is over")
        if report.state == "absent":
            if long_over:  # a request that is still on its way would be refused: its time is over
                async with self._pool.connection() as connection:
                    await paying.closed(connection, row.number)
        elif await account.platform.close(row.number):
            async with self._pool.connection() as connection:
                await paying.closed(connection, row.number)

    # --- refunds -----------------------------------------------------------------------------------------------------

    async def _send_refunds(self) -> None:
        async with self._pool.connection() as connection:
            found = await rows.many(
                connection,
                RefundRow,
                "SELECT * FROM refund WHERE state IN ('wanted', 'sent') AND due <= now() ORDER BY due LIMIT %s",
                (BATCH,),
            )
            paid = {
                refund.payment_number: await payments.get(connection, refund.company_id, refund.payment_number)
                for refund in found
            }
        for refund in found:
            payment = paid[refund.payment_number]
            assert payment is not None  # by its foreign key
            await self._with_account(
                payment.account_id,
                refund.number,
                lambda a, r=refund, p=payment: self._refund(a, r, p),  # type: ignore[misc]
            )

    async def _refund(self, account: MerchantAccount, refund: RefundRow, payment: PaymentRow) -> None:
        """Ask for a refund, or how it stands. The same number again is the same refund at both platforms."""
        await self._put_off("refund", refund.number, refund.tries, REFUND_WAITS_S)
        try:
            report = None
            if refund.state == RefundState.SENT or refund.tries:
                report = await account.platform.query_refund(payment.number, refund.number)
            if report is None or report.state == "absent":
                request = RefundRequest(
                    payment.number, refund.number, refund.amount_fen, payment.amount_fen,
                    REASONS[refund.reason], self._accounts.notify_url(account.row),
                )  # fmt: skip
                report = await account.platform.refund(request)
        except RateLimited:
            raise
        except PlatformRefused as error:
            await self._refused(refund, error.code)
            return
        except PlatformError as error:
            await self._note_problem(refund, error.code)
            raise
        await offering.took(self._pool, account, self._rules, report)
        if await self._is_other(report, refund):
            await self._refused(refund, "other_amount")

    async def _is_other(self, report: RefundReport, refund: RefundRow) -> bool:
        """Return whether the platform did something else under the refund's number: a person has to look at it."""
        return report.state == "done" and report.amount_fen != refund.amount_fen

    async def _refused(self, refund: RefundRow, code: str) -> None:
        async with self._pool.connection() as connection:
            book = await PaymentBook.load(connection, [refund.payment_number])
            row = book.refund(refund.number)
            if row is None or row.state not in (RefundState.WANTED, RefundState.SENT):
                return
            if code in SHORT_OF_MONEY:  # the platform has too little of the company's money now
                later = book.now + datetime.timedelta(seconds=NO_BALANCE_WAIT_S)
                book.change_refund(row.number, problem=code, due=later)
            else:
                book.refund_step(row.number, RefundStep.FAIL, code, problem=code)
            await book.write(connection)

    async def _note_problem(self, refund: RefundRow, code: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE refund SET problem = %s WHERE number = %s", (code[:64], refund.number))

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _put_off(self, table: str, number: str, tries: int, waits_s: Sequence[int]) -> None:
        """Set the next time before the call: a kill during it does not lead to a call each second."""
        wait_s = waits_s[min(tries, len(waits_s) - 1)]
        async with self._pool.connection() as connection:
            await connection.execute(
                f"UPDATE {table} SET due = now() + make_interval(secs => %s), tries = tries + 1"
                " WHERE number = %s".encode(),
                (wait_s, number),
            )

    async def _with_account(
        self, account_id: int, number: str, work: Callable[[MerchantAccount], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        if self._resting.get(account_id, 0.0) > loop.time():
            return
        account = await self._accounts.find(self._pool, account_id)
        if account is None:
            return  # its reason is in the log
        try:
            await work(account)
        except RateLimited as error:
            log.warning("merchant account %s: %s: it rests for %s s", account_id, error, REST_S)
            self._resting[account_id] = loop.time() + REST_S
        except (CabinetError, psycopg.Error) as error:
            log.warning("%s: %s: later again", number, " ".join(str(error).split())[:300])
