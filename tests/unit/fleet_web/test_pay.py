"""Paying on the pages: a scanned code becomes a charge in three taps at most, and the rest goes back."""

import re

import pytest

from cabinet_testing.html_page import Page
from cabinet_testing.payment_web import ALIPAY_AGENT, PLAIN_AGENT, WECHAT_AGENT, payment_web
from fleet.store import payments, rows, wallets

AGENTS = {"wechat": WECHAT_AGENT, "alipay": ALIPAY_AGENT}


def _found(pattern, text):
    match = re.search(pattern, text, re.DOTALL)
    assert match is not None, text
    return match[1]


async def _problems(at):
    async with at.pool.connection() as connection:
        found = await wallets.check(connection, at.scene.company_id)
        return found + await payments.check(connection, at.scene.company_id)


@pytest.mark.parametrize("platform", ["wechat", "alipay"])
@pytest.mark.parametrize("agent", ["app", "plain"])
async def test_scanned_code_is_a_charge_after_three_taps_at_most_and_the_rest_goes_back(url, tmp_path, platform, agent):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(AGENTS[platform] if agent == "app" else PLAIN_AGENT)
        path = await phone.pay("C-ONE-3", "200", platform)
        assert "Waiting for the payment" in (await phone.browser.page(path)).text
        await phone.confirm(path)
        assert phone.taps <= (1 if agent == "app" else 3)
        await web.bench.platforms.tick()
        answer = await phone.browser.get(path)
        assert answer.status_code == 303
        charge = answer.headers["location"]
        number = _found(r"/charge/([\w-]+)", charge)
        await web.settle(number, 44)
        await web.all_over()
        assert "goes back by itself to where it came from" in (await phone.browser.page(charge)).text
        statement = (await phone.browser.page("/account/statement")).text
        assert "Back to where it came from" in statement
        sim = web.bench.platforms.wechat if platform == "wechat" else web.bench.platforms.alipay
        assert sum(sim.table.balance.values()) == 44
        assert await _problems(web.at) == []


