"""Every page that the application has, found by walking its routes, so that a new one cannot be forgotten.

A route with a placeholder is filled with everything of its kind that the site has. What answers with anything but
HTML (a stream, a table, a picture, the API) is no page.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
from litestar import Litestar
from litestar.routes import HTTPRoute

from cabinet.web.site import create_app
from cabinet_testing import site_harness
from cabinet_testing.fake_service import FakeService
from cabinet_testing.site_harness import SiteHarness

NOWHERE = "/nowhere"  # a path without a page

Visit = tuple[dict[str, str], str]
"""Cookies and the address that is opened with them."""


def every_page(on: SiteHarness) -> list[Visit]:
    """Return each page as a signed-in resident and member of staff sees it, then the pages that differ for others."""
    everything = {"resident": on.resident, "staff": on.staff}
    with httpx.Client(base_url=on.url, cookies=everything, timeout=30) as client:
        pages = [address for address in addresses(on) if _is_page(client, address)]
    return [
        *((everything, address) for address in [*pages, NOWHERE]),
        ({"resident": on.other}, f"/charge/{on.plugless}"),
        ({}, "/"),
        ({}, f"/s/{site_harness.FREE}"),
    ]


def addresses(on: SiteHarness) -> Iterator[str]:
    """Yield the address of every GET route, once per placeholder value."""
    fillings: dict[str, list[Any]] = {
        "code": [site_harness.FREE, site_harness.MINE, site_harness.OTHERS, site_harness.TRIPPED],
        "session_id": [on.sessions[name] for name in ("running", "stopped", "tripped")],
        "trip_number": [1],
        "outlet": [site_harness.OUTLETS[site_harness.TRIPPED]],
        "record_number": [1],
        "resident_id": on.resident_ids[:1],
        "key": [on.import_key],
    }
    service = FakeService()
    for route in routes(create_app(service, on.config)):
        names = re.findall(r"\{(\w+)", route)
        lacking = set(names) - set(fillings)
        assert not lacking, f"{route}: say in cabinet_testing/site_map.py what {', '.join(lacking)} may be"
        for values in itertools.product(*(fillings[name] for name in names)):
            filled = dict(zip(names, map(str, values), strict=True))
            yield re.sub(r"\{(\w+)[^}]*\}", functools.partial(_filling, filled), route)


def _filling(values: dict[str, str], found: re.Match[str]) -> str:
    return values[found[1]]


def _is_page(client: httpx.Client, address: str) -> bool:
    with client.stream("GET", address) as answer:
        assert answer.status_code == 200, f"{address}: {answer.status_code}"
        return bool(answer.headers.get("content-type", "").startswith("text/html"))


def routes(app: Litestar) -> list[str]:
    """Path of every GET route but files and the API's."""
    return [
        route.path
        for route in app.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods and not route.path.startswith(("/static/", "/api/"))
    ]
