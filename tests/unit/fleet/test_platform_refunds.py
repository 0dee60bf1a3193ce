"""Refunds, bills and the names of people through both adapters, against the simulated platforms."""

import datetime
import re

import pytest

from cabinet_testing.payment_bench import on_bench, paid
from fleet.money.payments.port import BillLine, PlatformRefused, RateLimited, RefundReport

DAY = datetime.date(2025, 12, 1)


@pytest.fixture(params=["wechat", "wechat_partner", "alipay", "alipay_isv"])
def name(request):
    return request.param


def test_refund_is_done_once_however_often_it_is_asked_for(run, name):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        absent = RefundReport("P23456789", "R1", "absent", account.merchant)
        assert await account.query_refund("P23456789", "R1") == absent
        for _ in range(3):
            assert (await account.refund(bench.refund())).state in ("processing", "done")
            await bench.platforms.tick()
        done = await account.query_refund("P23456789", "R1")
        assert (done.state, done.amount_fen, done.merchant) == ("done", 80, account.merchant)
        assert sim.table.balance[owner] == 120
        with pytest.raises(PlatformRefused):
            await account.refund(bench.refund(fen=81))
        bench.now += 61
        with pytest.raises(PlatformRefused):
            await account.refund(bench.refund(refund="R2", fen=121))
        await account.refund(bench.refund(refund="R2", fen=120))
        await bench.platforms.tick()
        assert sim.table.balance[owner] == 0
        assert (await account.query("P23456789")).state == "paid", "also when all of it went back"

    on_bench(run, name, body)


def test_second_refund_within_a_minute_is_limited_and_right_later(run, name):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        await account.refund(bench.refund())
        with pytest.raises(RateLimited):
            await account.refund(bench.refund(refund="R2", fen=20))
        bench.now += 61
        await account.refund(bench.refund(refund="R2", fen=20))

    on_bench(run, name, body)


def test_slow_refund_is_processing_until_it_is_done_and_then_notified(run, name):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        sim.table.refund_delay_s = 3600
        assert (await account.refund(bench.refund())).state == "processing"
        await bench.platforms.tick()
        assert (await account.query_refund("P23456789", "R1")).state in ("processing", "absent")
        bench.now += 3600
        bench.platforms.wechat.settle_refunds()
        bench.platforms.alipay.settle_refunds()
        headers, content = sim.notices.waiting.pop().make()
        report = await account.parse_notification(headers, content, bench.now)
        if name.startswith("wechat"):
            assert report == await account.query_refund("P23456789", "R1")
        else:
            assert (report.state, report.number) == ("paid", "P23456789")  # Alipay notifies the trade
        assert (await account.query_refund("P23456789", "R1")).state == "done"

    on_bench(run, name, body)


def test_failed_refund_is_reported_and_the_same_number_asks_again(run, name):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        sim.table.fail_refunds.add("R1")
        await account.refund(bench.refund())
        await bench.platforms.tick()
        assert (await account.query_refund("P23456789", "R1")).state in ("failed", "absent")
        assert sim.table.balance[owner] == 200
        await account.refund(bench.refund())
        await bench.platforms.tick()
        assert (await account.query_refund("P23456789", "R1")).state == "done"
        assert sim.table.balance[owner] == 120

    on_bench(run, name, body)


def test_refund_without_money_at_the_platform_is_refused_with_its_code(run, name):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        sim.table.balance[owner] = 0
        with pytest.raises(PlatformRefused) as refused:
            await account.refund(bench.refund())
        assert refused.value.code in ("NOT_ENOUGH", "ACQ.SELLER_BALANCE_NOT_ENOUGH")

    on_bench(run, name, body)


# --- bills and people ------------------------------------------------------------------------------------------------


def test_bill_of_a_day_has_its_payments_and_refunds_with_their_fees(run, name):
    async def body(bench, account, sim, owner):
        assert await account.bill(DAY) == []
        await account.create(bench.request("P00000001", amount_fen=5000))
        await paid(bench, account, sim)
        sim.pay(owner, "P00000001")
        await account.create(bench.request("P00000003"))
        await account.refund(bench.refund("P00000001", "R1", 1250, 5000))
        await bench.platforms.tick()
        lines = sorted(await account.bill(DAY), key=lambda line: (line.payment_number, line.refund_number))
        assert [(each.payment_number, each.refund_number, each.amount_fen, each.fee_fen) for each in lines] == [
            ("P00000001", "", 5000, 30), ("P00000001", "R1", 1250, -8), ("P23456789", "", 200, 1),
        ]  # fmt: skip
        assert {type(each) for each in lines} == {BillLine}
        assert await account.bill(DAY + datetime.timedelta(days=1)) == []

    on_bench(run, name, body)


def test_person_in_the_app_is_named_by_the_platform_once_a_code(run):
    async def body(bench, account, sim, owner):
        answer = await bench.open_link(account.login_url("http://fleet.test/pay/payer", "state-1"))
        back = answer.headers["location"]
        assert back.startswith("http://fleet.test/pay/payer?")
        assert "state=state-1" in back
        found = re.search(r"(?:auth_)?code=(\w+)", back)
        assert found is not None
        code = found[1]
        assert await account.payer_of(code) == sim.person
        with pytest.raises(PlatformRefused):
            await account.payer_of(code)

    on_bench(run, "wechat", body)
    on_bench(run, "alipay", body)
