"""Sign-in by phone: codes, their limits, and the provider's signature."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from cabinet.errors import ConfigErrors
from cabinet_testing.fleet_web import PIN, FleetBrowser, FleetWeb, fleet_web
from cabinet_testing.html_page import Page
from fleet import config as configuration
from fleet.config import SmsSection
from fleet.store import logins, rows
from fleet.web.sms import HOST, AliyunSms, FileSms, SmsNotSent, canonical_query, provider_of, signed_headers

PHONE = "13800138000"


async def ask(browser: FleetBrowser, phone: str = PHONE, to: str = "/s/C-ONE-3") -> Page:
    return Page((await browser.send("/sign-in/phone", to=to, phone=phone)).text)


async def enter(browser: FleetBrowser, code: str, phone: str = PHONE, to: str = "/s/C-ONE-3") -> str:
    """Return where the sign-in leads, or the text of the page that refuses it."""
    answer = await browser.send("/sign-in/phone/code", to=to, phone=phone, code=code)
    return answer.headers.get("location") or Page(answer.text).text


async def age_codes(at: FleetWeb, seconds: int) -> None:
    async with at.pool.connection() as connection:
        shift = datetime.timedelta(seconds=seconds)
        await connection.execute("UPDATE sms_code SET sent = sent - %s, expires = expires - %s", (shift, shift))


async def test_a_phone_signs_in_with_the_code_that_was_sent_and_gets_an_account(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser()
        assert "获取短信验证码" in (await phone.page("/s/C-ONE-3")).text
        assert PHONE in (await ask(phone, "+86 138 0013 8000")).text
        [(number, code)] = at.sms.sent
        assert number == PHONE
        assert len(code) == 6
        assert code.isdigit()
        assert await enter(phone, f"{code[:3]} {code[3:]}") == "/s/C-ONE-3"
        assert "138****8000" in (await phone.page("/account")).text
        async with at.pool.connection() as connection:
            cursor = await connection.execute("SELECT company_id, phone FROM resident")
            assert await cursor.fetchall() == [(at.scene.company_id, PHONE)]
            cursor = await connection.execute("SELECT code_hash FROM sms_code")
            assert code not in str(await cursor.fetchall()), "only its hash is kept"


async def test_a_code_is_good_once_for_five_minutes_and_for_its_phone_and_company_only(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser()
        await ask(phone)
        code = at.sms.sent[-1][1]
        assert "验证码不对" in await enter(phone, code, to="/s/C-OTHER-1")
        assert "验证码不对" in await enter(phone, code, "13900139000")
        assert await enter(phone, code) == "/s/C-ONE-3"
        assert "验证码不对" in await enter(await at.browser(), code), "used up"
        await age_codes(at, 61)
        await ask(phone)
        await age_codes(at, 301)
        assert "验证码不对" in await enter(await at.browser(), at.sms.sent[-1][1]), "too old"


async def test_guessing_a_code_locks_the_phone(url: str) -> None:
    async with fleet_web(url) as at:
        phone = await at.browser()
        await ask(phone)
        code = at.sms.sent[-1][1]
        wrong = f"{(int(code) + 1) % 1_000_000:06}"
        for _ in range(5):
            await enter(phone, wrong)
        assert "分钟" in await enter(phone, code), "the right one does not help any more"


@pytest.mark.parametrize(
    "number", ["", "12345", "23800138000", "138001380001", "1380013800x", "00000000000", "<script>"]
)
async def test_what_is_no_mobile_number_gets_no_code(url: str, number: str) -> None:
    async with fleet_web(url) as at:
        page = await ask(await at.browser(), number)
        assert "手机号不对" in page.text
        assert at.sms.sent == []


async def test_codes_are_limited_by_phone_by_address_and_in_all(url: str) -> None:
    async with fleet_web(url, sms={"codes_per_phone_hour": 2, "codes_per_hour": 25}) as at:
        phone = await at.browser()
        await ask(phone)
        assert "分钟后" in (await ask(phone)).text, "one a minute"
        await age_codes(at, 61)
        await ask(phone)
        await age_codes(at, 61)
        assert "分钟后" in (await ask(phone)).text, "two an hour"
        assert len(at.sms.sent) == 2
        for last in range(18):
            await ask(phone, f"139001390{last:02}")
        assert len(at.sms.sent) == 20
        assert "分钟后" in (await ask(phone, "13700137000")).text, "twenty an hour of one address"
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE sms_code SET address = 'elsewhere'")
        for last in range(5):
            await ask(phone, f"136001360{last:02}")
        assert len(at.sms.sent) == 25
        assert "分钟后" in (await ask(phone, "13500135000")).text, "25 an hour in all"


async def test_a_message_that_was_not_sent_is_said(url: str) -> None:
    async with fleet_web(url) as at:
        at.sms.broken = True
        assert "短信没有发出" in (await ask(await at.browser())).text


async def test_without_an_outlets_code_the_company_is_not_known(url: str) -> None:
    async with fleet_web(url) as at:
        assert "请先扫描插座上的二维码" in (await ask(await at.browser(), to="/account")).text
        await at.resident()
        browser = await at.browser()
        answer = await browser.send("/sign-in", to="/account", card="10010000", pin=PIN)
        assert "请先扫描插座上的二维码" in answer.text


async def test_a_blocked_resident_does_not_sign_in(url: str) -> None:
    async with fleet_web(url) as at:
        await at.resident(phone=PHONE)
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE resident SET blocked = TRUE")
        phone = await at.browser()
        await ask(phone)
        assert "/s/" not in await enter(phone, at.sms.sent[-1][1])
        answer = await phone.send("/sign-in", to="/s/C-ONE-3", card="10010000", pin=PIN)
        assert answer.status_code == 403


async def test_guessing_a_pin_locks_the_card_also_for_the_right_one(url: str) -> None:
    async with fleet_web(url) as at:
        await at.resident()
        phone = await at.browser()
        for _ in range(5):
            answer = await phone.send("/sign-in", to="/s/C-ONE-3", card="10010000", pin="000001")
            assert answer.status_code == 401
        answer = await phone.send("/sign-in", to="/s/C-ONE-3", card="10010000", pin=PIN)
        assert answer.status_code == 429
        answer = await phone.send("/sign-in", to="/s/C-ONE-3", card="99999999", pin=PIN)
        assert answer.status_code == 401, "an unknown card is refused like a wrong PIN"


async def test_strangers_who_lock_a_card_do_not_lock_out_the_phone_that_has_signed_in_before(url: str) -> None:
    async with fleet_web(url) as at:
        await at.resident()
        known, stranger, other = [await at.browser(address=f"192.0.2.{last}") for last in range(3)]

        async def attempt(browser: FleetBrowser, pin: str) -> int:
            answer = await browser.send("/sign-in", to="/s/C-ONE-3", card="10010000", pin=pin)
            return answer.status_code

        assert await attempt(known, PIN) == 303
        assert [await attempt(stranger, "000001") for _ in range(6)] == [401] * 5 + [429]
        assert await attempt(other, PIN) == 429, "another address that is not known"
        assert await attempt(known, PIN) == 303
        assert [await attempt(known, "000001") for _ in range(6)] == [401] * 5 + [429], "it has a count of its own"
        async with at.pool.connection() as connection:
            kept = await rows.value(connection, "SELECT hash FROM known_address")
            assert re.fullmatch("[0-9a-f]{64}", kept), "no card and no address is kept"
            await connection.execute("UPDATE known_address SET used = now() - interval '181 days'")
            await logins.drop_old(connection)
            assert await rows.value(connection, "SELECT count(*) FROM known_address") == 0


# --- providers -------------------------------------------------------------------------------------------------------


def test_signature_matches_the_providers_published_example() -> None:
    """The example of "V3 request structure and signature" on the provider's site: RunInstances of ecs."""
    headers = signed_headers(
        "ecs.cn-shanghai.aliyuncs.com",
        "RunInstances",
        "2014-05-26",
        {"ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", "RegionId": "cn-shanghai"},
        "YourAccessKeyId",
        "YourAccessKeySecret",
        datetime.datetime(2023, 10, 26, 10, 22, 32, tzinfo=datetime.UTC),
        "3156853299f313e23d1673dc12e1703d",
    )
    assert headers["Authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        "x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_query_is_encoded_as_the_signature_needs_it() -> None:
    assert canonical_query({"b": "a b*~", "A": '{"code": "1"}'}) == "A=%7B%22code%22%3A%20%221%22%7D&b=a%20b%2A~"


SECTION = SmsSection(
    provider="aliyun", access_key_id="id", access_key_secret="x", sign_name="绿苑", template_code="SMS_1"
)


async def test_aliyun_sends_the_code_and_nothing_else() -> None:
    posted: list[tuple[str, Mapping[str, str]]] = []

    def post(address: str, headers: Mapping[str, str]) -> bytes:
        posted.append((address, headers))
        return b'{"Code": "OK", "Message": "OK", "BizId": "1"}'

    await AliyunSms(SECTION, "secret", post).send(PHONE, "123456")
    [(address, headers)] = posted
    assert address.startswith(f"https://{HOST}/?PhoneNumbers={PHONE}&SignName=%E7%BB%BF%E8%8B%91&TemplateCode=SMS_1&")
    assert address.endswith("&TemplateParam=%7B%22code%22%3A%20%22123456%22%7D")
    assert headers["x-acs-action"] == "SendSms"
    assert "secret" not in str(headers)


@pytest.mark.parametrize(
    "answer", [b'{"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "x"}', b"<html>", b"[]", b"", OSError()]
)
async def test_any_other_answer_means_that_nothing_was_sent(answer: bytes | OSError) -> None:
    def post(_address: str, _headers: Mapping[str, str]) -> bytes:
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(SmsNotSent):
        await AliyunSms(SECTION, "secret", post).send(PHONE, "123456")


async def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "sms.txt"
    sms = provider_of(SmsSection(provider="file", file=str(path)))
    assert isinstance(sms, FileSms)
    await sms.send(PHONE, "123456")
    await sms.send(PHONE, "654321")
    assert [line.split()[1:] for line in path.read_text().splitlines()] == [[PHONE, "123456"], [PHONE, "654321"]]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SmsNotSent):
        await FileSms(tmp_path / "none" / "sms.txt").send(PHONE, "1")


def test_aliyun_needs_all_its_keys() -> None:
    text = '[database]\nurl = "x"\n[web]\npublic_url = "https://x.example"\n[sms]\nprovider = "aliyun"\n'
    with pytest.raises(ConfigErrors) as caught:
        configuration.parse(text)
    assert {error.key_path for error in caught.value.errors} == {
        "sms.access_key_id", "sms.access_key_secret", "sms.sign_name", "sms.template_code"
    }  # fmt: skip


def test_without_a_provider_there_is_no_sign_in_by_phone() -> None:
    assert provider_of(msgspec.structs.replace(SECTION, provider="none")) is None
