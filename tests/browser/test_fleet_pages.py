"""Promises of every page, for the pages of a fleet, on a phone of 360 pixels: as `test_every_page` for a cabinet."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from cabinet_testing import fleet_postgres
from cabinet_testing.browser_visitors import PHONE, Visitor, Visitors
from cabinet_testing.fleet_pages import FleetPages, served_fleet
from cabinet_testing.lacking import needs
from cabinet_testing.page_examination import Problems, examined

STRANGERS = ("/s/C-ONE-1", "/sign-in", "/property/sign-in")


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[FleetPages]:
    needs(fleet_postgres.missing())
    with served_fleet() as pages:
        yield pages


@pytest.fixture(scope="module", params=["zh", "en"])
def problems(request: pytest.FixtureRequest, browser: Browser, site: FleetPages, axe: str) -> Iterator[Problems]:
    """Return the problems of all pages in one language; each page is opened once."""
    visitors = Visitors(browser, site.url)
    visitor = visitors(request.param, PHONE)
    visitor.page.add_init_script(script=axe)
    found: Problems = {}

    def examine(name: str) -> None:
        for promise, broken in examined(visitor).items():
            found.setdefault(promise, []).extend(f"{name}: {what}" for what in broken)

    for cookies, addresses in (({"resident": site.resident, "staff": site.staff}, site.addresses), ({}, STRANGERS)):
        visitor.be(cookies)
        for address in addresses:
            visitor.open(address)
            examine(address)
    to_code(visitor, "1380013800" + ("1" if request.param == "zh" else "2"))
    examine("code by SMS")
    yield found
    visitors.leave()


def to_code(visitor: Visitor, phone: str) -> None:
    """The one page that no address leads to."""
    visitor.open("/s/C-ONE-1")
    visitor.fill("sign_in.phone", phone)
    visitor.press("sign_in.phone_button")
    visitor.sees("sign_in.code_title")


def test_axe_finds_nothing_in_either_theme(problems: Problems):
    assert problems["axe"] == []


def test_fingers_hit_every_target(problems: Problems):
    assert problems["targets"] == []


def test_large_text_is_large_everywhere(problems: Problems):
    assert problems["large text"] == []


def test_no_page_is_wider_than_the_phone(problems: Problems):
    assert problems["width"] == []


def test_keyboard_reaches_every_control_and_shows_where_it_is(problems: Problems):
    assert problems["keyboard"] == []
