"""A guest signs in with a code from the property office, typed however it was read out."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.errors import Refused
from cabinet.service.ports import ResidentView
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]


@pytest.mark.parametrize("typed", ["4821730915", "4821 730 915", " 4821-730-915 ", "４８２１７３０９１５"])
def test_a_code_signs_in_and_goes_back_to_the_outlet(client: Client, service: FakeService, typed: str) -> None:
    answer = send(client, "/sign-in/guest", code=typed, to="/s/A7K2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/s/A7K2")
    assert service.calls == [("sign_in_guest", "4821730915", "testclient")]
    assert page(client.get("/s/A7K2")).all("form", action="/s/A7K2/start")


@pytest.mark.parametrize("typed", ["", "4821730916", "four", "4" * 200, "4821730915x"])
def test_a_wrong_code_comes_back_with_its_form_open_and_without_the_code(client: Client, typed: str) -> None:
    answer = send(client, "/sign-in/guest", code=typed, to="/s/A7K2")
    shown = page(answer)
    assert answer.status_code == 401
    assert "访客码不对、已经用过，或者已过期" in shown.text
    assert shown.all("details", open="")
    assert not typed or f'value="{typed}"' not in answer.text
    assert {field["value"] for field in shown.all("input", name="to")} == {"/s/A7K2"}


def test_guessing_says_how_long_to_wait(client: Client, service: FakeService) -> None:
    service.refusals["sign_in_guest"] = Refused("locked_out", retry_after_s=300)
    answer = send(client, "/sign-in/guest", code="4821730915")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "300")


def test_an_outlet_offers_both_ways_to_sign_in(client: Client) -> None:
    shown = page(client.get("/s/A7K2"))
    assert shown.all("form", action="/sign-in")
    assert shown.all("form", action="/sign-in/guest")
    assert not shown.all("details", open="")


def test_a_card_typed_in_full_width_is_the_same_card(client: Client) -> None:
    assert send(client, "/sign-in", card="１００１", pin="２４６８", to="/").status_code == 303


def test_a_guests_account_shows_no_card(resident: Client, service: FakeService) -> None:
    service.residents[1] = ResidentView(1, "guest-12ab34cd", 500, 0, guest=True)
    text = page(resident.get("/account")).text
    assert "访客。没用完的钱请到物业退。" in text
    assert "guest-12ab34cd" not in text
