"""Forms that are sent again, and the oldest browsers that the scripts are bundled for."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cabinet_testing.browser_visitors import DESKTOP, PHONE, Visitors
from cabinet_testing.site_harness import SiteHarness, served_site

# What the oldest browsers of the bundle lack and a library or a page of ours might use; see unit/test_old_phones.py
AGE = """
for (const [owner, names] of [
  [Array.prototype, ["flat", "flatMap", "at", "findLast"]],
  [Object, ["fromEntries", "hasOwn", "groupBy"]],
  [String.prototype, ["replaceAll", "matchAll", "at", "trimStart", "trimEnd"]],
  [Promise, ["allSettled", "any", "withResolvers"]],
  [Element.prototype, ["replaceChildren", "toggleAttribute", "checkVisibility", "moveBefore"]],
  [Document.prototype, ["replaceChildren", "startViewTransition", "moveBefore"]],
  [DocumentFragment.prototype, ["replaceChildren", "moveBefore"]],
  [HTMLFormElement.prototype, ["requestSubmit"]],
  [window, ["queueMicrotask", "structuredClone", "ResizeObserver", "IntersectionObserver", "reportError"]],
]) for (const name of names) delete owner[name];
for (const name of ["addEventListener", "removeEventListener"]) {
  Object.defineProperty(MediaQueryList.prototype, name, { value: undefined, writable: true, configurable: true });
}
"""


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteHarness]:
    with served_site(tmp_path_factory.mktemp("stage")) as site:
        yield site


@pytest.fixture
def visitors(browser: Browser, site: SiteHarness) -> Iterator[Visitors]:
    visitors = Visitors(browser, site.url)
    yield visitors
    visitors.leave()


@pytest.mark.parametrize(
    "address", ["/property/figures", "/property/usage", "/property/residents", "/property/faults", "/property/audit",
                "/property/tariffs"],
)  # fmt: skip
def test_a_form_that_only_asks_may_be_sent_again_and_again(visitors: Visitors, site: SiteHarness, address: str) -> None:
    visitor = visitors("en", DESKTOP)
    visitor.be({"staff": site.staff})
    visitor.open(address)
    page = visitor.page
    page.evaluate("for (const closed of document.querySelectorAll('details')) closed.open = true")
    form = page.locator("form[method=get]").first
    button = form.locator("button").first
    for _ in range(3):  # the same question: where its address has a place in it, no page is loaded for it
        button.click()
        page.wait_for_load_state()
        page.evaluate("for (const closed of document.querySelectorAll('details')) closed.open = true")
    refused = page.evaluate(
        """() => { let refused = null;
        addEventListener("submit", (event) => { refused = event.defaultPrevented; event.preventDefault(); });
        document.querySelector("form[method=get] button").click(); return refused; }"""
    )
    assert refused is False


def test_a_form_that_does_something_is_sent_once_and_free_again_when_no_answer_comes(
    visitors: Visitors, site: SiteHarness
) -> None:
    visitor = visitors("en", DESKTOP)
    page = visitor.page
    page.clock.install()
    visitor.be({"staff": site.staff})
    visitor.open("/property/usage")
    refused = """() => { const refused = [];
        addEventListener("submit", (event) => { refused.push(event.defaultPrevented); event.preventDefault(); });
        window.send = () => {
            document.querySelector("form[action='/property/sign-out'] button").click();
            return refused[refused.length - 1]; }; }"""
    page.evaluate(refused)
    assert [page.evaluate("send()") for _ in range(3)] == [False, True, True]
    page.clock.run_for(11_000)
    assert page.evaluate("send()") is False


def test_the_curve_is_drawn_and_the_page_is_live_on_the_oldest_browsers_of_the_bundle(
    visitors: Visitors, site: SiteHarness
) -> None:
    visitor = visitors("en", PHONE)
    visitor.page.add_init_script(AGE)
    visitor.be({"resident": site.resident})
    visitor.open(f"/charge/{site.sessions['running']}")
    expect(visitor.page.locator("[data-line] canvas").first).to_be_visible()
    energy = visitor.page.locator("dl.figures")
    before = energy.inner_text()
    site.do(site.goes_on(600))
    expect(energy).not_to_have_text(re.compile(re.escape(before)))
