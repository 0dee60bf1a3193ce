"""What holds on every page, in both languages and both themes: axe finds nothing, fingers hit, the elderly can read,
nothing is wider than the phone, and everything can be reached by keyboard.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.site_map import FREE, NOWHERE, Scene
from tests.browser.visitors import PHONE, Visitor, Visitors
from tests.e2e.processes import Cabinet

ROOT = Path(__file__).parents[2]
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"

LEAST_TARGET_PX = 44
LEAST_LARGE_TEXT_PX = 18
PHONE_WIDTHS_PX = (360, 320)

Problems = dict[str, list[str]]
"""Promise → what breaks it, each with its page."""


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        lacking = "axe-core is not there: python tools/bundle.py --force"
        if os.environ.get("CI"):
            pytest.fail(lacking)
        pytest.skip(lacking)
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scene(cabinet: Cabinet) -> Scene:
    return Scene(cabinet)


@pytest.fixture(scope="module", params=["zh", "en"])
def problems(request: pytest.FixtureRequest, browser: Any, scene: Scene, axe: str) -> Iterator[Problems]:
    """What is wrong on any page in one language; each page is opened once."""
    visitors = Visitors(browser, scene.cabinet.url)
    found: Problems = {}
    signed_in, stranger = (visitors(request.param, PHONE) for _ in range(2))
    signed_in.take_cookies(scene.client)
    for visitor, addresses in ((signed_in, scene.pages()), (stranger, ["/", f"/s/{FREE}"])):
        visitor.expect_complaint(f"status of 404.*{NOWHERE}")
        for address in addresses:
            visitor.open(address)
            for promise, broken in examined(visitor, axe).items():
                found.setdefault(promise, []).extend(f"{address}: {what}" for what in broken)
    yield found
    visitors.leave()


def examined(visitor: Visitor, axe: str) -> Problems:
    """Everything measured on the page that `visitor` looks at."""
    page = visitor.page
    measure: Callable[[str], Any] = lambda call: page.evaluate(f"measure.{call}")  # noqa: E731
    measure("openEverything()")
    found = {"keyboard": walked_by_keyboard(visitor), "targets": measure(f"smallTargets({LEAST_TARGET_PX})")}
    page.evaluate(axe)
    found["axe"] = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found["axe"] += [f"{theme}: {violation}" for violation in page.evaluate(RUN_AXE)]
    page.emulate_media(color_scheme="light")
    found["width"] = []
    for size in ("normal", "large"):
        page.evaluate("large => document.documentElement.classList.toggle('large', large)", size == "large")
        for width in PHONE_WIDTHS_PX:
            page.set_viewport_size({"width": width, "height": PHONE.height})
            found["width"] += [f"{size} text, {what}" for what in measure("overflow()")]
    found["large text"] = measure(f"smallText({LEAST_LARGE_TEXT_PX})")
    page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
    return found


RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map((violation) =>
    `${violation.id}: ${violation.help}: ${violation.nodes.map((node) => node.target.join(" ")).join("; ")}`)"""


def walked_by_keyboard(visitor: Visitor) -> list[str]:
    """Controls that Tab does not reach, or that do not show that they have the focus."""
    page = visitor.page
    controls = page.evaluate("measure.numberControls()")
    reached, unseen = set(), set()
    for _ in range(len(controls) + 5):
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
