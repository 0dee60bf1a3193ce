"""Examination of one page in the browser: axe, sizes, widths and the keyboard."""

from collections.abc import Callable
from typing import Any

from cabinet_testing.browser_visitors import PHONE, Visitor

MIN_TARGET_PX = 44
MIN_LARGE_TEXT_PX = 18
PHONE_WIDTHS_PX = (360, 320)
STOPS_A_CONTROL = 4  # at most, on the average: a date has one for each of its parts
COLOURS_ONLY = {"runOnly": ["color-contrast", "link-in-text-block"]}  # nothing else depends on the theme
RUN_AXE = """async (rules) => (await axe.run(document, { ...rules, resultTypes: ["violations"] })).violations
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).join("; ")}`)"""

Problems = dict[str, list[str]]
"""Promise → what breaks it, each with its page."""


def examined(visitor: Visitor) -> Problems:
    """Everything measured on the page that `visitor` looks at; axe is in it."""
    page = visitor.page
    measure: Callable[[str], Any] = lambda call: page.evaluate(f"measure.{call}")  # noqa: E731
    measure("settled()")
    measure("openEverything()")
    found = {"keyboard": walked_by_keyboard(visitor), "targets": measure(f"smallTargets({MIN_TARGET_PX})")}
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


def walked_by_keyboard(visitor: Visitor) -> list[str]:
    """Controls that Tab does not reach, or that do not show that they have the focus."""
    page = visitor.page
    controls = page.evaluate("measure.numberControls()")
    reached: set[int] = set()
    unseen: set[int] = set()
    steps = STOPS_A_CONTROL * len(controls)
    page.evaluate("measure.followFocus()")
    while steps > 0 and (missing := len(controls) - len(reached)):
        for _ in range(missing):
            page.keyboard.press("Tab")
        steps -= missing
        for focused in page.evaluate("measure.takeWalked()"):
            if focused["control"] is not None:
                reached.add(focused["control"])
                if not focused["visible"]:
                    unseen.add(focused["control"])
    groups = {controls[number]["group"] for number in reached} - {""}
    missed = [c["name"] for number, c in enumerate(controls) if number not in reached and c["group"] not in groups]
    return [f"{name} is not reached" for name in missed] + [
        f"{controls[number]['name']} shows no focus" for number in sorted(unseen)
    ]
