"""Both adapters against the simulated platforms, which share no code with them: each call, each failure, each check."""

import ast
import datetime
import inspect
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

import fleet.sim.payments as simulators
from cabinet_testing.payment_bench import ADDRESS, CONSENTING, SUB, on_bench, paid
from fleet.money.payments.port import (
    NotificationRefused,
    PaymentReport,
    PlatformRefused,
    RateLimited,
    ResultUnknown,
)
from fleet.sim.payments.keys import fits

ACCOUNTS = ["wechat", "wechat_partner", "alipay", "alipay_isv"]
DAY = datetime.date(2025, 12, 1)


@pytest.fixture(params=ACCOUNTS)
def name(request):
    return request.param


def fields_of(form):
    return dict(parse_qsl(form.decode("latin-1"), keep_blank_values=True))


def test_simulators_import_nothing_of_the_adapters():
    folder = Path(inspect.getfile(simulators)).parent
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    ours = {name for name in found if name.split(".")[0] in ("fleet", "cabinet")}
    assert ours
    others = {name for name in ours if not name.startswith("fleet.sim.payments")}
    assert others <= {"cabinet.clock", "cabinet.system.sd_notify"}


# --- payments --------------------------------------------------------------------------------------------------------


def test_payment_is_offered_paid_and_reported_with_everything_that_is_to_be_checked(run, name):
    async def body(bench, account, sim, owner):
        assert (await account.query("P23456789")).state == "absent"
        await account.create(bench.request())
        assert (await account.query("P23456789")).state == "unpaid"
        bench.now += 5
        sim.pay(owner, "P23456789")
        report = await account.query("P23456789")
        assert report == PaymentReport(
            "P23456789", "paid", account.merchant, account.app, 200, "CNY", report.platform_number, "person-1",
            datetime.datetime.fromtimestamp(bench.now, datetime.UTC),
        )  # fmt: skip
        assert report.platform_number.isdigit()
        with pytest.raises(PlatformRefused):
            await account.create(bench.request())

    on_bench(run, name, body)


def test_money_of_a_service_provider_s_payment_is_the_company_s(run):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        assert sim.table.balance == {SUB if account is bench.wechat_partner else CONSENTING: 200}

    on_bench(run, "wechat_partner", body)
    on_bench(run, "alipay_isv", body)


def test_pay_sheet_in_wechat_is_signed_by_the_merchant(run):
    async def body(bench, account, sim, owner):
        offer = await account.create(bench.request())
        assert offer.link == ""
        sheet = offer.bridge
        assert sheet["package"].removeprefix("prepay_id=") in sim.prepared
        text = f"{sheet['appId']}\n{sheet['timeStamp']}\n{sheet['nonceStr']}\n{sheet['package']}\n"
        [merchant] = [each for each in sim.merchants.values() if each.merchant == owner]
        assert fits(merchant.certificate.key.public_pem, text, sheet["paySign"])
        assert (sheet["signType"], sheet["appId"]) == ("RSA", merchant.app)

    on_bench(run, "wechat", body)


def test_pay_sheet_in_alipay_names_the_trade(run):
    async def body(bench, account, sim, owner):
        offer = await account.create(bench.request())
        assert sim.number_of(offer.bridge["tradeNO"]) == (owner, "P23456789")

    on_bench(run, "alipay", body)


def test_link_for_any_browser_leads_to_the_platform_and_back(run, name):
    async def body(bench, account, sim, owner):
        offer = await account.create(bench.request(way="browser"))
        assert offer.bridge == {}
        assert offer.link.startswith(ADDRESS)
        shown = await bench.open_link(offer.link)
        assert "¥2.00" in shown.text
        assert (await account.query("P23456789")).state == "unpaid"

    on_bench(run, name, body)


def test_unpaid_payment_closes_and_a_paid_one_does_not(run, name):
    async def body(bench, account, sim, owner):
        await account.create(bench.request("P00000001"))
        assert await account.close("P00000001")
        assert (await account.query("P00000001")).state == "closed"
        await paid(bench, account, sim, "P00000002")
        assert not await account.close("P00000002")
        assert not await account.close("P00000003"), "the platform does not know it"
        await account.create(bench.request("P00000004"))
        bench.now += 901
        assert (await account.query("P00000004")).state == "closed", "its time is over"

    on_bench(run, name, body)


