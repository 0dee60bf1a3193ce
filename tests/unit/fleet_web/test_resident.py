"""Residents' pages of the fleet: from the printed code to the receipt, and each way that ends before it."""

import asyncio

import pytest

from cabinet.model import Fault
from cabinet.uplink.messages import OutletReport
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.fleet_web import PIN, fleet_web, order_of
from fleet.store import wallets

KEY = "k" * 32


async def test_from_the_printed_code_to_the_receipt(url: str) -> None:
    async with fleet_web(url) as at:
        resident_id = await at.resident()
        phone = await at.browser()
        seen = await phone.page("/s/C-ONE-3")
        assert "East gate" in seen.text
        assert "Green Court" in seen.text
        signed_in = await phone.send("/sign-in", to="/s/C-ONE-3", card="10010000", pin=PIN)
        assert signed_in.headers["location"] == "/s/C-ONE-3"
        started = await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY)
        assert started.status_code == 303
        number = order_of(started)
        assert "请现在插上充电器" in (await phone.page(f"/charge/{number}")).text
        again = await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY)
        assert order_of(again) == number, "the same tap is the same order"
        await at.charge(number)
        charging = (await phone.page(f"/charge/{number}")).text
        assert "0.30" in charging
        assert "148" in charging
        assert "您正在 3 号插座充电" in (await phone.page("/s/C-ONE-1")).text
        stopped = await phone.send(f"/charge/{number}/stop")
        assert stopped.status_code == 303
        receipt = (await phone.page(f"/charge/{number}")).text
        assert "0.44" in receipt
        assert number in receipt
        assert "已退回" in receipt.replace("\xa0", "")
        assert number in (await phone.get("/account/statement")).text
        assert "0.44" in (await phone.page("/account/charges")).text
        async with at.pool.connection() as connection:
            money = await wallets.wallet(connection, at.scene.company_id, resident_id)
        assert (money.balance_fen, money.held_fen, money.debt_fen) == (956, 0, 0)
        assert "9.56" in (await phone.page("/account")).text


async def test_an_offline_cabinet_says_so_takes_no_money_and_shows_free_outlets_nearby(url: str) -> None:
    async with fleet_web(url) as at:
        resident_id = await at.resident()
        phone = await at.browser(resident_id)
        await at.show("c-one", online=False)
        page = await phone.page("/s/C-ONE-3")
        assert "没有联网" in page.text
        assert "没有扣钱" in page.text
        assert not page.all("button", **{"class": "primary huge"})
        assert page.all("a", href="/s/C-TWO-1")
        assert not page.all("a", href="/s/C-OTHER-1"), "of another company"
        refused = await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY)
        assert refused.status_code == 503
        async with at.pool.connection() as connection:
            assert (await wallets.wallet(connection, at.scene.company_id, resident_id)).balance_fen == 1000


async def test_a_refused_order_says_why_and_that_the_money_is_back(url: str) -> None:
    async with fleet_web(url) as at:
        resident_id = await at.resident()
        phone = await at.browser(resident_id)
        at.reply = "outlet_hot"
        refused = await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY)
        assert refused.status_code == 409
        assert "钱已经退回您的余额" in refused.text
        async with at.pool.connection() as connection:
            assert (await wallets.wallet(connection, at.scene.company_id, resident_id)).balance_fen == 1000
        listed = await phone.page("/account/charges")
        assert "没有开始充电" in listed.text


async def test_an_unanswered_order_says_what_happens_to_the_money(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.web.charges.ANSWER_WITHIN_S", 0.2)
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        at.reply = "silent"
        number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        assert "正在通知充电柜" in (await phone.page(f"/charge/{number}")).text
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE charge_order SET asked = now()")
        asked = (await phone.page(f"/charge/{number}")).text
        assert "自动退回余额" in asked
        assert "5.00" in asked
        assert "有人正在使用" in (await (await at.browser()).page("/s/C-ONE-3")).text, "taken, until it is dead"


async def test_a_running_charge_of_a_cabinet_that_went_offline_shows_the_age_of_its_figures(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        await at.charge(number)
        await at.show("c-one", online=False)
        page = (await phone.page(f"/charge/{number}")).text
        assert "充电照常进行" in page
        assert "已付的钱不会丢失" in page


async def test_the_charge_page_is_live(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        live = asyncio.create_task(phone.get(f"/charge/{number}/live?shape=waiting"))
        async with asyncio.timeout(10):
            while True:  # the viewer is noted when the stream has begun
                async with at.pool.connection() as connection:
                    cursor = await connection.execute("SELECT cabinet FROM viewer WHERE until > now()")
                    if await cursor.fetchall() == [("c-one",)]:
                        break
                await asyncio.sleep(0.02)
            await at.charge(number)
            await at.settle(number)
            text = (await live).text
    assert "event: body" in text
    assert "event: close" in text
    assert "0.44" in text


async def test_another_residents_charge_is_not_to_be_seen(url: str) -> None:
    async with fleet_web(url) as at:
        mine = await at.browser(await at.resident())
        number = order_of(await mine.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        for scene in (at.scene, at.other):
            stranger = await at.browser(await at.resident(scene))
            assert (await stranger.get(f"/charge/{number}")).status_code == 404
            assert (await stranger.send(f"/charge/{number}/stop")).status_code == 404


async def test_a_resident_of_another_company_is_a_stranger_at_this_outlet(url: str) -> None:
    async with fleet_web(url) as at:
        stranger = await at.browser(await at.resident(at.other))
        assert "登录后开始充电" in (await stranger.page("/s/C-ONE-3")).text
        answer = await stranger.send("/s/C-ONE-3/start", kind="full", request_key=KEY)
        assert answer.headers["location"].startswith("/sign-in")
        assert "开始充电，充满自停" in (await stranger.page("/s/C-OTHER-1")).text


async def test_faults_and_refusals_of_the_state_are_shown(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        broken = OutletReport(1, "needs_service", "fault_latched", fault=Fault.SHORT_CIRCUIT)
        full = OutletReport(2, "free", "feed_full")
        new = OutletReport(3, "free", "a_code_of_next_year")
        await at.show("c-one", broken, full, new)
        assert "短路" in (await phone.page("/s/C-ONE-1")).text
        waiting = await phone.page("/s/C-ONE-2")
        assert "排队" not in waiting.text, "power is waited for at the cabinet only"
        assert (await phone.get("/s/C-ONE-3")).status_code == 200


async def test_unknown_code_short_address_and_front_page(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser()
        assert (await phone.get("/s/ZZZZ")).status_code == 404
        assert (await phone.get("/q/A7K2")).headers["location"] == "/s/A7K2"
        assert (await phone.get("/q/..%2F")).headers["location"] == "/"
        assert "插座编号" in (await phone.page("/")).text
        assert (await phone.get("/healthz")).json() == {"database": True, "notices": True}


async def test_a_database_that_is_away_is_an_apology_and_the_same_tap_may_be_repeated(
    url: str, postgres: FleetPostgres
) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser(await at.resident())
        number = order_of(await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY))
        async with at.pool.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query NOT LIKE 'LISTEN%'"
            )
        answers = [await phone.send("/s/C-ONE-3/start", kind="full", request_key=KEY) for _ in range(12)]
        for answer in answers:
            assert answer.status_code in (303, 503)
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "5"
                assert "已付的钱不会丢失" in answer.text
        assert order_of(answers[-1]) == number
