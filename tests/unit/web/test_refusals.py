"""Every refusal there is, as a status, a sentence in both languages, and with nothing done."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.model import REFUSALS
from cabinet.texts import table
from cabinet.web.errors import RETRY_AFTER_S, STATUS_OF_REFUSAL
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]

KEY = "abcdefghijklmnopqrstuvwx"
ELSEWHERE = {"signed_out"}  # leads to the sign-in page instead of a sentence


def test_every_refusal_has_a_status() -> None:
    assert set(STATUS_OF_REFUSAL) == REFUSALS


def test_statuses_are_those_promised() -> None:
    promised = {
        "unknown_code": 404, "wrong_card_or_pin": 401, "locked_out": 429, "outlet_busy": 409, "fault_latched": 409,
        "fault_present": 409, "no_money": 402, "storage_full": 503, "guard_unreachable": 503,
        "too_many_requests": 429, "not_yours": 404, "unknown_session": 404, "bad_request": 400, "bad_choice": 400,
    }  # fmt: skip
    assert {code: STATUS_OF_REFUSAL[code] for code in promised} == promised


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("code", sorted(REFUSALS - ELSEWHERE))
def test_a_refused_start_is_a_sentence_with_its_status(
    resident: Client, service: FakeService, code: str, language: str
) -> None:
    resident.cookies.set("language", language)
    service.refusals["start"] = Refused(code)
    answer = send(resident, "/s/A7K2/start", request_key=KEY, kind="full")
    assert answer.status_code == STATUS_OF_REFUSAL[code]
    assert table("common", language)[f"refusal.{code}"] in page(answer).text
    assert ("retry-after" in answer.headers) == (answer.status_code in RETRY_AFTER_S)
    assert service.calls == []
    assert service.session_views == {}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("code", sorted(REFUSALS - ELSEWHERE))
def test_a_page_that_cannot_be_made_says_why(resident: Client, service: FakeService, code: str, language: str) -> None:
    resident.cookies.set("language", language)
    service.refusals["session"] = Refused(code)
    answer = resident.get("/charge/s1")
    assert answer.status_code == STATUS_OF_REFUSAL[code]
    assert table("common", language)[f"refusal.{code}"] in page(answer).text


def test_a_code_of_a_newer_guard_is_an_apology(resident: Client, service: FakeService) -> None:
    service.refusals["start"] = Refused("never_heard_of")
    answer = send(resident, "/s/A7K2/start", request_key=KEY, kind="full")
    assert answer.status_code == 500
    assert table("web", "zh")["error.500.text"] in page(answer).text


def test_a_refused_stop_stops_nothing(resident: Client, service: FakeService) -> None:
    running = (1, fake_service.session("s1"))
    service.session_views["s1"] = running
    service.refusals["stop"] = Refused("guard_unreachable")
    answer = send(resident, "/charge/s1/stop")
    assert answer.status_code == 503
    assert "充电柜暂时没有响应" in page(answer).text
    assert service.session_views["s1"] == running
    assert service.calls == []
