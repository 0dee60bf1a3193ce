"""Payments from tap to charge and back, over the simulated platforms: each fen is at one place after each step."""

import asyncio
from typing import Any

import msgspec
import pytest

from cabinet.errors import Refused
from fleet.money import offering, paying
from fleet.money.payments.port import PlatformError
from fleet.store import payments

BOTH = pytest.mark.parametrize("platform", ["wechat", "alipay"])


async def _steps(scene, number):
    async with scene.pool.connection() as connection:
        found = await payments.steps(connection, scene.scene.company_id, number)
    return [each.step for each in found]


# --- a charge --------------------------------------------------------------------------------------------------------


@BOTH
def test_paid_charge_is_ordered_and_its_rest_goes_back_to_where_it_came_from(on_scene, platform):
    async def body(scene):
        resident = await scene.resident()
        row = await scene.begin_offered(resident, platform)
        assert row.state == "offered"
        row = await scene.pay_and_notify(row)
        assert row.state == "started"
        order = await scene.order(row.order_number)
        assert (order.state, order.held_fen, order.outlet) == ("held", 200, 3)
        await scene.charge(order.number, 113)
        await scene.all_over()
        assert (await scene.row(row.number)).state == "returned"
        assert await scene.refunds(row.number) == [(87, "rest", "done")]
        assert await scene.balance(resident) == 0
        merchant = (await scene.account(platform)).row.merchant
        assert await scene.balances() == {
            "revenue:electricity": 75, "revenue:service": 38, f"platform:{platform}:{merchant}": -113,
        }  # fmt: skip
        assert (await _steps(scene, row.number))[:4] == ["offer", "pay", "start", "give_back"]

    on_scene(body)


def test_charge_that_took_all_of_it_returns_nothing(on_scene):
    async def body(scene):
        row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident()))
        await scene.charge(row.order_number, 200)
        await scene.due()
        assert (await scene.row(row.number)).state == "spent"
        assert await scene.refunds(row.number) == []

    on_scene(body)


@BOTH
def test_charge_that_never_started_returns_everything(on_scene, platform):
    async def body(scene):
        row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident(), platform))
        await scene.refuse(row.order_number)
        await scene.all_over()
        assert await scene.refunds(row.number) == [(200, "no_charge", "done")]

    on_scene(body)


def test_until_full_is_paid_with_the_hold_that_the_tariff_needs(on_scene):
    async def body(scene):
        rules = scene.config.orders
        async with scene.pool.connection() as connection:
            needed = await paying.needed_fen(connection, rules, "C-ONE-3", "full", 0)
            assert needed == rules.full_hold_fen == 500
            assert await paying.needed_fen(connection, rules, "C-ONE-3", "amount", 200) == 200
            with pytest.raises(Refused, match="bad_choice"):
                await paying.needed_fen(connection, rules, "C-ONE-3", "amount", 1)
        row = await scene.begin_offered(await scene.resident(), amount_fen=needed, choice="full")
        row = await scene.pay_and_notify(row)
        order = await scene.order(row.order_number)
        assert (order.choice, order.held_fen) == ("full", 500)

    on_scene(body)


def test_second_payment_for_a_taken_outlet_goes_back_whole(on_scene):
    async def body(scene):
        first = await scene.begin_offered(await scene.resident(), "wechat")
        second = await scene.begin_offered(await scene.resident(), "alipay")
        first = await scene.pay_and_notify(first)
        second = await scene.pay_and_notify(second)
        assert (first.state, second.state, second.refusal) == ("started", "returning", "outlet_busy")
        await scene.all_over()
        assert await scene.refunds(second.number) == [(200, "no_charge", "done")]

    on_scene(body)


def test_debt_of_an_earlier_charge_is_paid_first_and_only_the_rest_goes_back(on_scene):
    async def body(scene):
        resident = await scene.resident()
        row = await scene.pay_and_notify(await scene.begin_offered(resident))
        await scene.refuse(row.order_number)
        await scene.due()
        await scene.charge(row.order_number, 150)  # the record arrives after the money went back
        again = await scene.begin_offered(resident, outlet=4)
        again = await scene.pay_and_notify(again)
        assert (again.state, again.refusal) == ("returning", "no_money")
        await scene.all_over()
        assert await scene.refunds(again.number) == [(50, "no_charge", "done")]
        assert await scene.balance(resident) == 0

    on_scene(body)


# --- notifications and queries ---------------------------------------------------------------------------------------


@BOTH
def test_notification_counts_once_however_often_it_comes_and_whatever_asked_before(on_scene, platform):
    async def body(scene):
        resident = await scene.resident()
        row = await scene.begin_offered(resident, platform)
        sim = scene.sim(row)
        sim.notices.copies = 5
        scene.pay(row)
        assert sorted(await scene.notify()) == ["known"] * 4 + ["taken"]
        await scene.due()
        sim.notify(sim.table.find(scene._merchant(row), row.number))
        assert set(await scene.notify()) == {"known"}
        assert (await scene.row(row.number)).state == "started"
        merchant = (await scene.account(platform)).row.merchant
        assert (await scene.balances())[f"platform:{platform}:{merchant}"] == -200

    on_scene(body)


@BOTH
def test_five_notifications_at_once_count_once(on_scene, platform):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), platform)
        scene.pay(row)
        notice = scene.sim(row).notices.waiting.pop()
        outcomes = await asyncio.gather(*(scene.deliver(platform, *notice.make()) for _ in range(4)))
        assert sorted(outcomes) == ["known", "known", "known", "taken"]

    on_scene(body)


@BOTH
def test_without_any_notification_the_watcher_finds_the_money(on_scene, platform):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), platform)
        scene.sim(row).notices.silent = True
        scene.pay(row)
        await scene.due()
        assert (await scene.row(row.number)).state == "started"

    on_scene(body)