# --- failures of calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "state"),
    [("limit", RateLimited, "absent"), ("error_before", ResultUnknown, "absent"),
     ("error_after", ResultUnknown, "unpaid"), ("forged", ResultUnknown, "unpaid")],
)  # fmt: skip
def test_failed_call_says_whether_it_may_have_had_its_effect(run, name, fault, error, state):
    async def body(bench, account, sim, owner):
        await account.query("P23456789")  # the platform's keys are known
        sim.table.faults.append(fault)
        with pytest.raises(error):
            await account.create(bench.request())
        assert (await account.query("P23456789")).state == state
        await account.create(bench.request())

    on_bench(run, name, body)


def test_platform_that_is_away_gives_an_unknown_result(run, name):
    async def body(bench, account, sim, owner):
        await bench.http.close()
        bench.http.__init__()  # a real network, on which this name leads nowhere
        for call in (account.create(bench.request()), account.query("P23456789"), account.refund(bench.refund())):
            with pytest.raises(ResultUnknown):
                await call

    on_bench(run, name, body)


def test_wechat_answer_that_is_five_minutes_old_is_not_believed(run):
    async def body(bench, account, sim, owner):
        await account.create(bench.request())
        headers = sim._headers
        sim._headers = lambda name, body: headers(name, body, bench.now - 301)
        with pytest.raises(ResultUnknown):
            await account.query("P23456789")

    on_bench(run, "wechat", body)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_wechat_certificate_and_public_key_are_valid_at_once(run):
    async def body(bench, account, sim, owner):
        await account.create(bench.request())
        sim.pay(owner, "P23456789")
        sim.send_with = [sim.certificates[0].number, sim.public_name]
        trade = sim.table.find(owner, "P23456789")
        serials = set()
        for _ in range(4):
            headers, content = sim.notification(trade, "TRANSACTION.SUCCESS", "transaction", sim._trade(trade))
            serials.add(headers["wechatpay-serial"])
            assert (await account.parse_notification(headers, content, bench.now)).state == "paid"
        assert serials == {sim.certificates[0].number, sim.public_name}

    on_bench(run, "wechat", body)


def test_wechat_account_with_the_public_key_alone_fetches_no_certificate(run):
    async def body(bench, account, sim, owner):
        own = bench.wechat_account(**bench.platforms.accounts()["wechat"], certificates=False)
        sim.offered.clear()
        sim.offered.append(sim.certificates[0])
        await own.create(bench.request())
        sim.pay(owner, "P23456789")
        headers, content = sim.notices.waiting.pop().make()
        with pytest.raises(NotificationRefused, match="unknown key"):
            await own.parse_notification(headers, content, bench.now)
        sim.send_with = [sim.public_name]
        trade = sim.table.find(owner, "P23456789")
        headers, content = sim.notification(trade, "TRANSACTION.SUCCESS", "transaction", sim._trade(trade))
        assert (await own.parse_notification(headers, content, bench.now)).state == "paid"

    on_bench(run, "wechat", body)


def test_next_wechat_certificate_is_fetched_inside_a_notification_but_an_invented_one_not_again(run):
    async def body(bench, account, sim, owner):
        await account.create(bench.request())
        sim.pay(owner, "P23456789")
        sim.rotate()
        bench.now += 61
        headers, content = sim.notices.waiting.pop().make()
        assert headers["wechatpay-serial"] == sim.certificates[1].number
        assert (await account.parse_notification(headers, content, bench.now)).state == "paid"
        fetches = 0

        async def counted(*words):
            nonlocal fetches
            fetches += 1
            raise ResultUnknown("no_answer")

        bench.http.call = counted
        bench.now += 61
        headers, content = sim.notification(
            trade := sim.table.find(owner, "P23456789"), "TRANSACTION.SUCCESS", "transaction", sim._trade(trade)
        )
        for _ in range(5):
            with pytest.raises(NotificationRefused):
                await account.parse_notification({**headers, "wechatpay-serial": "AFFE"}, content, bench.now)
        assert fetches == 1
        assert (await account.parse_notification(headers, content, bench.now)).state == "paid"

    on_bench(run, "wechat", body)


