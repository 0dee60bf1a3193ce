"""Promises of every page, in both languages and both themes: axe finds nothing, fingers hit, the elderly can read,
nothing is wider than the phone, and everything can be reached by keyboard.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from cabinet_testing.browser_visitors import PHONE, Visitor, Visitors
from cabinet_testing.page_examination import Problems, examined
from cabinet_testing.site_harness import CAREFUL, PASSWORD, SiteHarness, served_site
from cabinet_testing.site_map import NOWHERE, every_page


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteHarness]:
    with served_site(tmp_path_factory.mktemp("stage")) as site:
        yield site


@pytest.fixture(scope="module", params=["zh", "en"])
def problems(request: pytest.FixtureRequest, browser: Browser, site: SiteHarness, axe: str) -> Iterator[Problems]:
    """Return the problems of all pages in one language; each page is opened once."""
    visitors = Visitors(browser, site.url)
    visitor = visitors(request.param, PHONE)
    visitor.page.add_init_script(script=axe)
    visitor.expect_complaint(f"status of 404.*{NOWHERE}")
    found: Problems = {}
    for cookies, address in every_page(site):
        visitor.be(cookies)
        visitor.open(address)
        for promise, broken in examined(visitor).items():
            found.setdefault(promise, []).extend(f"{address}: {what}" for what in broken)
    to_second_step(visitor)
    for promise, broken in examined(visitor).items():
        found.setdefault(promise, []).extend(f"the second step of signing in: {what}" for what in broken)
    yield found
    visitors.leave()


def to_second_step(visitor: Visitor) -> None:
    """The one page that no address leads to."""
    visitor.be({})
    visitor.open("/property/sign-in")
    visitor.fill("property.name", CAREFUL)
    visitor.fill("property.password", PASSWORD)
    visitor.press("sign_in.button")
    visitor.sees("second_factor.or_recovery")


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


BROKEN_PAGE = """<!doctype html><html lang="en" class="large"><head><title>Broken</title>
    <meta name="viewport" content="width=device-width"><style>
    * { font-size: 12px } .small { width: 20px } .blind:focus { outline: none } .wide { width: 500px }
    </style></head><body><main><h1>Broken</h1><button class="small">x</button><a class="blind" href="/">Home</a>
    <button tabindex="-1">Nobody gets here</button><img src="data:,"><p class="wide">wide</p></main></body></html>"""


def test_what_is_measured_is_found_on_a_broken_page(browser: Browser, axe: str):
    visitors = Visitors(browser, "http://127.0.0.1")
    visitor = visitors()
    visitor.page.add_init_script(script=axe)
    visitor.page.goto("about:blank")
    visitor.page.set_content(BROKEN_PAGE)
    found = examined(visitor)
    visitors.leave()
    assert {promise for promise, broken in found.items() if broken} == set(found)
    assert any("image-alt" in violation for violation in found["axe"])
    assert any("shows no focus" in what for what in found["keyboard"])
    assert any("Nobody gets here" in what and "not reached" in what for what in found["keyboard"])
