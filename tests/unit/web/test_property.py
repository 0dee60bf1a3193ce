"""The property company's first page and its sign-in."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.model import EndReason, Fault
from cabinet.service.ports import AttackView
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]


def test_the_first_page_shows_every_outlet_todays_figures_and_sessions(staff: Client, service: FakeService) -> None:
    service.session_views["s1"] = (1, fake_service.settled("s1"))
    service.session_views["s2"] = (2, fake_service.settled("s2", EndReason.TRIPPED, fault=Fault.SHORT_CIRCUIT))
    shown = page(staff.get("/property"))
    assert len(shown.all("div", **{"class": "tile state-free"})) == 2
    for words in (
        "2 B3M9 使用中 98 瓦 · 24 ℃",
        "短路 电流峰值反复超过短路限值",
        "— · —",
        "充电次数 12 10 ▲ 多 20%",
        "电量 4.352 度 4.000 度 ▲ 多 9%",
        "电费 2.39 元 2.20 元",
        "服务费 3.91 元 3.80 元",
        "合计 6.30 元 6.00 元",
        "总功率 1250 瓦 / 上限 7000 瓦",
        "DEMO-1-20261124-s1 3 14:00 15:23 已充满 1 小时 23 分 0.207 度 0.44 元",
        "DEMO-1-20261124-s2 3 14:00 15:23 短路",
    ):
        assert words in shown.text


def test_a_reason_why_nothing_starts_stands_on_top(staff: Client, service: FakeService) -> None:
    service.hindrance = "storage_full"
    assert "充电柜的存储空间已满" in page(staff.get("/property")).text


def test_somebody_who_guesses_at_pins_stands_on_top_with_the_address(staff: Client, service: FakeService) -> None:
    assert "有人在试密码" not in page(staff.get("/property")).text
    service.attack_view = AttackView(3, "203.0.113.9")
    assert "锁定 3 次，最后一次来自 203.0.113.9" in page(staff.get("/property")).text
    english = page(staff.get("/property", headers={"accept-language": "en"})).text
    assert "3 locks within the last hour, the last for 203.0.113.9" in english


def test_slow_computer_stands_on_top_with_what_to_do(staff: Client, service: FakeService) -> None:
    service.problems = ["undervoltage", "bus_slow"]
    shown = page(staff.get("/property")).text
    assert "供电电压太低" in shown
    assert "传感器总线比配置的慢" in shown
    english = page(staff.get("/property", headers={"accept-language": "en"})).text
    assert "supply voltage is too low" in english


def test_tariff_file_with_a_mistake_stands_on_top_with_what_is_wrong(staff: Client, service: FakeService) -> None:
    assert "价格文件" not in page(staff.get("/property")).text
    service.wrong_tariffs = ["spring.toml: time_bands[2].from_w: gap: starts at 250 W"]
    shown = page(staff.get("/property")).text
    assert "有价格文件写错了，没有启用： spring.toml: time_bands[2].from_w: gap: starts at 250 W" in shown


@pytest.mark.parametrize("path", ["/property", "/property/live", "/property/usage.csv", "/property/usage.xlsx"])
def test_nothing_is_shown_before_sign_in(client: Client, path: str) -> None:
    client.cookies.set("resident", "resident-1")
    client.cookies.set("staff", "resident-1")
    answer = client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/property/sign-in")


def test_sign_in_leads_to_the_first_page_until_the_browser_is_closed(client: Client) -> None:
    answer = send(client, "/property/sign-in", name="manager", password="office-password")
    assert (answer.status_code, answer.headers["location"]) == (303, "/property")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("staff="))
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Max-Age" not in cookie
    assert client.get("/property").status_code == 200


def test_a_wrong_password_says_the_same_as_a_wrong_name(client: Client) -> None:
    wrong = send(client, "/property/sign-in", name="manager", password="guess")
    unknown = send(client, "/property/sign-in", name="nobody!", password="guess")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert "用户名或密码不对" in page(wrong).text
    assert wrong.text.replace("manager", "nobody!") == unknown.text


def test_locked_out_staff_are_told_when_to_come_back(client: Client, service: FakeService) -> None:
    service.refusals["sign_in_staff"] = Refused("locked_out", retry_after_s=60)
    answer = send(client, "/property/sign-in", name="manager", password="office-password")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


def test_sign_out_ends_it(staff: Client, service: FakeService) -> None:
    assert send(staff, "/property/sign-out").headers["location"] == "/property/sign-in"
    assert service.calls == [("sign_out", "staff-1", False)]


def test_sign_out_in_every_browser_ends_them_all(staff: Client, service: FakeService) -> None:
    assert send(staff, "/property/sign-out", everywhere="true").headers["location"] == "/property/sign-in"
    assert service.calls == [("sign_out", "staff-1", True)]
