"""Refunds to where the money came from, top-ups, and the secrets of accounts: each fen is at one place."""

import logging

import pytest

from cabinet.errors import Refused
from fleet.money import paying
from fleet.money.payment_table import RefundStep
from fleet.money.payments.port import PlatformError
from fleet.store import payments, rows, wallets

BOTH = pytest.mark.parametrize("platform", ["wechat", "alipay"])


# --- refunds ---------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("fault", ["error_before", "error_after", "forged", "limit"])
def test_refund_with_an_unknown_result_is_asked_about_and_done_once(on_scene, platform, fault):
    async def body(scene):
        row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident(), platform))
        await scene.charge(row.order_number, 120)
        table = scene.sim(row).table
        table.faults.append(fault)
        await scene.watcher.sweep()
        assert [state for _, _, state in await scene.refunds(row.number)] == ["wanted"]
        await scene.all_over()
        assert await scene.refunds(row.number) == [(80, "rest", "done")]
        assert len(table.refunds) == 1

    on_scene(body)


def test_slow_refund_is_asked_about_until_it_is_done(on_scene):
    async def body(scene):
        row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident()))
        scene.sim(row).table.refund_delay_s = 7200
        await scene.charge(row.order_number, 120)
        await scene.due()
        assert await scene.refunds(row.number) == [(80, "rest", "sent")]
        scene.sim(row).notices.silent = True
        scene.bench.now += 7200
        await scene.notify()
        await scene.due()
        assert await scene.refunds(row.number) == [(80, "rest", "done")]

    on_scene(body)


def test_failed_refund_waits_for_a_person_who_has_it_tried_again_or_pays_it_out(on_scene):
    async def body(scene):
        company = scene.scene.company_id
        found = []
        for outlet, step in ((3, RefundStep.AGAIN), (4, RefundStep.BY_HAND)):
            row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident(), outlet=outlet))
            await scene.charge(row.order_number, 120)
            scene.sim(row).table.fail_refunds.add(f"{row.number}R1")
            await scene.all_over()
            assert await scene.refunds(row.number) == [(80, "rest", "failed")]
            async with scene.pool.connection() as connection:
                assert [each.payment_number for each in await payments.failed_refunds(connection, company)] == [
                    row.number
                ]
                with pytest.raises(Refused, match="cannot_undo"):
                    await paying.decide_refund(connection, company + 1, f"{row.number}R1", step)
                await paying.decide_refund(connection, company, f"{row.number}R1", step)
                with pytest.raises(Refused, match="cannot_undo"):
                    await paying.decide_refund(connection, company, f"{row.number}R1", step)
            await scene.all_over()
            assert await scene.refunds(row.number) == [(80, "rest", "done")]
            found.append(row)
        assert (await scene.balances())["cash"] == 80
        # the second one's money is still at the platform: its person got cash
        assert -(await scene.balances())["platform:wechat:1900000109"] == 120 + 200
        assert [(await scene.row(row.number)).state for row in found] == ["returned", "returned"]

    on_scene(body)


def test_refund_waits_while_the_platform_has_too_little_of_the_company_s_money(on_scene):
    async def body(scene):
        row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident()))
        await scene.charge(row.order_number, 120)
        table, merchant = scene.sim(row).table, scene._merchant(row)
        table.balance[merchant] -= 200
        await scene.due()
        async with scene.pool.connection() as connection:
            [refund] = await payments.refunds(connection, scene.scene.company_id, row.number)
        assert (refund.state, refund.problem) == ("wanted", "NOT_ENOUGH")
        table.balance[merchant] += 200
        await scene.due()
        await scene.notify()
        assert await scene.refunds(row.number) == [(80, "rest", "done")]

    on_scene(body)


# --- top-ups ---------------------------------------------------------------------------------------------------------


@BOTH
def test_top_up_stays_in_the_wallet_and_its_rest_goes_back_oldest_first(on_scene, platform):
    async def body(scene):
        resident = await scene.resident()
        numbers = []
        for amount in (1000, 2000):
            row = await scene.begin_offered(resident, platform, purpose="wallet", amount_fen=amount, code="", choice="")
            numbers.append((await scene.pay_and_notify(row)).number)
            scene.bench.now += 60
        assert [(await scene.row(number)).state for number in numbers] == ["credited", "credited"]
        assert await scene.balance(resident) == 3000
        company = scene.scene.company_id
        async with scene.pool.connection() as connection:
            await wallets.pay_out(connection, company, resident, 1700, "spent")
            assert await paying.want_back(connection, company, resident) == 1300
            with pytest.raises(Refused, match="no_money"):
                await paying.want_back(connection, company, resident)
        await scene.all_over()
        assert await scene.refunds(numbers[0]) == [(1000, "wanted_back", "done")]
        assert await scene.refunds(numbers[1]) == [(300, "wanted_back", "done")]
        async with scene.pool.connection() as connection:
            await wallets.top_up(connection, company, resident, 5000, "cash")
            assert await paying.want_back(connection, company, resident) == 1700, "no more than was paid by phone"
        scene.bench.now += 61
        await scene.all_over()
        assert await scene.refunds(numbers[1]) == [(300, "wanted_back", "done"), (1700, "wanted_back", "done")]

    on_scene(body)


@pytest.mark.parametrize("amount", [0, 99, 50_001])
def test_top_up_has_bounds(on_scene, amount):
    async def body(scene):
        with pytest.raises(Refused, match="bad_amount"):
            await scene.begin(await scene.resident(), purpose="wallet", amount_fen=amount)

    on_scene(body)


# --- accounts --------------------------------------------------------------------------------------------------------


def test_secrets_are_sealed_in_the_database_and_bound_to_their_account(on_scene):
    async def body(scene):
        async with scene.pool.connection() as connection:
            sealed = await rows.value(connection, "SELECT secrets FROM merchant_account WHERE platform = 'wechat'")
            assert b"PRIVATE KEY" not in sealed
            await connection.execute("UPDATE merchant_account SET secrets = %s, changed = now()", (sealed,))
        scene.accounts.forget()
        assert list(await scene.accounts.offered(scene.pool, scene.scene.company_id)) == ["wechat"]
        async with scene.pool.connection() as connection:
            await connection.rollback()

    async def whole(scene):
        await body(scene)
        scene.problems = _none

    async def _none():
        return []

    on_scene(whole)


@BOTH
def test_log_of_everything_shows_no_secret(on_scene, caplog, platform):
    caplog.set_level(logging.DEBUG)

    async def body(scene):
        account = await scene.account(platform)
        with pytest.raises(PlatformError):
            await account.platform.payer_of("bad-code")
        row = await scene.begin(await scene.resident(), platform)
        await account.platform.query("P00000000")  # the platform's keys are known
        scene.sim(row).table.faults.append("limit")
        with pytest.raises(PlatformError):
            await scene.offer(row)
        row = await scene.pay_and_notify(await scene.offer(row))
        await scene.charge(row.order_number, 113)
        scene.sim(row).table.faults.append("limit")
        await scene.all_over()
        assert "it rests" in caplog.text
        for name, secret in scene.bench.platforms.accounts()[platform]["secrets"].items():
            parts = secret.split("\n")[1:3] if "KEY" in secret else [secret]
            assert not [part for part in parts if part in caplog.text], name
            assert not [part for part in parts if part in repr(vars(account.platform))], name

    on_scene(body)
