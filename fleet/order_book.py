"""Steps of orders in the database: many orders and their money in a fixed number of statements.

Each step is a row of `order_step` in the transaction of the change. Orders are locked by number, and
before any account, so that two writers never wait for each other in a circle.
"""

import datetime
from collections.abc import Iterable
from typing import Any, Self

import msgspec
from psycopg.rows import class_row

from cabinet.billing import ledger
from cabinet.billing.ledger import Posting, Transaction
from fleet.order_table import OrderState, OrderStep, allowed, next_state
from fleet.store import ledger_books, wallets
from fleet.store.database import Connection
from fleet.store.ledger_books import CompanyTransaction
from fleet.store.orders import OrderRow

_COLUMNS = {
    "state": "text", "epoch": "text", "boot": "text", "sent": "timestamptz", "not_after": "timestamptz",
    "answered": "timestamptz", "asked": "timestamptz", "stop_wanted": "timestamptz", "stop_by": "text",
    "stop_sent": "timestamptz", "ended": "timestamptz", "refusal": "text", "session_id": "text",
    "usage_number": "bigint", "cost_fen": "bigint", "refund_fen": "bigint", "debt_fen": "bigint",
}  # fmt: skip
"""The columns of an order that change, with their types."""


class OrderBook:
    """Some orders, locked; changes are written by `write`, all in the caller's transaction."""

    def __init__(self, orders: Iterable[OrderRow], now: datetime.datetime) -> None:
        self.now = now
        self._orders = {row.number: row for row in orders}
        self._changed: dict[str, None] = {}
        self._steps: list[tuple[str, OrderStep, OrderState, OrderState, str]] = []
        self._money: list[CompanyTransaction] = []
        self._in_debt: dict[tuple[int, int], None] = {}

    @classmethod
    async def load(cls, connection: Connection, numbers: Iterable[str]) -> Self:
        """Lock and read the orders with these numbers, as far as they exist."""
        sql = "SELECT * FROM charge_order WHERE number = ANY(%s) ORDER BY number FOR UPDATE"
        async with connection.cursor(row_factory=class_row(OrderRow)) as found:
            async with connection.pipeline():  # one round trip; the clock is read after the locks
                await found.execute(sql, (sorted(set(numbers)),))
                clock = await connection.execute("SELECT clock_timestamp()")
            [(now,)] = await clock.fetchall()
            return cls(await found.fetchall(), now)

    def find(self, number: str) -> OrderRow | None:
        return self._orders.get(number)

    def row(self, number: str) -> OrderRow:
        return self._orders[number]

    def state(self, number: str) -> OrderState:
        return OrderState(self._orders[number].state)

    def may(self, number: str, step: OrderStep) -> bool:
        return allowed(self.state(number), step)

    def change(self, number: str, **fields: Any) -> None:
        """Change columns of an order without a step."""
        assert fields.keys() <= _COLUMNS.keys()
        self._orders[number] = msgspec.structs.replace(self._orders[number], **fields)
        self._changed[number] = None

    def step(self, number: str, step: OrderStep, detail: str = "", **fields: Any) -> None:
        """Take one step, with its money. Raises IllegalOrderStep."""
        before = self.state(number)
        after = next_state(before, step)
        self._steps.append((number, step, before, after, detail))
        self.change(number, state=str(after), **fields)
        row = self._orders[number]
        if step is OrderStep.HOLD:
            self._post(row, ledger.hold(number, row.resident_id, row.held_fen))
        elif step is OrderStep.GIVE_BACK:
            self._post(row, release(row))

    def refuse(self, number: str, code: str, detail: str = "") -> None:
        """End an order without a charge: the whole hold goes back. Raises IllegalOrderStep."""
        held = self.state(number) is not OrderState.CREATED
        self.step(number, OrderStep.REFUSE, detail or code, refusal=code)
        if not held:
            self.change(number, held_fen=0)
        self.step(number, OrderStep.GIVE_BACK, ended=self.now, refund_fen=self._orders[number].held_fen)

    def settle(self, number: str, electricity_fen: int, service_fen: int, usage_number: int, session_id: str) -> bool:
        """Book the bill of the cabinet as it is, and pay the rest out. Return False if the order was settled before.

        A bill above the money that is held, as after the order was given back, leaves a named debt.
        """
        row = self._orders[number]
        late = self.state(number) is OrderState.GIVEN_BACK
        step = OrderStep.SETTLE_LATE if late else OrderStep.SETTLE
        if not self.may(number, step):
            return False
        held_fen = 0 if late else row.held_fen
        cost_fen = electricity_fen + service_fen
        debt_fen = max(0, cost_fen - held_fen)
        self.step(
            number, step, f"record {usage_number}: {cost_fen} fen", usage_number=usage_number, session_id=session_id,
            cost_fen=cost_fen, debt_fen=debt_fen, ended=self.now,
            refund_fen=row.refund_fen if late else max(0, held_fen - cost_fen),
        )  # fmt: skip
        self._post(row, settlement(row, held_fen, electricity_fen, service_fen))
        if debt_fen:
            self._in_debt[row.company_id, row.resident_id] = None
        self.step(number, OrderStep.PAY_OUT)
        return True

    async def write(self, connection: Connection) -> None:
        """Write all changes, steps and money of the orders."""
        async with connection.pipeline():
            if self._changed:
                await self._write_orders(connection)
            if self._steps:
                await connection.execute(
                    "INSERT INTO order_step (order_number, step, from_state, to_state, detail)"
                    " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])",
                    [[str(step[column]) for step in self._steps] for column in range(5)],
                )
        self._steps.clear()
        if self._money:
            await ledger_books.post_all(connection, self._money)
            self._money.clear()
        for company_id, resident_id in self._in_debt:
            await wallets.collect_debts(connection, company_id, resident_id)
        self._in_debt.clear()

    async def _write_orders(self, connection: Connection) -> None:
        changed = [self._orders[number] for number in self._changed]
        arrays = ", ".join(f"%s::{kind}[]" for kind in _COLUMNS.values())
        sets = ", ".join(f"{name} = new.{name}" for name in _COLUMNS)
        await connection.execute(
            f"UPDATE charge_order SET {sets} FROM unnest(%s::text[], {arrays})"
            f" AS new (of_number, {', '.join(_COLUMNS)}) WHERE number = of_number".encode(),
            [[row.number for row in changed], *([getattr(row, name) for row in changed] for name in _COLUMNS)],
        )
        self._changed.clear()

    def _post(self, row: OrderRow, transaction: Transaction) -> None:
        if transaction.postings:  # a charge that is free moves nothing
            self._money.append(CompanyTransaction(row.company_id, transaction))


def release(row: OrderRow) -> Transaction:
    """Return the whole hold to the wallet."""
    amounts = {ledger.held(row.number): -row.held_fen, ledger.wallet(row.resident_id): row.held_fen}
    return _transaction(f"release:{row.number}", "release", amounts)


def settlement(row: OrderRow, held_fen: int, electricity_fen: int, service_fen: int) -> Transaction:
    """Split the hold into revenue and refund; a cost above it goes to the order's debt.

    Without a debt it is `ledger.settle`, to the posting.
    """
    rest_fen = held_fen - electricity_fen - service_fen
    amounts = {
        ledger.held(row.number): -held_fen,
        ledger.ELECTRICITY: electricity_fen,
        ledger.SERVICE: service_fen,
        ledger.wallet(row.resident_id): max(0, rest_fen),
        ledger.debt(row.number): min(0, rest_fen),
    }
    return _transaction(f"settle:{row.number}", "settle", amounts)


def _transaction(key: str, kind: str, amounts: dict[str, int]) -> Transaction:
    return Transaction(key, kind, tuple(Posting(account, fen) for account, fen in amounts.items() if fen))
