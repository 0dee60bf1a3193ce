"""Steps of payments and refunds in the database, with their money; each step is a row in the transaction of the change.

Payments are locked by number, before any resident, order or account: two writers never wait for each other in a circle.
"""

import datetime
from collections.abc import Iterable
from typing import Any, Self

import msgspec
from psycopg.types.json import Jsonb

from cabinet.billing import ledger
from cabinet.billing.ledger import Posting, Transaction
from fleet.money.payment_table import (
    PaymentState,
    PaymentStep,
    RefundState,
    RefundStep,
    next_payment_state,
    next_refund_state,
)
from fleet.store import ledger_books, rows
from fleet.store.database import Connection
from fleet.store.ledger_books import CompanyTransaction
from fleet.store.payments import PaymentRow, RefundRow

_PAYMENT_COLUMNS = ("state", "payer", "offer", "paid", "platform_number", "order_number", "refusal", "due", "tries")
_REFUND_COLUMNS = ("state", "ended", "platform_number", "problem", "due", "tries")
CASH = "cash"
"""In place of a platform's number: a refund that was paid out by hand."""


class PaymentBook:
    """Some payments with their refunds, locked; changes are written by `write`, all in the caller's transaction."""

    def __init__(
        self,
        payments: Iterable[PaymentRow],
        refunds: Iterable[RefundRow],
        accounts: dict[int, str],
        now: datetime.datetime,
    ) -> None:
        """`accounts`: ids of merchant accounts → names of their accounts in the ledger."""
        self.now = now
        self._payments = {row.number: row for row in payments}
        self._refunds = {row.number: row for row in refunds}
        self._accounts = accounts
        self._new: list[str] = []
        self._changed: dict[str, None] = {}
        self._steps: list[tuple[str, str | None, str, str, str, str]] = []
        self._money: list[CompanyTransaction] = []

    @classmethod
    async def load(cls, connection: Connection, numbers: Iterable[str]) -> Self:
        """Lock and read the payments with these numbers, as far as they exist, and their refunds."""
        wanted = sorted(set(numbers))
        sql = "SELECT * FROM payment WHERE number = ANY(%s) ORDER BY number FOR UPDATE"
        found = await rows.many(connection, PaymentRow, sql, (wanted,))
        sql = "SELECT * FROM refund WHERE payment_number = ANY(%s) ORDER BY made, number"
        refunds = await rows.many(connection, RefundRow, sql, ([row.number for row in found],))
        cursor = await connection.execute(
            "SELECT id, 'platform:' || platform || ':' || merchant FROM merchant_account WHERE id = ANY(%s)",
            ([row.account_id for row in found],),
        )
        accounts: dict[int, str] = dict(await cursor.fetchall())
        return cls(found, refunds, accounts, await rows.value(connection, "SELECT clock_timestamp()"))

    def find(self, number: str) -> PaymentRow | None:
        return self._payments.get(number)

    def row(self, number: str) -> PaymentRow:
        return self._payments[number]

    def state(self, number: str) -> PaymentState:
        return PaymentState(self._payments[number].state)

    def refunds(self, number: str) -> list[RefundRow]:
        return [each for each in self._refunds.values() if each.payment_number == number]

    def refund(self, number: str) -> RefundRow | None:
        return self._refunds.get(number)

    def left_fen(self, number: str) -> int:
        """Return how much of a payment has not gone back and is not on its way back."""
        return self.row(number).amount_fen - sum(each.amount_fen for each in self.refunds(number))

    # --- steps -------------------------------------------------------------------------------------------------------

    def change(self, number: str, **fields: Any) -> None:
        """Change columns of a payment without a step."""
        assert fields.keys() <= set(_PAYMENT_COLUMNS)
        self._payments[number] = msgspec.structs.replace(self._payments[number], **fields)
        self._changed[number] = None

    def change_refund(self, number: str, **fields: Any) -> None:
        assert fields.keys() <= set(_REFUND_COLUMNS)
        self._refunds[number] = msgspec.structs.replace(self._refunds[number], **fields)
        self._changed[number] = None

    def step(self, number: str, step: PaymentStep, detail: str = "", **fields: Any) -> None:
        """Take one step, with its money. Raises IllegalPaymentStep."""
        before = self.state(number)
        after = next_payment_state(before, step)
        self._steps.append((number, None, step, before, after, detail[:300]))
        self.change(number, state=str(after), **fields)
        if step is PaymentStep.PAY:
            row = self.row(number)
            amounts = {self._accounts[row.account_id]: -row.amount_fen, ledger.wallet(row.resident_id): row.amount_fen}
            self._post(row.company_id, f"payment:{number}", "payment", amounts)

    def give_back(self, number: str, amount_fen: int, reason: str) -> str:
        """Want a refund of a part or all of a payment, out of the payer's wallet; return its number.

        Raises IllegalPaymentStep; `write` raises Overdrawn if the wallet has less.
        """
        assert 0 < amount_fen <= self.left_fen(number), "never more than was paid"
        row = self.row(number)
        self.step(number, PaymentStep.GIVE_BACK, f"{amount_fen} fen: {reason}")
        refund_number = f"{number}R{len(self.refunds(number)) + 1}"
        self._refunds[refund_number] = RefundRow(
            refund_number, number, row.company_id, amount_fen, reason, RefundState.WANTED, self.now, None, "", None,
            self.now, 0,
        )  # fmt: skip
        self._new.append(refund_number)
        amounts = {ledger.wallet(row.resident_id): -amount_fen, _way_back(refund_number): amount_fen}
        self._post(row.company_id, f"refund_wanted:{refund_number}", "refund", amounts)
        return refund_number

    def refund_step(self, number: str, step: RefundStep, detail: str = "", **fields: Any) -> None:
        """Take one step of a refund, with its money; with the last refund, the payment is returned."""
        refund = self._refunds[number]
        before = RefundState(refund.state)
        after = next_refund_state(before, step)
        payment = self.row(refund.payment_number)
        self._steps.append((payment.number, number, step, before, after, detail[:300]))
        if after is RefundState.DONE:
            by_hand = step is RefundStep.BY_HAND
            to = ledger.CASH if by_hand else self._accounts[payment.account_id]
            self._post(
                refund.company_id, f"refund:{number}", "refund_done",
                {_way_back(number): -refund.amount_fen, to: refund.amount_fen},
            )  # fmt: skip
            fields = {"ended": self.now, "problem": None, **fields, **({"platform_number": CASH} if by_hand else {})}
        self.change_refund(number, state=str(after), **fields)
        if all(each.state == RefundState.DONE for each in self.refunds(payment.number)):
            self.step(payment.number, PaymentStep.RETURNED)

    def _post(self, company_id: int, key: str, kind: str, amounts: dict[str, int]) -> None:
        postings = tuple(Posting(account, fen) for account, fen in amounts.items())
        self._money.append(CompanyTransaction(company_id, Transaction(key, kind, postings)))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def write(self, connection: Connection) -> None:
        """Write all changes, steps and money. Raises Overdrawn if a wallet has less than is to go back."""
        for number in self._new:
            refund = self._refunds[number]
            await connection.execute(
                "INSERT INTO refund (number, payment_number, company_id, amount_fen, reason, state, due)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (number, refund.payment_number, refund.company_id, refund.amount_fen, refund.reason, refund.state,
                 refund.due),
            )  # fmt: skip
        for number in self._changed:
            payment = self._payments.get(number)
            table, columns = ("refund", _REFUND_COLUMNS) if payment is None else ("payment", _PAYMENT_COLUMNS)
            row = payment or self._refunds[number]
            values = [_stored(getattr(row, name)) for name in columns]
            sets = ", ".join(f"{name} = %s" for name in columns)
            await connection.execute(f"UPDATE {table} SET {sets} WHERE number = %s".encode(), (*values, number))
        for step in self._steps:
            await connection.execute(
                "INSERT INTO payment_step (payment_number, refund_number, step, from_state, to_state, detail)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                tuple(None if value is None else str(value) for value in step),
            )
        if self._money:
            await ledger_books.post_all(connection, self._money)
        for written in (self._new, self._changed, self._steps, self._money):
            written.clear()


def _way_back(refund_number: str) -> str:
    return f"refund:{refund_number}"


def _stored(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict) else value
