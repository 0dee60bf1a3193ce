"""People in front of a real browser: each has a profile of their own, and whatever its console complains of is kept."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from cabinet.texts import Texts
from tools import get_browser

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITHIN_MS = 60_000  # only keeps a broken page from hanging
LOOK_AGAIN_MS = 400  # without scripts
MEASURE = Path(__file__).with_name("measure.js")
expect.set_options(timeout=WITHIN_MS)

LOCALES = {"zh": "zh-CN", "en": "en-GB"}


class Device(NamedTuple):
    """Size of the window in CSS pixels, and whether it is touched."""

    width: int
    height: int
    touched: bool


PHONE = Device(360, 640, True)
DESKTOP = Device(1280, 800, False)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Debian's chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=get_browser.chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person: `page` is what they look at, `words` the catalogue of texts in their language."""

    def __init__(
        self, browser: Browser, url: str, language: str, device: Device, scripts: bool, dark: bool, sharp: int
    ) -> None:
        self.speak(language)
        self.scripts = scripts
        self._url = url
        self.complaints: list[str] = []
        self._expected: list[str] = []
        self._context = browser.new_context(
            base_url=url,
            locale=LOCALES[language],
            viewport={"width": device.width, "height": device.height},
            is_mobile=device.touched,
            has_touch=device.touched,
            java_script_enabled=scripts,
            color_scheme="dark" if dark else "light",
            device_scale_factor=sharp,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self._context.set_default_timeout(WITHIN_MS)
        self._context.on("console", self._heard)
        self._context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        self._context.add_init_script(path=MEASURE)
        self.page = self._context.new_page()

    def _heard(self, message: ConsoleMessage) -> None:
        """Count refusals of the content security policy as errors too."""
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def be(self, cookies: dict[str, str]) -> None:
        """Replace all cookies by these."""
        self._context.clear_cookies()
        self._context.add_cookies([{"name": name, "value": value, "url": self._url} for name, value in cookies.items()])

    def expect_complaint(self, pattern: str) -> None:
        """Expect an error that this test provokes, such as an answer that refuses."""
        self._expected.append(pattern)

    def unexpected(self) -> list[str]:
        return [
            complaint
            for complaint in self.complaints
            if not any(re.search(pattern, complaint) for pattern in self._expected)
        ]

    def leave(self) -> None:
        self._context.close()

    def speak(self, language: str) -> None:
        """Look for texts in this language from now on."""
        self.words = Texts("web", language, "property", "fleet")

    # --- Actions ----------------------------------------------------------------------------------------------------

    def open(self, path: str) -> None:
        self.page.goto(path)

    def drawn(self) -> None:
        """Wait for the curve if scripts draw one on the page."""
        if self.page.locator("[data-curve]:not([hidden])").count():
            expect(self.page.locator("[data-line] canvas").first).to_be_visible()

    def button(self, key: str, **values: object) -> Locator:
        """The button with the text of `key`."""
        return self.page.get_by_role("button", name=self.words(key, **values), exact=True)

    def link(self, key: str, **values: object) -> Locator:
        return self.page.get_by_role("link", name=self.words(key, **values), exact=True)

    def press(self, key: str, **values: object) -> None:
        """Press a button, by its text."""
        self.button(key, **values).first.click()

    def follow(self, key: str, **values: object) -> None:
        """Follow a link, by its text."""
        self.link(key, **values).first.click()

    def fill(self, key: str, value: str) -> None:
        """Fill the field labelled with the text of `key`."""
        self.page.get_by_label(self.words(key), exact=True).fill(value)

    def sees(self, key: str, **values: object) -> None:
        """Expect the text of `key` on the page, now or soon."""
        self.until(self.page.locator("main"), self.words(key, **values))

    def until(self, place: Locator, words: str | re.Pattern[str]) -> None:
        """Wait until `place` contains `words`; without scripts, reload the page."""
        if self.scripts:
            expect(place).to_contain_text(words)
            return
        for _ in range(WITHIN_MS // LOOK_AGAIN_MS):
            with contextlib.suppress(AssertionError):
                expect(place).to_contain_text(words, timeout=LOOK_AGAIN_MS)
                return
            self.page.reload()
        expect(place).to_contain_text(words, timeout=LOOK_AGAIN_MS)

    def sign_in(self, card: str, pin: str = "471108") -> None:
        """Sign in with the form on this page."""
        self.fill("sign_in.card", card)
        self.fill("sign_in.pin", pin)
        self.press("sign_in.button")

    def stop(self) -> None:
        """Stop the charge on this page; confirm the question."""
        self.page.locator("summary", has_text=self.words("charge.stop")).click()
        self.press("charge.stop_really")


class Visitors:
    """All visitors of one test."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._all: list[Visitor] = []

    def __call__(
        self,
        language: str = "zh",
        device: Device = PHONE,
        *,
        scripts: bool = True,
        dark: bool = False,
        sharp: int = 1,
    ) -> Visitor:
        """`sharp`: pixels of the screen to one of the page."""
        visitor = Visitor(self._browser, self._url, language, device, scripts, dark, sharp)
        self._all.append(visitor)
        return visitor

    def leave(self) -> None:
        """Raise AssertionError if a console reported an error that its test does not expect."""
        for visitor in self._all:
            visitor.leave()
        unexpected = [complaint for visitor in self._all for complaint in visitor.unexpected()]
        assert unexpected == []


def first_number(page: Page, selector: str) -> float:
    """Return the first number in the text of `selector`."""
    found = re.search(r"-?\d+(?:\.\d+)?", page.locator(selector).first.inner_text())
    assert found is not None, selector
    return float(found[0])
