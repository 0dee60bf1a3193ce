"""The resident's way from the printed code to a started charge, without JavaScript."""

from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.model import EndReason, Fault
from cabinet.service.ports import BandPrice, PackagePrice, PeriodPrice, ResidentView, StartChoice
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]

KEY = "abcdefghijklmnopqrstuvwx"


def test_a_free_outlet_shows_state_price_and_the_sign_in_form(client: Client) -> None:
    answer = client.get("/s/A7K2")
    shown = page(answer)
    assert answer.status_code == 200
    assert "1 号插座" in shown.text
    assert "空闲" in shown.text
    assert "每小时约 0.32 元，充满自停" in shown.text
    assert "例如：150 瓦的充电器充 2 小时，大约 0.65 元。" in shown.text
    assert shown.all("form", action="/sign-in", method="post")
    assert not shown.all("form", action="/s/A7K2/start")


def test_everything_a_tariff_can_ask_is_posted_before_the_start(resident: Client, service: FakeService) -> None:
    service.price_view = msgspec.structs.replace(
        service.price_view,
        bands=[BandPrice(0, 200, 20), BandPrice(200, None, 35, package_percent=75)],
        periods=[PeriodPrice("00:00", "24:00", 5103, "workday"), PeriodPrice("00:00", "24:00", 4500, "holiday")],
        priced_kwh=100,
        service_fen=3050,
        day_cap_fen=800,
        time_step_s=1800,
        packages=[PackagePrice(14_400, 200)],
    )
    shown = page(resident.get("/s/A7K2")).text
    for words in (
        "00:00–24:00 工作日 0.5103 元/度", "00:00–24:00 节假日 0.45 元/度", "按电量服务费 0.305 元/度",
        "每人每天最多 8.00 元", "计时单位，不足也按一个算 30 分钟", "4 小时 2.00 元",
        "200 瓦以上：1 小时用去套餐 1 小时 20 分",
    ):  # fmt: skip
        assert words in shown
    assert "买套餐（没用完的退回）" in shown


def test_the_front_page_lists_every_outlet_with_its_state(client: Client) -> None:
    shown = page(client.get("/"))
    assert [found["href"] for found in shown.all("a") if found["href"].startswith("/s/")] == [
        "/s/A7K2", "/s/B3M9", "/s/C5T4", "/s/D8R6", "/s/E2W7", "/s/F9H3",
    ]  # fmt: skip
    for words in ("1 号插座 空闲", "2 号插座 使用中", "4 号插座 待维修", "5 号插座 无响应", "6 号插座 暂不可用"):
        assert words in shown.text


def test_the_code_may_be_typed_in_small_letters(client: Client) -> None:
    assert client.get("/s/a7k2").status_code == 200
    assert client.get("/", params={"code": " a7k2 "}).headers["location"] == "/s/A7K2"


def test_state_is_told_by_a_word_and_a_shape_of_its_own(client: Client) -> None:
    shapes = {}
    for code, word in {
        "A7K2": "空闲",
        "B3M9": "使用中",
        "D8R6": "待维修",
        "E2W7": "无响应",
        "F9H3": "暂不可用",
    }.items():
        answer = client.get(f"/s/{code}")
        assert word in page(answer).text
        shapes[code] = answer.text.split('class="big"')[1].split("</svg>")[0]
    assert len(set(shapes.values())) == 5


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("B3M9", "有人正在使用。请换一个空闲的插座。"),
        ("D8R6", "这个插座因故障停用，等待维修。请换一个插座。"),
        ("E2W7", "充电柜暂时没有响应，不能开始新的充电。请稍后再试。"),
    ],
)
def test_an_outlet_that_cannot_start_says_why_and_offers_no_start(resident: Client, code: str, sentence: str) -> None:
    shown = page(resident.get(f"/s/{code}"))
    assert sentence in shown.text
    assert not shown.all("form", action=f"/s/{code}/start")


def test_an_outlet_out_of_service_shows_what_staff_wrote(resident: Client, service: FakeService) -> None:
    service.outlet_views[1] = fake_service.outlet(
        1, "A7K2", condition="needs_service", refusal="out_of_service", note="插座松动 <b>"
    )
    shown = page(resident.get("/s/A7K2"))
    assert "维护人员说明：插座松动 <b>" in shown.text
    assert "这个插座暂停使用。请换一个插座。" in shown.text
    assert not shown.all("form", action="/s/A7K2/start")


def test_who_waits_for_an_outlet_sees_it_become_free(resident: Client, service: FakeService) -> None:
    waiting = page(resident.get("/s/B3M9"))
    address = next(found["sse-connect"] for found in waiting.all("div") if "sse-connect" in found)
    assert address == "/s/B3M9/live?shown=in_use.outlet_busy"
    service.outlet_views[2] = fake_service.outlet(2, "B3M9")
    stream = resident.get(address).text
    assert "event: body" in stream
    assert 'action="/s/B3M9/start"' in stream
    assert stream.rstrip().endswith("event: close\r\ndata:")