@BOTH
def test_notification_before_the_answer_to_the_offer(on_scene, platform):
    async def body(scene):
        row = await scene.begin(await scene.resident(), platform)
        account = await scene.account(platform)
        create = account.platform.create

        async def paid_meanwhile(request):
            made = await create(request)
            scene.pay(row)
            assert await scene.notify() == ["taken"]
            return made

        account.platform.create = paid_meanwhile
        assert (await scene.offer(row)).state == "started"

    on_scene(body)


@BOTH
@pytest.mark.parametrize("fault", ["error_before", "error_after", "forged", "limit"])
def test_unknown_result_of_the_offer_is_asked_about_and_never_assumed(on_scene, platform, fault):
    async def body(scene):
        row = await scene.begin(await scene.resident(), platform)
        await (await scene.account(platform)).platform.query("P00000000")  # the platform's keys are known
        scene.sim(row).table.faults.append(fault)
        with pytest.raises(PlatformError):
            await scene.offer(row)
        assert (await scene.row(row.number)).state == "created"
        await scene.due()
        assert (await scene.row(row.number)).state == "created"
        if fault in ("error_after", "forged"):  # it was made all the same, and the person pays it
            assert (await scene.pay_and_notify(row)).state == "started"
        else:
            scene.bench.now += 661
            await scene.due()
            assert (await scene.row(row.number)).state == "closed"

    on_scene(body)


def test_report_that_cannot_be_ours_moves_nothing_and_is_kept_as_a_difference(on_scene):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident())
        scene.pay(row)
        account = await scene.account()
        good = await account.platform.query(row.number)
        scene.sim(row).notices.waiting.clear()
        changes: list[dict[str, Any]] = [
            {"amount_fen": 201}, {"amount_fen": 2}, {"merchant": "1900000110"}, {"app": "wxother"}, {"currency": "USD"},
        ]  # fmt: skip
        for change in changes:
            report = msgspec.structs.replace(good, **change)
            async with scene.pool.connection() as connection:
                assert await paying.take(connection, account, report) == "other"
        unknown = type(good)("PUNKNOWN", "paid", good.merchant, good.app, 700)
        async with scene.pool.connection() as connection:
            for _ in range(3):
                assert await paying.take(connection, account, unknown) == "other"
            cursor = await connection.execute(
                "SELECT kind, payment_number, theirs_fen FROM payment_difference ORDER BY id"
            )
            found = await cursor.fetchall()
        assert found == [("wrong_report", row.number, 201), ("unknown_payment", "PUNKNOWN", 700)]
        assert (await scene.row(row.number)).state == "offered"
        await scene.due()
        assert (await scene.row(row.number)).state == "started", "the right one is taken"

    on_scene(body)


def test_account_of_one_company_cannot_pay_the_payment_of_another(on_scene):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), "wechat")
        scene.pay(row)
        report = await (await scene.account("wechat")).platform.query(row.number)
        other = await scene.account("alipay")
        async with scene.pool.connection() as connection:
            assert await paying.take(connection, other, report) == "other"
        assert (await scene.row(row.number)).state == "offered"
        await scene.notify()

    on_scene(body)


@BOTH
def test_refused_offer_of_a_payment_that_was_paid_meanwhile_finds_the_money(on_scene, platform):
    async def body(scene):
        row = await scene.begin(await scene.resident(), platform)
        await (await scene.account(platform)).platform.query("P00000000")  # the platform's keys are known
        scene.sim(row).table.faults.append("error_after")
        with pytest.raises(PlatformError):
            await scene.offer(row)
        scene.pay(row)
        assert (await scene.offer(row)).state == "started"
        await scene.notify()

    on_scene(body)


# --- closing ---------------------------------------------------------------------------------------------------------


@BOTH
def test_payment_that_is_not_made_is_closed_after_its_time(on_scene, platform):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), platform)
        scene.bench.now += 601
        await scene.due()
        assert (await scene.row(row.number)).state == "closed"
        assert (await (await scene.account(platform)).platform.query(row.number)).state == "closed"

    on_scene(body)


@BOTH
def test_one_payment_is_open_at_a_time_and_closed_before_another_is_offered(on_scene, platform):
    async def body(scene):
        resident = await scene.resident()
        row = await scene.begin_offered(resident, platform)
        with pytest.raises(Refused, match="payment_open"):
            await scene.begin(resident, "alipay")
        account = await scene.account(platform)
        row = await offering.close(scene.pool, account, scene.config.orders, row, "another way")
        assert row.state == "closed"
        with pytest.raises(Exception, match="is_closed"):
            scene.pay(row)
        await scene.begin_offered(resident, "alipay")

    on_scene(body)


@BOTH
def test_close_that_is_too_late_finds_the_money(on_scene, platform):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), platform)
        scene.pay(row)
        account = await scene.account(platform)
        row = await offering.close(scene.pool, account, scene.config.orders, row, "another way")
        assert row.state == "returning", "it was wanted no more: the money goes back"
        await scene.all_over()
        assert await scene.refunds(row.number) == [(200, "paid_late", "done")]

    on_scene(body)


@BOTH
def test_money_for_a_payment_that_is_closed_here_goes_back(on_scene, platform):
    async def body(scene):
        row = await scene.begin_offered(await scene.resident(), platform)
        async with scene.pool.connection() as connection:
            await paying.want_closed(connection, row.number, "test")
            await paying.closed(connection, row.number)
        row = await scene.pay_and_notify(row)
        assert row.state == "returning"
        await scene.all_over()
        assert await scene.refunds(row.number) == [(200, "paid_late", "done")]

    on_scene(body)
