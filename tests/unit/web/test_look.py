"""Promises of the style sheet: contrast in both themes, reduced motion, print."""

import re
from importlib import resources

import pytest

CSS = (resources.files("cabinet.web") / "static" / "site.css").read_text(encoding="utf-8")
MIN_CONTRAST = 4.5  # WCAG 2.2 AA for text
MIN_OF_A_BORDER = 3.0

PAPERS = ("paper", "card")
TONES = ("free", "busy", "wait", "fault")


def tokens(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


LIGHT = tokens(CSS.split("@media screen")[0])
DARK = LIGHT | tokens(CSS.split("@media screen and (prefers-color-scheme: dark) {")[1].split("/* The page */")[0])
THEMES = [pytest.param(LIGHT, id="light"), pytest.param(DARK, id="dark")]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_stands_out_from_what_it_stands_on(theme: dict[str, str]) -> None:
    pairs = [(ink, paper) for ink in ("ink", "ink-soft", "accent", "fault", "busy") for paper in PAPERS]
    pairs += [(tone, f"{tone}-paper") for tone in TONES]
    pairs += [("ink", f"{tone}-paper") for tone in TONES]
    pairs += [("on-tone", tone) for tone in TONES]
    pairs += [("accent-ink", "accent")]
    weak = {pair: round(contrast(theme[pair[0]], theme[pair[1]]), 2) for pair in pairs}
    assert {pair: found for pair, found in weak.items() if found < MIN_CONTRAST} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_borders_of_fields_and_the_focus_can_be_seen(theme: dict[str, str]) -> None:
    pairs = [(line, paper) for line in ("line-strong", "busy") for paper in PAPERS]
    assert [pair for pair in pairs if contrast(theme[pair[0]], theme[pair[1]]) < MIN_OF_A_BORDER] == []


def test_both_themes_have_the_same_tokens() -> None:
    dark = tokens(CSS.split("@media screen and (prefers-color-scheme: dark) {")[1].split("/* The page */")[0])
    assert set(dark) == set(LIGHT)


def test_colours_are_tokens() -> None:
    rules = CSS.split("/* The page */")[1].split("@media print")[0]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rules) == []


def test_nothing_moves_for_who_asks_for_less_motion() -> None:
    moving = CSS.split("@media (prefers-reduced-motion: no-preference) {")[1].split("\n}\n")[0]
    assert CSS.count("animation:") == moving.count("animation:") == 1
    assert CSS.count("transition:") == moving.count("transition:") == 1