def test_a_page_with_a_form_to_fill_in_stays_as_it_is(resident: Client) -> None:
    html = resident.get("/s/A7K2").text
    assert "sse-connect" not in html
    assert "http-equiv" not in html


def test_sign_in_comes_back_to_the_outlet_and_is_remembered(client: Client, service: FakeService) -> None:
    answer = send(client, "/sign-in", card=" 1001 ", pin="2468", to="/s/A7K2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/s/A7K2")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("resident="))
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=15552000"} <= set(cookie.split("; "))
    assert service.calls == [("sign_in", "1001", "testclient")]
    shown = page(client.get("/s/A7K2"))
    assert "23.50 元" in shown.text
    assert len(shown.all("form", action="/s/A7K2/start")) == 3


def test_a_wrong_pin_keeps_the_card_and_says_the_same_as_an_unknown_card(client: Client) -> None:
    wrong_pin = send(client, "/sign-in", card="1001", pin="4711", to="/s/A7K2")
    no_such_card = send(client, "/sign-in", card="9999", pin="4711", to="/s/A7K2")
    assert (wrong_pin.status_code, no_such_card.status_code) == (401, 401)
    assert "卡号或密码不对" in page(wrong_pin).text
    assert wrong_pin.text.replace("1001", "9999") == no_such_card.text
    assert page(wrong_pin).all("input", name="card", value="1001")
    assert page(wrong_pin).all("input", name="to", value="/s/A7K2")
    assert "4711" not in wrong_pin.text


def test_locked_out_says_how_long_to_wait(client: Client, service: FakeService) -> None:
    service.refusals["sign_in"] = Refused("locked_out", retry_after_s=870)
    answer = send(client, "/sign-in", card="1001", pin="2468")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "870")
    assert "约 15 分钟后" in page(answer).text


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1", ""]
)
def test_sign_in_never_leads_to_another_site(client: Client, elsewhere: str) -> None:
    assert send(client, "/sign-in", card="1001", pin="2468", to=elsewhere).headers["location"] == "/"


def test_sign_out_ends_the_session_and_takes_the_cookie_away(resident: Client, service: FakeService) -> None:
    answer = send(resident, "/sign-out")
    assert answer.status_code == 303
    assert ("sign_out", "resident-1", False) in service.calls
    taken = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("resident="))
    assert {'resident=""', "Max-Age=0", "Path=/"} <= set(taken.split("; "))


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"kind": "full"}, StartChoice("full")),
        ({"kind": "hours", "number": "4"}, StartChoice("hours", seconds=7200)),
        ({"kind": "amount", "number": "3"}, StartChoice("amount", amount_fen=300)),
        ({"kind": "package", "number": "4"}, StartChoice("package", seconds=14_400)),
    ],
)
def test_start_goes_to_the_page_of_the_charge(
    resident: Client, service: FakeService, fields: dict[str, str], choice: StartChoice
) -> None:
    answer = send(resident, "/s/A7K2/start", request_key=KEY, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/charge/new1")
    assert service.calls == [("start", 1, "A7K2", choice)]


def test_the_same_request_key_again_goes_to_the_same_charge(resident: Client, service: FakeService) -> None:
    first = send(resident, "/s/A7K2/start", request_key=KEY, kind="full")
    second = send(resident, "/s/A7K2/start", request_key=KEY, kind="full")
    assert first.headers["location"] == second.headers["location"] == "/charge/new1"
    assert len(service.calls) == 1


def test_every_page_brings_a_request_key_of_its_own(resident: Client) -> None:
    keys = {page(resident.get("/s/A7K2")).all("input", name="request_key")[0]["value"] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "hours", "number": "3"},
        {"kind": "hours", "number": "-2"},
        {"kind": "hours", "number": "99999999"},
        {"kind": "hours", "number": "²"},
        {"kind": "hours"},
        {"kind": "amount", "number": "4"},
        {"kind": "package", "number": "0"},
        {"kind": "package", "number": "13"},
        {"kind": "package"},
        {"kind": "amount", "number": "1.5"},
        {"kind": "forever"},
        {},
    ],
)
def test_a_choice_that_is_not_offered_starts_nothing(
    resident: Client, service: FakeService, fields: dict[str, str]
) -> None:
    answer = send(resident, "/s/A7K2/start", request_key=KEY, **fields)
    assert answer.status_code == 400
    assert "所选的时间或金额不对" in page(answer).text
    assert service.calls == []


