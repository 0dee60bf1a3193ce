"""`make screenshots`: a picture of every page in both languages, as residents and the property company see them.

Residents' pages on a phone; the property company's on a desktop and on a phone; some also in the dark. They go to
build/screenshots/, and with --docs the few that the documents show go to docs/images/.
"""

import argparse
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from cabinet_testing.browser_visitors import DESKTOP, PHONE, Device, Visitor, Visitors, launched
from cabinet_testing.site_harness import SiteHarness, served_site
from cabinet_testing.site_map import every_page

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "screenshots"
DOCS = ROOT / "docs" / "images"
DAYS = 8  # so that there is a week to compare with
DARK = ("home", "charge", "property")
SHARP = {PHONE: 2, DESKTOP: 1}  # pixels of the picture to one of the page

# name of the picture in docs/images/ → the one of all that it is, as far as the window shows it
IN_THE_DOCS = {
    "scanned": "s-A7K2-signed-out.zh.phone.png",
    "charging": "charge-running.zh.phone.png",
    "property": "property.zh.desktop.png",
    "trip": "property-faults-1.zh.desktop.png",
}


class Shot(NamedTuple):
    """One picture: of a page, in a language, on a device."""

    name: str
    cookies: dict[str, str]
    address: str
    language: str
    device: Device
    dark: bool

    @property
    def file(self) -> str:
        kind = "phone" if self.device is PHONE else "desktop"
        return f"{self.name}.{self.language}.{kind}{'.dark' if self.dark else ''}.png"


def shots(site: SiteHarness) -> Iterator[Shot]:
    for cookies, address in every_page(site):
        name = name_of(address, site) + ("" if cookies else "-signed-out")
        devices = (DESKTOP, PHONE) if address.startswith("/property") else (PHONE,)
        for device in devices:
            yield from (Shot(name, cookies, address, language, device, False) for language in ("zh", "en"))
            if name.partition("-")[0] in DARK:
                yield Shot(name, cookies, address, "zh", device, True)


def name_of(address: str, site: SiteHarness) -> str:
    """The address as a file's name, with a word instead of a charge's number."""
    for name, session_id in site.sessions.items():
        address = address.replace(session_id, name)
    for word, with_ in (("waiting", site.plugless), ("done", site.import_key)):
        address = address.replace(with_, word)
    return re.sub(r"\W+", "-", address).strip("-") or "home"


class Studio:
    """One browser window for each language, device and theme."""

    def __init__(self, browser: Browser, site: SiteHarness) -> None:
        self._visitors = Visitors(browser, site.url)
        self._windows: dict[tuple[str, Device, bool], Visitor] = {}

    def take(self, shot: Shot, path: Path, whole: bool = True) -> Path:
        """Take a picture: of the page from top to bottom if `whole` is set, else of the window."""
        window = (shot.language, shot.device, shot.dark)
        if window not in self._windows:
            self._windows[window] = self._visitors(shot.language, shot.device, dark=shot.dark, sharp=SHARP[shot.device])
        visitor = self._windows[window]
        visitor.be(shot.cookies)
        visitor.open(shot.address)
        visitor.drawn()
        visitor.page.screenshot(path=path, full_page=whole)
        return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m cabinet_testing.screenshots", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="only pages with this in their name")
    parser.add_argument("--docs", action="store_true", help="also replace the pictures of the documents")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served_site(Path(folder), DAYS) as site, launched() as browser:
        studio = Studio(browser, site)
        for shot in shots(site):
            if re.search(args.pattern, shot.file):
                print(studio.take(shot, FOLDER / shot.file).relative_to(ROOT))
            for name, file in IN_THE_DOCS.items() if args.docs else ():
                if file == shot.file:
                    print(studio.take(shot, DOCS / f"{name}.png", whole=False).relative_to(ROOT))


if __name__ == "__main__":
    main()
