"""Placing and ending orders: money is held before anything is sent, and every end pays it out or gives it back."""

import asyncio
import contextlib
import datetime

import pytest

from cabinet.errors import Refused
from cabinet.service.ports import StartChoice
from cabinet.uplink.messages import Answer
from cabinet_testing import fleet_scene as scene
from fleet import orders, sending
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import database, taps, wallets
from fleet.store import orders as table

RULES = scene.config().orders
FULL = StartChoice("full")


async def _prepared(connection):
    company = await scene.add_company(connection)
    await scene.add_cabinet(connection, company, "c-one")
    return company, await scene.add_resident(connection, company, 1000)


def place(connection, company, resident, code="C-ONE-3", key="tap-1", choice=FULL):
    return orders.place(connection, RULES, company.company_id, resident, code, choice, key)


def test_an_order_holds_its_money_before_it_is_sent_and_the_same_tap_places_it_once(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company, resident = await _prepared(connection)
            order = await place(connection, company, resident)
            assert (order.state, order.held_fen, order.tariff_version) == ("held", 500, "2026-11")
            assert (await place(connection, company, resident)).number == order.number
            money = await wallets.wallet(connection, company.company_id, resident)
            assert (money.balance_fen, money.held_fen) == (500, 500)
            steps = await table.steps(connection, company.company_id, order.number)
            assert [(step.step, step.to_state) for step in steps] == [("hold", "held")]
            with pytest.raises(Refused, match="already_charging"):
                await place(connection, company, resident, "C-ONE-4", "tap-2")
            other = await scene.add_resident(connection, company)
            with pytest.raises(Refused, match="outlet_busy"):
                await place(connection, company, other)
            assert await wallets.check(connection, company.company_id) == []

    run(body())


def test_a_refused_order_gives_the_whole_hold_back_and_a_late_record_becomes_a_named_debt(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company, resident = await _prepared(connection)
            order = await place(connection, company, resident)
            book = await OrderBook.load(connection, [order.number])
            book.step(order.number, OrderStep.SEND, sent=book.now)
            book.refuse(order.number, "no_answer")
            await book.write(connection)
            assert (await wallets.wallet(connection, company.company_id, resident)).balance_fen == 1000
            await wallets.pay_out(connection, company.company_id, resident, 900, "leaves")
            book = await OrderBook.load(connection, [order.number])
            assert book.settle(order.number, 120, 30, 7, "s1")
            assert not book.settle(order.number, 120, 30, 7, "s1")
            await book.write(connection)
            after = await table.get(connection, company.company_id, order.number)
            assert after is not None
            assert (after.state, after.cost_fen, after.debt_fen, after.refund_fen) == ("paid_out", 150, 150, 500)
            money = await wallets.wallet(connection, company.company_id, resident)
            assert (money.balance_fen, money.debt_fen) == (0, 50), "what the wallet had was taken at once"
            await wallets.top_up(connection, company.company_id, resident, 70, "again")
            money = await wallets.wallet(connection, company.company_id, resident)
            assert (money.balance_fen, money.debt_fen) == (20, 0)
            assert await wallets.check(connection, company.company_id) == []

    run(body())


def test_a_tap_and_its_sending_take_few_round_trips(url, run, tmp_path):
    async def body():
        async with await database.connect(url) as connection:
            company, resident = await _prepared(connection)
            await connection.commit()
            with _traced(connection, tmp_path / "tap") as round_trips:
                order = await place(connection, company, resident)
                await connection.commit()
            assert len(round_trips) == 4, "begin; lock and read; place; commit"
            with _traced(connection, tmp_path / "send") as round_trips:
                starts = await sending.to_start(connection)
                await connection.commit()
            assert [each.order for each in starts.orders] == [order.number]
            assert len(round_trips) == 3, "begin; claim; commit"
            with _traced(connection, tmp_path / "answer") as round_trips:
                await sending.take_answers(connection, [("c-one", Answer(order.number, "accepted", session_id="s"))])
                await connection.commit()
            assert len(round_trips) == 5, "begin; cabinets that are not revoked; lock and read; write; commit"
            after = await table.get(connection, company.company_id, order.number)
            assert after is not None
            assert after.state == "accepted"

    run(body())


@contextlib.contextmanager
def _traced(connection, path):
    """Give the list of the round trips of a block: each ends with the server's ReadyForQuery."""
    found: list[str] = []
    with path.open("w+") as file:
        connection.pgconn.trace(file.fileno())
        yield found
        connection.pgconn.untrace()
        found += [line for line in path.read_text().splitlines() if "ReadyForQuery" in line]


def test_a_wallet_that_is_empty_at_the_write_places_nothing(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company, resident = await _prepared(connection)
            new = taps.NewOrder(
                "F2222", company.company_id, resident, "tap", "c-one", 3, "C-ONE-3", "full", 0, "", "2026-11", 1001
            )
            assert await taps.place(connection, new) is None
            assert await table.get(connection, company.company_id, "F2222") is None
            assert (await wallets.wallet(connection, company.company_id, resident)).balance_fen == 1000
            assert await wallets.check(connection, company.company_id) == []

    run(body())


@pytest.mark.parametrize("taken", ["C-ONE-3", "C-ONE-4"])
def test_of_two_taps_at_once_one_gets_its_order_and_the_other_keeps_its_money(url, run, taken):
    """Two residents at one outlet, or one resident at two: the second is refused, whichever of them it is."""

    async def body():
        async with await database.connect(url) as connection:
            company, resident = await _prepared(connection)
            other = resident if taken == "C-ONE-4" else await scene.add_resident(connection, company, 1000)
        async with database.pool(url, 4) as pool:

            async def tap(resident_id, code, key):
                try:
                    async with pool.connection() as connection:
                        return (await place(connection, company, resident_id, code, key)).state
                except Refused as refused:
                    return refused.code

            found = await asyncio.gather(tap(resident, "C-ONE-3", "a"), tap(other, taken, "b"))
            assert sorted(found) == sorted(["held", "outlet_busy" if taken == "C-ONE-3" else "already_charging"])
            async with pool.connection() as connection:
                assert await wallets.check(connection, company.company_id) == []
                balances = await wallets.balances(connection, company.company_id)
        assert sum(fen for name, fen in balances.items() if name.startswith("hold:")) == 500

    run(body())


def test_a_cap_of_a_day_counts_what_was_charged_today(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company = await scene.add_company(connection)
            capped = scene.TARIFF.replace("minimum_fen = 0", "minimum_fen = 0\nday_cap_fen = 600")
            await scene.add_cabinet(connection, company, "c-one", tariff=capped)
            resident = await scene.add_resident(connection, company, 2000)
            order = await place(connection, company, resident)
            book = await OrderBook.load(connection, [order.number])
            book.step(order.number, OrderStep.SEND, sent=book.now)
            book.settle(order.number, 400, 50, 1, "s1")
            await book.write(connection)
            amount = StartChoice("amount", amount_fen=500)
            assert (await place(connection, company, resident, key="tap-2", choice=amount)).held_fen == 500
            assert (
                await table.charged_between(
                    connection, company.company_id, resident, order.made, order.made + datetime.timedelta(seconds=1)
                )
                == 450
            )

    run(body())