def test_start_without_a_request_key_starts_nothing(resident: Client, service: FakeService) -> None:
    assert send(resident, "/s/A7K2/start", kind="full").status_code == 400
    assert service.calls == []


def test_start_when_signed_out_leads_to_sign_in_and_starts_nothing(client: Client, service: FakeService) -> None:
    answer = send(client, "/s/A7K2/start", request_key=KEY, kind="full")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?to=")
    assert service.calls == []


def test_a_refused_start_comes_back_on_the_outlets_page_with_the_way_to_try_again(
    resident: Client, service: FakeService
) -> None:
    service.refusals["start"] = Refused("voltage_out_of_band")
    answer = send(resident, "/s/A7K2/start", request_key=KEY, kind="full")
    shown = page(answer)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "现在电压不正常" in shown.text
    assert len(shown.all("form", action="/s/A7K2/start")) == 3


def test_an_empty_card_is_told_before_the_start(resident: Client, service: FakeService) -> None:
    service.residents[1] = ResidentView(1, "1001", 99, 0)
    assert "余额不足" in page(resident.get("/s/A7K2")).text


def test_a_charge_that_runs_is_linked_from_every_outlet_and_the_front_page(
    resident: Client, service: FakeService
) -> None:
    service.session_views["s1"] = (1, fake_service.session("s1"))
    service.session_views["s2"] = (2, fake_service.session("s2"))
    for path in ("/", "/s/A7K2", "/s/B3M9"):
        shown = page(resident.get(path))
        assert shown.all("a", href="/charge/s1")
        assert not shown.all("a", href="/charge/s2")
        assert not shown.all("form", action="/s/A7K2/start")


def test_the_account_shows_balance_and_own_charges_only(resident: Client, service: FakeService) -> None:
    service.session_views["mine"] = (1, fake_service.settled("mine"))
    service.session_views["theirs"] = (2, fake_service.settled("theirs"))
    shown = page(resident.get("/account"))
    assert "23.50 元" in shown.text
    assert shown.all("a", href="/charge/mine")
    assert not shown.all("a", href="/charge/theirs")


def test_pages_of_a_resident_lead_to_sign_in_and_back(client: Client) -> None:
    answer = client.get("/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?to=%2Faccount")
    assert page(client.get(answer.headers["location"])).all("input", name="to", value="/account")


def test_an_unknown_code_says_what_to_do_and_lets_it_be_typed(client: Client) -> None:
    for path in ("/s/ZZZZ", "/s/" + "A" * 300, "/?code=../etc", "/s/%E4%B8%AD", "/s/%FF"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "请对照插座上的标签" in page(answer).text, path
        assert page(answer).all("input", name="code"), path


def test_an_unreachable_guard_is_told_on_the_pages(resident: Client, service: FakeService) -> None:
    service.session_views["s1"] = (1, fake_service.session("s1"))
    service.guard_answers = False
    for path in ("/", "/s/A7K2", "/account", "/charge/s1"):
        assert "充电柜暂时没有响应，正在重新连接" in page(resident.get(path)).text


def test_who_has_charged_before_sees_what_their_own_charger_costs(resident: Client, service: FakeService) -> None:
    service.session_views["old"] = (1, fake_service.settled("old"))  # 207.5 Wh in 83 minutes
    assert "按您上次的充电器（约 150 瓦）：充 2 小时，大约 0.75 元。" in page(resident.get("/s/A7K2")).text
    service.session_views["short"] = (1, fake_service.settled("short", charging_s=20))
    assert "约 150 瓦" in page(resident.get("/s/A7K2")).text


def test_a_remembered_resident_charges_with_one_tap_on_the_outlets_page(resident: Client) -> None:
    html = resident.get("/s/A7K2").text
    first_form = html.split('action="/s/A7K2/start"')[1].split("</form>")[0]
    assert 'value="full"' in first_form
    assert "<select" not in first_form
    assert html.index('action="/s/A7K2/start"') < html.index("<details")


def test_an_outlet_out_of_service_is_told_apart_from_the_own_charge_that_ended_there(
    resident: Client, service: FakeService
) -> None:
    text = page(resident.get("/s/D8R6")).text
    assert "待维修 短路" in text
    assert "您在这里的充电" not in text
    mine = fake_service.settled(
        "mine", EndReason.TRIPPED, fault=Fault.SHORT_CIRCUIT, outlet=4, code="D8R6", cost_fen=0, lines=[]
    )
    service.session_views["mine"] = (1, mine)
    shown = page(resident.get("/s/D8R6"))
    assert "您在这里的充电因故障中断了。" in shown.text
    assert "请拔下插头" in shown.text
    assert "这次没有收费。" in shown.text
    assert shown.all("a", href="/charge/mine")
    assert "您在这里的充电" not in page(resident.get("/s/A7K2")).text
