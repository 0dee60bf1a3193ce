"""Any sequence of what moves money, each thing done once, again, or out of order: nothing negative, nothing twice."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cabinet.billing import ledger
from cabinet.billing.ledger import LedgerError
from cabinet.clock import ManualClock
from cabinet.errors import CabinetError
from cabinet.service.accounts import wallets
from cabinet.store import ledger_books, residents
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks
from cabinet_testing.service_harness import Unsynced

CARDS = ("1001", "1002")
cards = st.sampled_from(CARDS)
keys = st.sampled_from(["k1", "k2", "k3", None])
amounts = st.integers(1, 700)
sessions = st.sampled_from(["s1", "s2", "s3"])


class Books(RuleBasedStateMachine):
    """A model beside the database: what each wallet and hold should have, and every key that was used."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.database = Database(Path(self.folder.name) / "cabinet.db", connection_class=Unsynced)
        with self.database.transaction() as connection:
            for card in CARDS:
                residents.add(connection, card, "", "hash", 0)
        self.wallets = dict.fromkeys(CARDS, 0)
        self.holds: dict[str, tuple[str, int]] = {}
        self.settled: set[str] = set()
        self.done: dict[str, tuple[str, int]] = {}
        self.earned = 0

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()

    def _move(self, kind: str, key: str | None, card: str, amount: int, sign: int) -> None:
        name = f"{kind}:{key}"
        first = self.done.get(name)
        wanted = self.wallets[card] + sign * amount
        try:
            if kind == "top-up":
                balance = wallets.top_up(self.database, self.clock, card, amount, key)
            elif kind == "pay-out":
                balance = wallets.pay_out(self.database, self.clock, card, amount, key)
            else:
                balance = wallets.write_off(self.database, self.clock, card, amount, key, "why")
        except LedgerError:
            assert wanted < 0 or (key is not None and first not in (None, (card, amount)))
            return
        if key is not None and first is not None:
            assert first == (card, amount), "a key stands for one movement only"
        else:
            assert wanted >= 0
            self.wallets[card] = wanted
            if key is not None:
                self.done[name] = (card, amount)
        assert balance == self.wallets[card]

    @rule(card=cards, amount=amounts, key=keys)
    def top_up(self, card: str, amount: int, key: str | None) -> None:
        self._move("top-up", key, card, amount, 1)

    @rule(card=cards, amount=amounts, key=keys)
    def pay_out(self, card: str, amount: int, key: str | None) -> None:
        self._move("pay-out", key, card, amount, -1)

    @rule(card=cards, amount=amounts, key=keys)
    def write_off(self, card: str, amount: int, key: str | None) -> None:
        self._move("write-off", key, card, amount, -1)

    @rule(session=sessions, card=cards, amount=st.integers(0, 700))
    def hold(self, session: str, card: str, amount: int) -> None:
        who = 1 + CARDS.index(card)
        try:
            with self.database.transaction() as connection:
                now = ledger.post(SqliteBooks(connection, self.clock.wall()), ledger.hold(session, who, amount))
        except LedgerError:
            assert amount > self.wallets[card] or self.holds.get(session) not in (None, (card, amount))
            return
        if now:
            self.wallets[card] -= amount
            self.holds[session] = (card, amount)

    @rule(session=sessions, share=st.integers(0, 100), electricity=st.integers(0, 100))
    def settle(self, session: str, share: int, electricity: int) -> None:
        """Settled before it was held, twice, or with another cost: never more than once."""
        card, held = self.holds.get(session, (CARDS[0], 0))
        cost = held * share // 100
        electricity_fen = cost * electricity // 100
        try:
            with self.database.transaction() as connection:
                now = ledger.post(
                    SqliteBooks(connection, self.clock.wall()),
                    ledger.settle(session, 1 + CARDS.index(card), held, electricity_fen, cost - electricity_fen),
                )
        except LedgerError:
            assert session in self.settled
            return
        if now:
            assert session not in self.settled
            self.wallets[card] += held - cost
            self.earned += cost
            self.settled.add(session)

    @rule(card=cards)
    def too_much(self, card: str) -> None:
        before = self.wallets[card]
        try:
            wallets.pay_out(self.database, self.clock, card, before + 1, None)
        except CabinetError:
            return
        raise AssertionError("more was paid out than was there")

    @invariant()
    def books_are_in_order(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.reading() as connection:
            assert ledger_books.check(connection) == []
            found = ledger_books.balances(connection)
        assert sum(found.values()) == 0
        assert all(fen >= 0 for name, fen in found.items() if name != ledger.CASH)
        for number, card in enumerate(CARDS, 1):
            assert found.get(f"wallet:{number}", 0) == self.wallets[card]
        assert found.get(ledger.ELECTRICITY, 0) + found.get(ledger.SERVICE, 0) == self.earned


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
