"""Balance, past charges and movements of money, a page at a time."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.service.ports import WALLET_MOVES, WalletLine
from cabinet.texts import LANGUAGES, table
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send

Client = TestClient[Any]


def test_the_account_leads_to_all_charges_and_to_the_statement(resident: Client, service: FakeService) -> None:
    for number in range(7):
        service.session_views[f"s{number}"] = (1, fake_service.settled(f"s{number}"))
    shown = page(resident.get("/account"))
    assert [link["href"] for link in shown.all("a") if link["href"].startswith("/charge/")] == [
        "/charge/s6", "/charge/s5", "/charge/s4", "/charge/s3", "/charge/s2",
    ]  # fmt: skip
    assert shown.all("a", href="/account/charges")
    assert shown.all("a", href="/account/statement")


def test_charges_have_pages(resident: Client, service: FakeService) -> None:
    for number in range(25):
        service.session_views[f"s{number}"] = (1, fake_service.settled(f"s{number}"))
    first = page(resident.get("/account/charges"))
    assert first.all("a", href="/charge/s24")
    assert not first.all("a", href="/charge/s4")
    assert not first.all("a", href="/account/charges")
    older = next(link["href"] for link in first.all("a") if "before=" in link["href"])
    last = page(resident.get(older))
    assert last.all("a", href="/charge/s4")
    assert last.all("a", href="/account/charges")
    assert not [link for link in last.all("a") if "before=" in link["href"]]


def test_the_statement_says_what_came_and_went_and_what_was_left(resident: Client) -> None:
    shown = page(resident.get("/account/statement"))
    assert "充电后退回 +4.56 元 11月24日 14:00 余额 23.50 元" in shown.text
    assert "充电预付 −5.00 元" in shown.text
    assert "充值 +23.94 元" in shown.text
    assert len(shown.all("a", href="/charge/old1")) == 2


def test_the_statement_has_pages(resident: Client, service: FakeService) -> None:
    service.moves = [WalletLine(n, fake_service.STARTED, "top_up", n, n, None) for n in range(40, 0, -1)]
    first = page(resident.get("/account/statement"))
    older = next(link["href"] for link in first.all("a") if "before=" in link["href"])
    assert older == "/account/statement?before=11"
    assert "+0.10 元" in page(resident.get(older)).text


@pytest.mark.parametrize("path", ["/account/charges", "/account/statement"])
def test_history_is_for_who_is_signed_in(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?to=")


@pytest.mark.parametrize("before", ["x", "1.5", "9" * 30])
def test_a_page_that_does_not_exist_is_no_crash(resident: Client, before: str) -> None:
    assert resident.get("/account/statement", params={"before": before}).status_code in (200, 400)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_movement_has_a_name(language: str) -> None:
    assert {f"move.{kind}" for kind in (*WALLET_MOVES, "other")} <= set(table("web", language))


def test_who_has_lost_a_phone_signs_out_on_every_one(resident: Client, service: FakeService) -> None:
    assert page(resident.get("/account")).all("input", name="everywhere", value="true")
    send(resident, "/sign-out", everywhere="true")
    assert ("sign_out", "resident-1", True) in service.calls
