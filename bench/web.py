"""Size of a page on a weak network, and its response time, while ten outlets charge and ten people view live pages.

A first visit is by a browser with an empty cache; its size is every byte on the wire from the server, including
headers. Server time is from the request to the full answer over loopback, on an open connection.

    python -m bench.web [--requests 2000] [--report]
"""

import argparse
import statistics
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from bench.viewers import Viewers, charge_everywhere
from cabinet_testing.browser_visitors import PHONE, Visitors, launched
from cabinet_testing.real_cabinet import running
from cabinet_testing.site_harness import FREE, served_site
from campaigns.report import FOLDER
from campaigns.runner import commit, machine, percentile

WITHOUT_CHART_BAR_KB, WITH_CHART_BAR_KB, REQUESTS_BAR, P99_BAR_MS = 40, 100, 6, 50
WATCHING = 10
PAUSE_S = 0.01  # between two requests
OUTLETS = [
    (1, "A7K2"), (2, "B3M9"), (3, "C5T4"), (4, "D8R6"), (5, "E2W7"), (6, "F9H3"), (7, "G4N8"), (8, "H6P5"),
    (9, "J3X2"), (10, "K8V4"),
]  # fmt: skip


class Row(NamedTuple):
    """A measured figure with its limit."""

    what: str
    measured: str
    bar: str


class Wire:
    """Network traffic of a page, as counted by the browser."""

    def __init__(self, page: Page) -> None:
        self._bytes: dict[str, int] = {}
        self.requests: list[str] = []
        session = page.context.new_cdp_session(page)
        session.on(
            "Network.requestWillBeSent", lambda event: self.requests.append(urlsplit(event["request"]["url"]).path)
        )
        session.on("Network.responseReceived", lambda event: self._more(event, event["response"]["encodedDataLength"]))
        session.on("Network.dataReceived", lambda event: self._more(event, event["encodedDataLength"]))
        session.on("Network.loadingFinished", self._all)
        session.send("Network.enable")

    @property
    def kilobytes(self) -> float:
        return sum(self._bytes.values()) / 1000

    def _more(self, event: Any, count: int) -> None:
        self._bytes[event["requestId"]] = self._bytes.get(event["requestId"], 0) + count

    def _all(self, event: Any) -> None:
        self._bytes[event["requestId"]] = max(self._bytes.get(event["requestId"], 0), event["encodedDataLength"])


def first_visit(browser: Browser, url: str, path: str, cookies: dict[str, str], there: str) -> Wire:
    """Visit a page with a phone and an empty cache, until `there` is visible. Return the traffic."""
    visitors = Visitors(browser, url)
    visitor = visitors("zh", PHONE)
    visitor.be(cookies)
    wire = Wire(visitor.page)
    visitor.page.goto(path, wait_until="networkidle" if there == "main" else "load")
    visitor.page.locator(there).first.wait_for()
    visitors.leave()
    return wire


def weights(folder: Path) -> list[Row]:
    """Return the sizes of an outlet's page without sign-in, and of a charge's page with its curve."""
    with served_site(folder) as at, launched() as browser:
        plain = first_visit(browser, at.url, f"/s/{FREE}", {}, "main")
        charge = f"/charge/{at.sessions['running']}"
        charted = first_visit(browser, at.url, charge, {"resident": at.resident}, "[data-line] canvas")
    return [
        *_weighed("outlet's page, first visit", plain, WITHOUT_CHART_BAR_KB),
        *_weighed("charge's page with its chart, first visit", charted, WITH_CHART_BAR_KB),
    ]


def _weighed(what: str, wire: Wire, bar_kb: float) -> list[Row]:
    return [
        Row(what, f"{wire.kilobytes:.1f} kB", f"{bar_kb} kB"),
        Row("– its requests", f"{len(wire.requests)}", f"{REQUESTS_BAR}"),
    ]


def times_ms(url: str, path: str, cookies: dict[str, str], requests: int) -> list[float]:
    """Return the response time of each request, ascending."""
    at = urlsplit(url)
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Accept-Encoding": "gzip"}
    connection = HTTPConnection(at.hostname or "", at.port, timeout=30)
    never = threading.Event()
    took = []
    for _ in range(requests):
        started = time.monotonic()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        took.append(1000 * (time.monotonic() - started))
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        never.wait(PAUSE_S)
    connection.close()
    return sorted(took)


def _timed(what: str, took: list[float]) -> Row:
    figures = f"p50 {statistics.median(took):.1f}, p99 {percentile(took, 0.99):.1f}, worst {took[-1]:.1f} ms"
    return Row(f"{what} ({len(took)} requests)", figures, f"p99 {P99_BAR_MS} ms")


def times(folder: Path, requests: int) -> list[Row]:
    with running(folder) as cabinet:
        charges = charge_everywhere(cabinet, OUTLETS)
        url, mine = cabinet.url, charges[2]
        with Viewers(url, charges, WATCHING) as viewers:
            rows = [
                _timed("outlet's page, a stranger", times_ms(url, f"/s/{mine.code}", {}, requests)),
                _timed("outlet's page, signed in", times_ms(url, f"/s/{mine.code}", mine.cookies, requests)),
                _timed("charge's page", times_ms(url, mine.path, mine.cookies, requests)),
            ]
        if viewers.refused:
            raise RuntimeError(f"live pages were refused: {viewers.refused[:3]}")
        rows.append(Row("live events sent meanwhile", f"{viewers.events}, {viewers.bytes_ / 1e6:.1f} MB", ""))
        charging = sum(cabinet.phase(charge.outlet) == "charging" for charge in charges)
        rows.append(Row("outlets that charge at the end", f"{charging}", f"{len(OUTLETS)}"))
    return rows


def table(rows: list[Row]) -> str:
    lines = "".join(f"| {row.what} | {row.measured} | {row.bar} |\n" for row in rows)
    return (
        f"| with {WATCHING} live viewers while {len(OUTLETS)} outlets charge | measured | bar |\n|---|---|---|\n{lines}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--report", action="store_true", help="also write docs/reports/web.md")
    args = parser.parse_args()
    date = time.strftime("%Y-%m-%d")
    made = f"`python -m bench.web --requests {args.requests}`\n\n{machine()}, commit {commit()}, {date}\n"
    with tempfile.TemporaryDirectory() as folder:
        cabinet = Path(folder, "cabinet")
        cabinet.mkdir()
        rows = [*weights(Path(folder, "stage")), *times(cabinet, args.requests)]
    text = f"{made}\n{table(rows)}"
    print(text)
    if args.report:
        (FOLDER / "web.md").write_text(
            f"# What the pages weigh and how soon they are there\n\n{text}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
