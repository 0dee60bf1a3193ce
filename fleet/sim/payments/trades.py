"""Trades and refunds of a simulated platform: the rules that both platforms document, in one table each.

A trade is open until it is paid, closed, or its time is over. A refund is processing until it is done or has failed.
Delays, failures, lost answers and limits, which a real platform has by chance or load, are set here.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

TradeState = Literal["open", "paid", "closed"]
SimRefundState = Literal["processing", "done", "failed"]
Fault = Literal["limit", "error_before", "error_after", "forged"]

MAX_REFUNDS = 50  # of one trade
REFUND_GAP_S = 60  # between two refunds of one trade
FEE_PER_TEN_THOUSAND = 60


class SimRefusal(Exception):
    """A rule that a request breaks, by its name in the tables of the platforms."""


@dataclass
class SimRefund:
    number: str
    trade: str
    amount: int
    platform_number: str
    asked: float
    due: float
    state: SimRefundState = "processing"
    notify_url: str = ""
    ended: float | None = None


@dataclass
class SimTrade:
    number: str
    merchant: str
    app: str
    total: int
    notify_url: str
    until: float
    kind: str
    back: str = ""
    payer: str = ""
    state: TradeState = "open"
    platform_number: str = ""
    made: float = 0.0
    paid: float | None = None
    refunds: list[SimRefund] = field(default_factory=list)

    @property
    def refunded(self) -> int:
        return sum(each.amount for each in self.refunds if each.state != "failed")


class TradeTable:
    """All trades and refunds of one platform. Times are those of `clock`, in seconds since 1970."""

    def __init__(self, clock: Callable[[], float], seed: int = 0) -> None:
        self.clock = clock
        self.trades: dict[tuple[str, str], SimTrade] = {}
        self.refunds: dict[tuple[str, str], SimRefund] = {}
        self.balance: dict[str, int] = {}  # of merchants; money that was paid and not refunded
        self.refund_delay_s = 0.0
        self.refund_gap_s: float = REFUND_GAP_S
        self.fail_refunds: set[str] = set()
        self.faults: deque[Fault | None] = deque()  # of the next calls
        self.chaos: Callable[[], Fault | None] = lambda: None
        self.requests_per_s = 0  # 0: no limit
        self._calls: deque[float] = deque()
        self._random = random.Random(seed)

    # --- faults ------------------------------------------------------------------------------------------------------

    def next_fault(self) -> Fault | None:
        """Return the fault of this call: as queued, by the limit of requests, or by chance."""
        if self.faults:
            return self.faults.popleft()
        now = self.clock()
        while self._calls and self._calls[0] <= now - 1:
            self._calls.popleft()
        if self.requests_per_s and len(self._calls) >= self.requests_per_s:
            return "limit"
        self._calls.append(now)
        return self.chaos()

    def new_number(self, digits: int) -> str:
        return str(self._random.randrange(10 ** (digits - 1), 10**digits))

    # --- trades ------------------------------------------------------------------------------------------------------

    def open(self, wanted: SimTrade) -> SimTrade:
        """Open a trade; the same number with the same contents is the same trade."""
        known = self.trades.get((wanted.merchant, wanted.number))
        if known is not None:
            if (known.total, known.app) != (wanted.total, wanted.app):
                raise SimRefusal("other_contents")
            if known.state != "open":
                raise SimRefusal("is_paid" if known.state == "paid" else "is_closed")
            return known
        if wanted.until <= self.clock():
            raise SimRefusal("too_late")
        if wanted.total < 1 or not 6 <= len(wanted.number) <= 32:
            raise SimRefusal("bad_value")
        wanted.made, wanted.platform_number = self.clock(), self.new_number(28)
        self.trades[wanted.merchant, wanted.number] = wanted
        return wanted

    def find(self, merchant: str, number: str) -> SimTrade:
        trade = self.trades.get((merchant, number))
        if trade is None:
            raise SimRefusal("no_trade")
        if trade.state == "open" and trade.until <= self.clock():
            trade.state = "closed"
        return trade

    def pay(self, merchant: str, number: str, payer: str = "") -> SimTrade:
        """The person pays: takes the money, once."""
        trade = self.find(merchant, number)
        if trade.state != "open":
            raise SimRefusal("is_paid" if trade.state == "paid" else "is_closed")
        trade.state, trade.paid, trade.payer = "paid", self.clock(), trade.payer or payer
        self.balance[merchant] = self.balance.get(merchant, 0) + trade.total
        return trade

    def close(self, merchant: str, number: str) -> None:
        trade = self.find(merchant, number)
        if trade.state != "open":
            raise SimRefusal("is_paid" if trade.state == "paid" else "is_closed")
        trade.state = "closed"

    # --- refunds -----------------------------------------------------------------------------------------------------

    def refund(self, merchant: str, number: str, refund: str, amount: int, notify_url: str = "") -> SimRefund:
        trade = self.find(merchant, number)
        known = self.refunds.get((merchant, refund))
        if known is not None:
            if (known.trade, known.amount) != (number, amount):
                raise SimRefusal("other_contents")
            if known.state == "failed":  # asked for again, with the same number
                self.fail_refunds.discard(refund)
                self._take(merchant, amount)
                known.state, known.due = "processing", self.clock() + self.refund_delay_s
            return known
        if trade.state != "paid":
            raise SimRefusal("not_paid")
        if amount < 1 or trade.refunded + amount > trade.total:
            raise SimRefusal("too_much")
        if len(trade.refunds) >= MAX_REFUNDS:
            raise SimRefusal("too_many_refunds")
        if any(each.asked > self.clock() - self.refund_gap_s for each in trade.refunds):
            raise SimRefusal("too_often")
        self._take(merchant, amount)
        due = self.clock() + self.refund_delay_s
        made = SimRefund(refund, number, amount, self.new_number(28), self.clock(), due, notify_url=notify_url)
        trade.refunds.append(made)
        self.refunds[merchant, refund] = made
        return made

    def _take(self, merchant: str, amount: int) -> None:
        if self.balance.get(merchant, 0) < amount:
            raise SimRefusal("no_balance")
        self.balance[merchant] -= amount

    def find_refund(self, merchant: str, refund: str) -> SimRefund:
        found = self.refunds.get((merchant, refund))
        if found is None:
            raise SimRefusal("no_refund")
        return found

    def settle(self) -> list[tuple[SimTrade, SimRefund]]:
        """End the refunds that are due; return them."""
        ended = []
        for (merchant, number), refund in self.refunds.items():
            if refund.state == "processing" and refund.due <= self.clock():
                refund.state = "failed" if number in self.fail_refunds else "done"
                refund.ended = self.clock()
                if refund.state == "failed":
                    self.balance[merchant] += refund.amount
                ended.append((self.trades[merchant, refund.trade], refund))
        return ended


def fee(amount: int) -> int:
    """Return the platform's fee in fen: 0.6 %, rounded to the fen."""
    return (amount * FEE_PER_TEN_THOUSAND + 5000) // 10_000
