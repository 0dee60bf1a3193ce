"""Money only moves: books in memory, and any sequence of what the service does to them."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.billing import ledger
from cabinet.billing.ledger import CASH, LedgerError, Overdrawn, Posting, Transaction, post


class MemoryBooks:
    def __init__(self) -> None:
        self.entered: dict[str, Transaction] = {}

    def postings(self, key: str) -> tuple[Posting, ...] | None:
        return self.entered[key].postings if key in self.entered else None

    def balance_fen(self, account: str) -> int:
        return sum(p.amount_fen for t in self.entered.values() for p in t.postings if p.account == account)

    def enter(self, transaction: Transaction) -> None:
        self.entered[transaction.key] = transaction

    def balances(self) -> dict[str, int]:
        accounts = {p.account for t in self.entered.values() for p in t.postings}
        return {account: self.balance_fen(account) for account in sorted(accounts) if self.balance_fen(account)}


def test_a_session_moves_money_from_wallet_to_hold_to_revenue_and_back() -> None:
    books = MemoryBooks()
    assert post(books, ledger.top_up("r1", 7, 2000))
    assert post(books, ledger.hold("s1", 7, 500))
    assert books.balances() == {CASH: -2000, "hold:s1": 500, "wallet:7": 1500}
    assert post(books, ledger.settle("s1", 7, 500, 8, 24))
    assert books.balances() == {CASH: -2000, "revenue:electricity": 8, "revenue:service": 24, "wallet:7": 1968}


def test_the_same_key_moves_money_once() -> None:
    books = MemoryBooks()
    assert post(books, ledger.top_up("r1", 7, 2000))
    assert not post(books, ledger.top_up("r1", 7, 2000))
    assert books.balances() == {CASH: -2000, "wallet:7": 2000}


def test_a_key_stands_for_one_transaction_only() -> None:
    books = MemoryBooks()
    post(books, ledger.top_up("r1", 7, 2000))
    with pytest.raises(LedgerError, match="key r1 was already used for a different transaction"):
        post(books, ledger.top_up("r1", 7, 2001))
    assert books.balances() == {CASH: -2000, "wallet:7": 2000}


def test_what_is_not_there_cannot_be_held() -> None:
    books = MemoryBooks()
    post(books, ledger.top_up("r1", 7, 499))
    with pytest.raises(Overdrawn, match="wallet:7 holds 499 fen, 500 are wanted"):
        post(books, ledger.hold("s1", 7, 500))
    assert books.balances() == {CASH: -499, "wallet:7": 499}


@pytest.mark.parametrize(
    "transaction",
    [
        Transaction("k", "x", (Posting("wallet:1", 5),)),
        Transaction("k", "x", (Posting(CASH, -5), Posting("wallet:1", 6))),
        Transaction("k", "x", (Posting(CASH, 0),)),
        Transaction("k", "x", (Posting(CASH, -5), Posting(CASH, 5))),
    ],
    ids=["one side only", "unbalanced", "nothing moves", "an account with itself"],
)
def test_what_does_not_balance_is_refused(transaction: Transaction) -> None:
    books = MemoryBooks()
    with pytest.raises(LedgerError):
        post(books, transaction)
    assert books.entered == {}


def test_a_cost_above_the_hold_is_refused() -> None:
    with pytest.raises(LedgerError, match="session s1: 300 \\+ 201 fen of a hold of 500"):
        ledger.settle("s1", 7, 500, 300, 201)


def test_a_charge_without_cost_gives_everything_back() -> None:
    assert ledger.settle("s1", 7, 500, 0, 0).postings == (Posting("hold:s1", -500), Posting("wallet:7", 500))


def test_an_order_of_the_fleet_pays_like_a_resident_and_ends_at_nothing() -> None:
    books = MemoryBooks()
    steps = (
        ledger.order_in("F1", 500), ledger.hold("s1", "F1", 500), ledger.settle("s1", "F1", 500, 8, 24),
        ledger.order_out("F1", 468),
    )  # fmt: skip
    for step in steps:
        assert post(books, step)
        assert not post(books, step)
    assert books.balances() == {CASH: -32, ledger.ELECTRICITY: 8, ledger.SERVICE: 24}
    with pytest.raises(Overdrawn):
        post(books, ledger.hold("s2", "F1", 1))


orders = st.sampled_from(["F1", "F2"])
residents, sessions, amounts = st.integers(1, 3), st.sampled_from(["a", "b", "c"]), st.integers(1, 900)
makers: list[st.SearchStrategy[Callable[[], Transaction]]] = [
    st.builds(lambda k, r, f: lambda: ledger.top_up(f"t{k}", r, f), st.integers(1, 4), residents, amounts),
    st.builds(lambda o, f: lambda: ledger.order_in(o, f), orders, amounts),
    st.builds(lambda o, f: lambda: ledger.order_out(o, f), orders, amounts),
    st.builds(lambda s, r, f: lambda: ledger.hold(s, r, f), sessions, residents | orders, amounts),
    st.builds(
        lambda s, r, h, e, f: lambda: ledger.settle(s, r, h, e, f),
        sessions,
        residents | orders,
        amounts,
        amounts,
        amounts,
    ),
]


@given(st.lists(st.one_of(makers), max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_sequence_loses_money_or_overdraws(commands: list[Callable[[], Transaction]]) -> None:
    books = MemoryBooks()
    for command in commands:
        before = dict(books.entered)
        try:
            post(books, command())
        except LedgerError:
            assert books.entered == before
        balances = books.balances()
        assert sum(balances.values()) == 0
        assert all(balance > 0 for account, balance in balances.items() if account != CASH)
