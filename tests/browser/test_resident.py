"""The whole way of a resident in a real browser: scan, sign in, start, plug in, watch, stop, receipt, account.

In Chinese on a small phone and in English on a desktop, each with and without scripts.
"""

import itertools
import re

import pytest
from playwright.sync_api import expect

from cabinet_testing.browser_visitors import DESKTOP, PHONE, Visitor, Visitors, first_number
from cabinet_testing.real_cabinet import RealCabinet, wait_for

CASES = [
    pytest.param("zh", PHONE, True, id="Chinese, phone"),
    pytest.param("zh", PHONE, False, id="Chinese, phone without scripts"),
    pytest.param("en", DESKTOP, True, id="English, desktop"),
    pytest.param("en", DESKTOP, False, id="English, desktop without scripts"),
]
OUTLETS = itertools.cycle([(1, "A7K2"), (3, "C5T4"), (5, "E2W7"), (7, "G4N8"), (9, "J3X2")])
CARDS = itertools.count(30_000_001)


def plug_in_and_charge(visitor: Visitor, cabinet: RealCabinet, outlet: int) -> None:
    """Go from the page that asks for the plug to the one that shows a charge."""
    visitor.sees("charge.plug_in")
    cabinet.plug(outlet, "lead-acid-48v20ah", 0.3)
    visitor.sees("state.charging")


@pytest.mark.parametrize(("language", "device", "scripts"), CASES)
def test_resident_goes_from_the_scanned_code_to_the_receipt(
    visitors: Visitors, cabinet: RealCabinet, language, device, scripts
):
    card, (outlet, code) = str(next(CARDS)), next(OUTLETS)
    cabinet.resident(card)
    visitor = visitors(language, device, scripts=scripts)
    page = visitor.page

    visitor.open(f"/s/{code}")
    expect(page.locator("html")).to_have_attribute("lang", {"zh": "zh-Hans", "en": "en"}[language])
    visitor.sees("outlet.title", number=outlet)
    visitor.sees("condition.free")
    assert re.search({"zh": r"每小时约 0\.\d\d\s元", "en": r"About ¥?0\.\d\d"}[language], page.inner_text("main"))

    visitor.sign_in(card)
    expect(page).to_have_url(re.compile(f"/s/{code}$"))
    visitor.press("outlet.start_full")
    expect(page).to_have_url(re.compile(r"/charge/\w+$"))
    plug_in_and_charge(visitor, cabinet, outlet)

    power = page.locator("dl.figures").get_by_text(visitor.words("charge.power"), exact=True).locator("xpath=../dd")
    visitor.until(power, re.compile(r"1\d\d"))
    page.locator("summary.stop").click()
    visitor.press("charge.stop_really")
    visitor.sees("ended.stopped_by_resident")
    visitor.sees("receipt.title")
    wait_for(f"outlet {outlet} open", lambda: not cabinet.outlet(outlet).closed)
    paid_yuan = first_number(page, "table.bill tr.total td")
    assert paid_yuan > 0

    visitor.open("/account")
    assert first_number(page, ".balance strong") == pytest.approx(20 - paid_yuan)
    visitor.sees("account.last_charges")
    visitor.press("account.sign_out")
    visitor.sees("sign_in.title")


def test_language_and_size_of_text_are_kept_on_the_phone(visitors: Visitors):
    visitor = visitors("zh", PHONE)
    visitor.open("/")
    visitor.press("page.other_language_name")
    expect(visitor.page.locator("html")).to_have_attribute("lang", "en")
    visitor.speak("en")
    visitor.press("page.large_text")
    expect(visitor.page.locator("html")).to_have_class(re.compile("large"))
    visitor.open("/sign-in")
    expect(visitor.page.locator("html")).to_have_class(re.compile("large"))
    expect(visitor.page.locator("html")).to_have_attribute("lang", "en")


def test_short_while_it_charges_is_seen_at_once_and_nothing_more_is_charged(visitors: Visitors, cabinet: RealCabinet):
    card, (outlet, code) = str(next(CARDS)), next(OUTLETS)
    cabinet.resident(card)
    visitor = visitors("zh", PHONE)
    visitor.open(f"/s/{code}")
    visitor.sign_in(card)
    visitor.press("outlet.start_full")
    plug_in_and_charge(visitor, cabinet, outlet)
    looks = visitor.page.evaluate("performance.timeOrigin")

    cabinet.sim("fault", str(outlet), "short", "--amps", "60")
    visitor.sees("fault.short_circuit.resident")
    visitor.sees("ended.tripped")
    assert visitor.page.evaluate("performance.timeOrigin") == looks, "the page was loaded again"
    assert cabinet.outlet(outlet).latched

    other = visitors("zh", PHONE)
    other.open(f"/s/{code}")
    other.sees("condition.needs_service")
    expect(other.button("outlet.start_full")).to_have_count(0)
