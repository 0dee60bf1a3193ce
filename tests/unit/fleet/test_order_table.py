"""Any sequence of answers, facts and timeouts brings an order to an end, and no fen is lost or made."""

import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.model import EndReason
from cabinet.records import UsageRecord
from cabinet.uplink.messages import Answer, OrderNumber, OrderRefused, SessionSettled, SessionStarted
from fleet import sending
from fleet.applying import apply_to_order
from fleet.order_book import OrderBook, settlement
from fleet.order_table import ENDS, TABLE, IllegalOrderStep, OrderState, OrderStep, new_number, next_state
from fleet.store.ledger_books import LoadedBooks
from fleet.store.orders import OrderRow

NOW = datetime.datetime(2026, 11, 30, 20, tzinfo=datetime.UTC)
WALL = WallTime(1_780_000_000_000, True)
NUMBER = "FAAAA-BBBB-CCCC-DDDD"
HELD_FEN = 500
FIRST_FEN = 1000


def order() -> OrderRow:
    return OrderRow(
        number=NUMBER, company_id=1, resident_id=7, request_key="tap", cabinet="c-one", outlet=3, code="C-ONE-3",
        choice="full", choice_amount=0, tariff_group="", tariff_version="1", held_fen=HELD_FEN, state="created",
        epoch="", boot="", made=NOW, sent=None, not_after=None, answered=None, asked=None, stop_wanted=None,
        stop_by="resident", stop_sent=None, ended=None, refusal=None, session_id=None, usage_number=None, cost_fen=None,
        refund_fen=None, debt_fen=0,
    )  # fmt: skip


def record(cost_fen: int, number: int = 1) -> UsageRecord:
    return UsageRecord(
        number=number, order_number="X", session_id="s1", site_id="X", outlet=3, started=WALL, ended=WALL, powered_s=1,
        charging_s=1, energy_mwh=1, peak_power_mw=1, mean_power_mw=1, lines=[], electricity_fen=cost_fen // 2,
        service_fen=cost_fen - cost_fen // 2, total_fen=cost_fen, held_fen=HELD_FEN, refund_fen=HELD_FEN - cost_fen,
        end_reason=EndReason.FULL, fault=None, tariff_version="1", previous_hash="",
    )  # fmt: skip


class World:
    """One order with its money, in memory: the code that writes rows is not involved."""

    def __init__(self) -> None:
        self.books = LoadedBooks({"cash": -FIRST_FEN, "wallet:7": FIRST_FEN}, {})
        self.book = OrderBook([order()], NOW)
        self.book.step(NUMBER, OrderStep.HOLD)
        self.post()

    def post(self) -> None:
        for each in self.book._money:
            assert ledger.post(self.books, each.transaction), "each transaction is posted once"
        self.book._money.clear()
        assert sum(self.books._balances.values()) == 0, "money only moves"
        held_fen = HELD_FEN if self.state not in ENDS else 0
        assert self.books.balance_fen(f"hold:{NUMBER}") == held_fen

    @property
    def state(self) -> OrderState:
        return self.book.state(NUMBER)

    def act(self, action: str, value: int) -> None:
        book, row = self.book, self.book.row(NUMBER)
        match action:
            case "send" if book.may(NUMBER, OrderStep.SEND):
                later = NOW + datetime.timedelta(seconds=30)
                book.step(NUMBER, OrderStep.SEND, sent=book.now, not_after=later, epoch="e1")
            case "accepted" | "refused" | "unknown" | "ended":
                sending._take_answer(
                    book, row, Answer(NUMBER, action, code="outlet_busy", epoch="e2" if value % 3 else "e1")
                )
            case "started":
                apply_to_order(book, NUMBER, SessionStarted("s1", "X", 3, "full", 0, HELD_FEN, "1", WALL, NUMBER))
            case "order_refused":
                apply_to_order(book, NUMBER, OrderRefused(NUMBER, "no_load"))
            case "settled":
                apply_to_order(book, NUMBER, SessionSettled(record(value), NUMBER))
            case "time":
                book.now += datetime.timedelta(seconds=value)
                dead = (row.not_after or NOW) + datetime.timedelta(seconds=30)
                if row.state == "sent" and book.now > dead:
                    book.refuse(NUMBER, "no_answer")
            case "days" if book.may(NUMBER, OrderStep.REFUSE) and row.state in ("accepted", "charging"):
                book.refuse(NUMBER, "no_record")
        self.post()


ACTIONS = st.tuples(
    st.sampled_from(
        ("send", "accepted", "refused", "unknown", "ended", "started", "order_refused", "settled", "time", "days")
    ),
    st.integers(0, 700),
)


@settings(max_examples=500, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=12))
def test_any_sequence_ends_in_an_end_state_and_no_fen_is_lost_or_made(actions) -> None:
    world = World()
    settled = None
    for action, value in actions:
        before = world.book.row(NUMBER).cost_fen
        world.act(action, value)
        if before is None and world.book.row(NUMBER).cost_fen is not None:
            settled = value
    for last in ("send", "time", "time", "days"):  # nobody answers any more
        world.act(last, 700)
    row = world.book.row(NUMBER)
    assert world.state in ENDS
    balance = world.books.balance_fen
    revenue_fen = balance("revenue:electricity") + balance("revenue:service")
    assert revenue_fen == (settled or 0), "the bill of the cabinet is booked as it is, once"
    assert balance("wallet:7") - FIRST_FEN == -revenue_fen - balance(f"debt:{NUMBER}")
    assert row.debt_fen == -balance(f"debt:{NUMBER}")
    assert (world.state is OrderState.PAID_OUT) == (settled is not None)


def test_every_state_that_is_no_end_has_a_way_out_and_every_end_is_reached() -> None:
    ways: dict[OrderState, set[OrderState]] = {}
    for (state, _), after in TABLE.items():
        ways.setdefault(state, set()).add(after)
    assert set(OrderState) - ways.keys() == {OrderState.PAID_OUT}
    for state in OrderState:
        reached, left = {state}, [state]
        while left:
            new = ways.get(left.pop(), set()) - reached
            reached |= new
            left += new
        assert reached & ENDS


def test_a_step_that_the_state_does_not_allow_is_an_error() -> None:
    with pytest.raises(IllegalOrderStep):
        next_state(OrderState.PAID_OUT, OrderStep.SETTLE)
    with pytest.raises(IllegalOrderStep):
        next_state(OrderState.HELD, OrderStep.SETTLE)


def test_a_settlement_without_a_debt_is_the_cabinets_own_to_the_posting() -> None:
    made = settlement(order(), HELD_FEN, 120, 30)
    own = ledger.settle(NUMBER, 7, HELD_FEN, 120, 30)
    assert (made.key, made.kind, sorted(made.postings, key=repr)) == (own.key, own.kind, sorted(own.postings, key=repr))


def test_order_numbers_are_of_the_form_that_cabinets_take_and_random() -> None:
    numbers = {new_number() for _ in range(1000)}
    assert len(numbers) == 1000
    for number in numbers:
        assert msgspec.convert(number, OrderNumber) == number
