"""The power queue on residents' pages: the offer, their place, and its end."""

from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.model import Fault
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]
FULL = "F9H3"  # where a start is refused for want of power


def test_want_of_power_offers_to_wait_and_says_that_it_costs_nothing(resident: Client) -> None:
    shown = page(resident.get(f"/s/{FULL}"))
    assert "现在充电的车太多，电不够用。" in shown.text
    assert "要排队吗？" in shown.text
    assert "排队期间不预付、不收费。" in shown.text
    assert shown.mistakes == []
    assert {field["value"] for field in shown.all("input", name="queue")} == {"true"}


def test_who_gets_in_line_sees_the_place_and_may_leave(resident: Client, service: FakeService) -> None:
    service.refusals["start"] = Refused("feed_full")
    sent = send(resident, f"/s/{FULL}/start", kind="full", queue="true", request_key="k" * 32)
    assert sent.status_code == 303
    shown = page(resident.get(sent.headers["location"]))
    assert service.calls[-1][0] == "join"
    assert "下一个就是您" in shown.text
    assert shown.mistakes == []
    assert not shown.all("form", action=f"/s/{FULL}/start")
    left = send(resident, f"/s/{FULL}/leave")
    assert left.status_code == 303
    assert service.calls[-1] == ("leave", 1)
    assert "下一个就是您" not in page(resident.get(f"/s/{FULL}")).text


def test_start_that_did_not_ask_for_the_line_is_refused(resident: Client, service: FakeService) -> None:
    service.refusals["start"] = Refused("feed_full")
    refused = send(resident, f"/s/{FULL}/start", kind="full", request_key="k" * 32)
    assert refused.status_code == 503
    assert [call for call in service.calls if call[0] == "join"] == []


def test_place_in_the_line_is_linked_from_the_first_page(resident: Client, service: FakeService) -> None:
    service.entries[1] = fake_service.waiting(service.outlet_of(FULL), 3)
    shown = page(resident.get("/"))
    assert "您排第 3 位" in page(resident.get(f"/s/{FULL}")).text
    assert shown.all("a", href=f"/s/{FULL}", **{"class": "card running"})


@pytest.mark.parametrize(
    ("outcome", "words"), [("expired", "等了 30 分钟还没有电"), ("no_money", "余额不足，不能开始充电。")]
)
def test_what_became_of_waiting_is_said_until_it_was_seen(
    resident: Client, service: FakeService, outcome: str, words: str
) -> None:
    service.entries[1] = fake_service.waiting(service.outlet_of(FULL), None, outcome)
    assert words in page(resident.get(f"/s/{FULL}")).text
    send(resident, f"/s/{FULL}/leave")
    assert words not in page(resident.get(f"/s/{FULL}")).text


def test_fault_of_the_whole_cabinet_stands_on_every_page(resident: Client, service: FakeService) -> None:
    service.whole = msgspec.structs.replace(service.whole, fault=Fault.SMOKE, latched=True, siren=True)
    for path in ("/", "/s/A7K2"):
        shown = page(resident.get(path))
        assert "充电柜检测到烟雾，已全部断电。" in shown.text
        assert shown.mistakes == []