def test_next_alipay_certificate_is_fetched_and_must_lead_to_the_root(run):
    async def body(bench, account, sim, owner):
        await account.create(bench.request())
        sim.rotate()
        bench.now += 61
        assert (await account.query("P23456789")).state == "unpaid"
        stranger = type(sim)(bench.clock, ADDRESS)  # another authority, with the same names
        sim.signers.append(stranger.signer)
        sim.authority = stranger.authority
        bench.now += 61
        with pytest.raises(ResultUnknown, match="certificate"):
            await account.query("P23456789")

    on_bench(run, "alipay", body)


# --- notifications ---------------------------------------------------------------------------------------------------


def test_notification_of_a_payment_reports_what_the_query_reports(run, name):
    async def body(bench, account, sim, owner):
        headers, content = await paid(bench, account, sim)
        assert await account.parse_notification(headers, content, bench.now) == await account.query("P23456789")

    on_bench(run, name, body)


def test_notification_with_one_flipped_byte_is_refused_wherever_it_is(run, name):
    async def body(bench, account, sim, owner):
        headers, content = await paid(bench, account, sim)
        await account.parse_notification(headers, content, bench.now)
        for place in range(0, len(content), 3):
            changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            if name.startswith("alipay") and fields_of(changed) == fields_of(content):
                continue  # the case of a letter in a %-escape of Alipay's form: the same contents
            with pytest.raises(NotificationRefused):
                await account.parse_notification(headers, changed, bench.now)
        for header in [each for each in headers if each.startswith("wechatpay")]:
            without = {each: value for each, value in headers.items() if each != header}
            with pytest.raises(NotificationRefused):
                await account.parse_notification(without, content, bench.now)

    on_bench(run, name, body)


@pytest.mark.parametrize("content", [b"", b"{}", b"a=1", b"\xff\xfe", b"[" * 5000, b"sign_type=RSA2&sign_type=RSA2"])
def test_nonsense_in_place_of_a_notification_is_refused(run, name, content):
    async def body(bench, account, sim, owner):
        for headers in ({}, {"wechatpay-timestamp": "\u0663", "wechatpay-serial": "x", "wechatpay-signature": "y"}):
            with pytest.raises(NotificationRefused):
                await account.parse_notification(headers, content, bench.now)

    on_bench(run, name, body)


@pytest.mark.parametrize(("off_s", "taken"), [(-301, False), (-299, True), (299, True), (301, False)])
def test_notification_is_taken_within_five_minutes_only(run, name, off_s, taken):
    async def body(bench, account, sim, owner):
        headers, content = await paid(bench, account, sim)
        if taken:
            await account.parse_notification(headers, content, bench.now - off_s)
        else:
            with pytest.raises(NotificationRefused, match="5 minutes"):
                await account.parse_notification(headers, content, bench.now - off_s)

    on_bench(run, name, body)


def test_probe_of_wechat_is_refused_and_known_as_one(run):
    async def body(bench, account, sim, owner):
        await paid(bench, account, sim)
        headers, content = sim.probe(sim.table.find(owner, "P23456789"))
        with pytest.raises(NotificationRefused) as refused:
            await account.parse_notification(headers, content, bench.now)
        assert refused.value.probe

    on_bench(run, "wechat", body)


def test_notification_for_another_account_is_refused_by_its_seal_or_names_the_other(run):
    async def body(bench, account, sim, owner):
        headers, content = await paid(bench, account, sim)
        other = bench.wechat if account is bench.wechat_partner else bench.alipay_isv
        try:
            report = await other.parse_notification(headers, content, bench.now)
        except NotificationRefused:
            return
        assert (report.merchant, report.app) == (account.merchant, account.app) != (other.merchant, other.app)

    on_bench(run, "wechat_partner", body)
    on_bench(run, "alipay", body)


def test_alipay_form_with_a_field_twice_is_refused(run):
    async def body(bench, account, sim, owner):
        headers, content = await paid(bench, account, sim)
        twice = content + b"&" + urlencode({"total_amount": "2.00"}).encode()
        with pytest.raises(NotificationRefused, match="twice"):
            await account.parse_notification(headers, twice, bench.now)

    on_bench(run, "alipay", body)
