"""What every handler works with, put into the application's state by `site.create_app`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from cabinet.config.keys import Config
from cabinet.service.ports import PropertyPort, ResidentPort
from cabinet.texts import LANGUAGES
from cabinet.web.sim_port import SimulatorPort

if TYPE_CHECKING:
    from cabinet.web.live import Streams
    from cabinet.web.pages import Pages

Visit = Request[Any, Any, State]
"""A request of somebody: who it is stands in cookies, see `auth`."""

Connection = ASGIConnection[Any, Any, Any, Any]

AT_END = "cabinet.at_end"
"""In a request's scope: an ExitStack that is closed when the request is over, answered or not."""

LANGUAGE_COOKIE = "language"
SIZE_COOKIE = "size"


class Site(NamedTuple):
    resident: ResidentPort
    property_: PropertyPort
    config: Config
    pages: Pages
    streams: Streams
    simulator: SimulatorPort | None = None  # only where the hardware is simulated

    @classmethod
    def of(cls, connection: Connection) -> Site:
        return cast(Site, connection.app.state.site)

    @property
    def secure(self) -> bool:
        """Whether residents reach the site by https, so that cookies must never travel without it."""
        return self.config.site.public_url.startswith("https://")


def at_end(connection: Connection, callback: Callable[[], None]) -> None:
    """Have `callback` called when the request is over, also if its answer is never begun."""
    stack = connection.scope[AT_END]  # type: ignore[literal-required]
    stack.callback(callback)


def language_of(connection: Connection) -> str:
    """The language chosen by a button, else the browser's first that we have, else Chinese."""
    chosen = connection.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for name in _accepted(connection.headers.get("accept-language", "")):
        if name in LANGUAGES:
            return name
    return LANGUAGES[0]


def large_text(connection: Connection) -> bool:
    return connection.cookies.get(SIZE_COOKIE) == "large"


def _accepted(header: str) -> list[str]:
    """Primary language tags of an Accept-Language header, best first; parts that make no sense are left out."""
    weighted: list[tuple[float, str]] = []
    for part in header[:200].split(","):
        tag, _, weight = part.partition(";q=")
        try:
            weighted.append((float(weight or 1), tag.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighted, key=lambda entry: -entry[0]) if weight > 0]