async def test_person_whom_the_app_names_is_the_same_resident_each_time(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        for _ in range(2):
            phone = await web.phone(WECHAT_AGENT)
            path = await phone.pay("C-ONE-3")
            await phone.confirm(path)
            await web.bench.platforms.tick()
            number = (await phone.browser.get(path)).headers["location"].rpartition("/")[2]
            await web.settle(number, 44)
            await web.all_over()
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT count(DISTINCT resident_id) FROM payment") == 1
            assert await rows.value(connection, "SELECT count(*) FROM payment WHERE state = 'returned'") == 2


async def test_who_is_signed_in_pays_as_that_resident(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        resident = await web.at.resident(fen=0)
        for agent in (WECHAT_AGENT, PLAIN_AGENT):
            phone = await web.phone(agent, resident)
            path = await phone.top_up("1000")
            await phone.confirm(path)
            await web.bench.platforms.tick()
            assert (await phone.browser.get(path)).headers["location"] == "/account/statement"
        async with web.at.pool.connection() as connection:
            assert (await wallets.wallet(connection, web.at.scene.company_id, resident)).balance_fen == 2000
        assert (await phone.browser.send("/account/send-back")).status_code == 303
        web.bench.now += 61
        await web.all_over()
        assert web.bench.platforms.wechat.table.balance == {"1900000109": 0}
        again = await phone.browser.send("/account/send-back")
        assert again.status_code == 402
        assert await _problems(web.at) == []


async def test_another_way_closes_the_first_payment(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        first = await phone.pay("C-ONE-3", platform="wechat")
        second = await phone.pay("C-ONE-3", platform="alipay")
        assert first != second
        assert "This payment is closed" in (await phone.browser.page(first)).text
        [trade] = web.bench.platforms.wechat.table.trades.values()
        assert trade.state == "closed"
        await phone.confirm(second)
        await web.bench.platforms.tick()
        assert (await phone.browser.get(second)).status_code == 303


async def test_first_payment_that_was_made_after_all_wins(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        first = await phone.pay("C-ONE-3", platform="wechat")
        web.bench.platforms.wechat.notices.silent = True
        await phone.confirm(first)
        assert await phone.pay("C-ONE-3", platform="alipay") == first, "no second payment is offered"
        await web.all_over()
        assert "back where they came from" in (await phone.browser.page(first)).text
        assert await _problems(web.at) == []


async def test_cancelled_payment_leads_back_to_the_outlet(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        path = await phone.pay("C-ONE-3")
        assert (await phone.browser.send(f"{path}/cancel")).headers["location"] == "/s/C-ONE-3"


async def test_outlet_that_was_taken_meanwhile_gives_the_money_back_and_says_so(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phones = [await web.phone(agent) for agent in (WECHAT_AGENT, PLAIN_AGENT)]
        paths = [await phone.pay("C-ONE-3") for phone in phones]
        for phone, path in zip(phones, paths, strict=True):
            await phone.confirm(path)
        await web.bench.platforms.tick()
        answers = [await phone.browser.get(path) for phone, path in zip(phones, paths, strict=True)]
        assert sorted(answer.status_code for answer in answers) == [200, 303]
        [shown] = [Page(answer.text).text for answer in answers if answer.status_code == 200]
        assert "No charge could start" in shown
        assert "2.00" in shown
        await web.all_over()
        assert await _problems(web.at) == []


async def test_payment_is_shown_to_its_resident_only(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone, other = await web.phone(PLAIN_AGENT), await web.phone(PLAIN_AGENT, await web.at.resident())
        path = await phone.pay("C-ONE-3")
        assert (await other.browser.get(path)).status_code == 404
        assert (await other.browser.send(f"{path}/cancel")).status_code == 404
        assert (await (await web.at.browser()).get(path)).headers["location"].startswith("/sign-in")
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT state FROM payment") == "offered"


async def test_name_from_the_app_is_taken_in_the_browser_that_asked_only(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone, other = await web.phone(WECHAT_AGENT), await web.phone(WECHAT_AGENT)
        page = await phone.browser.get("/s/C-ONE-3")
        key = _found(r'/pay">.*?name="request_key" value="([^"]+)"', page.text)
        answer = await phone.browser.send("/s/C-ONE-3/pay", amount="200", request_key=key)
        state = _found(r"state=(\w+)", answer.text)
        path = f"/pay/payer/wechat?code=x&state={state}"
        assert (await other.browser.get(path)).status_code == 400
        assert (await phone.browser.get("/pay/payer/wechat?code=x&state=y")).status_code == 400
        assert (await phone.browser.get(path)).status_code == 400, "the platform does not know the code"
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT count(*) FROM payment") == 0


@pytest.mark.parametrize("amount", ["", "0", "-200", "150", "200.0", "9" * 30, "\u0662\u0660\u0660"])
async def test_amounts_that_no_button_has_are_refused(url, tmp_path, amount):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT, await web.at.resident())
        for action in ("/s/C-ONE-3/pay", "/account/top-up"):
            answer = await phone.browser.send(action, amount=amount, request_key="k" * 20, platform="wechat")
            assert answer.status_code == 400, action
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT count(*) FROM payment") == 0


async def test_company_without_accounts_offers_no_payment(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        assert 'action="/s/C-OTHER-1/pay"' not in (await phone.browser.get("/s/C-OTHER-1")).text
        answer = await phone.browser.send("/s/C-OTHER-1/pay", amount="200", request_key="k" * 20)
        assert answer.status_code == 404


async def test_platform_that_is_away_takes_no_money_and_the_page_says_that_it_is_asked(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        web.bench.platforms.wechat.table.faults.extend(["error_before"] * 2)  # the certificates, and the offer
        path = await phone.pay("C-ONE-3")
        assert "we are asking it" in (await phone.browser.page(path)).text


# --- notifications ---------------------------------------------------------------------------------------------------


async def test_wrong_notifications_are_refused_without_a_statement_of_the_database(url, tmp_path, monkeypatch):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(PLAIN_AGENT)
        path = await phone.pay("C-ONE-3")
        await phone.confirm(path)
        sim = web.bench.platforms.wechat
        [notice] = sim.notices.waiting
        headers, body = notice.make()
        address = notice.address.replace("http://127.0.0.1:8090", "")
        client = phone.browser.client
        monkeypatch.setattr(web.at.app.state.site.payments, "_pool", None)
        trade = next(iter(sim.table.trades.values()))
        probe_headers, probe_body = sim.probe(trade)
        for wrong_headers, wrong_body in (
            ({}, b""), (headers, body + b" "), ({**headers, "wechatpay-serial": "AFFE"}, body),
            ({**headers, "wechatpay-timestamp": "1"}, body), (probe_headers, probe_body), (headers, b"{" * 100),
        ):  # fmt: skip
            answer = await client.post(address, headers=wrong_headers, content=wrong_body)
            assert (answer.status_code, answer.json()["code"]) == (400, "FAIL")
        monkeypatch.undo()
        assert (await client.post(address, headers=headers, content=body)).status_code == 204
        assert (await client.post(address, headers=headers, content=body)).status_code == 204


@pytest.mark.parametrize("path", ["/pay/notify/wechat/999999", "/pay/notify/alipay/1", "/pay/notify/x/1"])
async def test_notification_to_an_address_that_no_account_has_is_refused(url, tmp_path, path):
    async with payment_web(url, tmp_path) as web:
        client = (await web.at.browser()).client
        answer = await client.post(path, content=b"x")
        assert answer.status_code in (200, 400)
        assert answer.content != b"success"


async def test_alipay_gets_exactly_its_word(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        phone = await web.phone(ALIPAY_AGENT)
        await phone.confirm(await phone.pay("C-ONE-3"))
        [notice] = web.bench.platforms.alipay.notices.waiting
        headers, body = notice.make()
        address = notice.address.replace("http://127.0.0.1:8090", "")
        answer = await phone.browser.client.post(address, headers=headers, content=body)
        assert (answer.status_code, answer.content) == (200, b"success")
        answer = await phone.browser.client.post(address, headers=headers, content=body + b"&a=b")
        assert (answer.status_code, answer.content) == (200, b"fail")
