"""Promises of every page, in both languages and both themes: axe finds nothing, fingers hit, the elderly can read,
nothing is wider than the phone, and everything can be reached by keyboard.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from cabinet_testing.browser_visitors import PHONE, Visitor, Visitors
from cabinet_testing.site_harness import CAREFUL, PASSWORD, SiteHarness, served_site
from cabinet_testing.site_map import NOWHERE, every_page

MIN_TARGET_PX = 44
MIN_LARGE_TEXT_PX = 18
PHONE_WIDTHS_PX = (360, 320)

Problems = dict[str, list[str]]
"""Promise → what breaks it, each with its page."""


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteHarness]:
    with served_site(tmp_path_factory.mktemp("stage")) as site:
        yield site


@pytest.fixture(scope="module", params=["zh", "en"])
def problems(request: pytest.FixtureRequest, browser: Browser, site: SiteHarness, axe: str) -> Iterator[Problems]:
    """Return the problems of all pages in one language; each page is opened once."""
    visitors = Visitors(browser, site.url)
    visitor = visitors(request.param, PHONE)
    visitor.expect_complaint(f"status of 404.*{NOWHERE}")
    found: Problems = {}
    for cookies, address in every_page(site):
        visitor.be(cookies)
        visitor.open(address)
        for promise, broken in examined(visitor, axe).items():
            found.setdefault(promise, []).extend(f"{address}: {what}" for what in broken)
    to_second_step(visitor)
    for promise, broken in examined(visitor, axe).items():
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


def examined(visitor: Visitor, axe: str) -> Problems:
    """Everything measured on the page that `visitor` looks at."""
    page = visitor.page
    measure: Callable[[str], Any] = lambda call: page.evaluate(f"measure.{call}")  # noqa: E731
    measure("settled()")
    measure("openEverything()")
    found = {"keyboard": walked_by_keyboard(visitor), "targets": measure(f"smallTargets({MIN_TARGET_PX})")}
    page.evaluate(axe)
    found["axe"] = [f"light: {violation}" for violation in page.evaluate(RUN_AXE, {})]
    page.emulate_media(color_scheme="dark")
    found["axe"] += [f"dark: {violation}" for violation in page.evaluate(RUN_AXE, COLOURS_ONLY)]
    page.emulate_media(color_scheme="light")
    found["width"] = []
    for size in ("normal", "large"):
        page.evaluate("large => document.documentElement.classList.toggle('large', large)", size == "large")
        for width in PHONE_WIDTHS_PX:
            page.set_viewport_size({"width": width, "height": PHONE.height})
            found["width"] += [f"{size} text, {what}" for what in measure("overflow()")]
    found["large text"] = measure(f"smallText({MIN_LARGE_TEXT_PX})")
    page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
    return found


STOPS_A_CONTROL = 4  # at most, on the average: a date has one for each of its parts
COLOURS_ONLY = {"runOnly": ["color-contrast", "link-in-text-block"]}  # nothing else depends on the theme
RUN_AXE = """async (rules) => (await axe.run(document, { ...rules, resultTypes: ["violations"] })).violations
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).join("; ")}`)"""


def walked_by_keyboard(visitor: Visitor) -> list[str]:
    """Controls that Tab does not reach, or that do not show that they have the focus."""
    page = visitor.page
    controls = page.evaluate("measure.numberControls()")
    reached, unseen = set(), set()
    for _ in range(STOPS_A_CONTROL * len(controls)):
        page.keyboard.press("Tab")
        focused = page.evaluate("measure.focused()")
        if focused["control"] is None:
            continue
        reached.add(focused["control"])
        if not focused["visible"]:
            unseen.add(focused["control"])
        if len(reached) == len(controls):
            break
    groups = {controls[number]["group"] for number in reached} - {""}
    missed = [c["name"] for number, c in enumerate(controls) if number not in reached and c["group"] not in groups]
    return [f"{name} is not reached" for name in missed] + [
        f"{controls[number]['name']} shows no focus" for number in sorted(unseen)
    ]


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
    visitor.page.set_content(BROKEN_PAGE)
    found = examined(visitor, axe)
    visitors.leave()
    assert {promise for promise, broken in found.items() if broken} == set(found)
    assert any("image-alt" in violation for violation in found["axe"])
    assert any("shows no focus" in what for what in found["keyboard"])
    assert any("Nobody gets here" in what and "not reached" in what for what in found["keyboard"])
