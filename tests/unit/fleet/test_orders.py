"""Placing and ending orders: money is held before anything is sent, and every end pays it out or gives it back."""

import pytest

from cabinet.errors import Refused
from cabinet.service.ports import StartChoice
from cabinet_testing import fleet_scene as scene
from fleet import orders
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import database, wallets
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
