"""Shared context of all handlers; `site.create_app` puts it into the application's state."""

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Self, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.params import PathParameter

from cabinet.config.keys import Config
from cabinet.records import Task
from cabinet.service.ports import (
    AccountsPort,
    ChargesPort,
    OverviewPort,
    ResidentAccountsPort,
    StaffAccountsPort,
)
from cabinet.service.property_ports import PropertyPort, SharedPropertyPort
from cabinet.texts import LANGUAGES
from cabinet.web.address import source_of
from cabinet.web.sim_port import SimulatorPort
from cabinet.web.source_log import SourceLog

PageRequest = Request[Any, Any, State]
"""HTTP request; its cookies identify the person, see `auth`."""

Connection = ASGIConnection[Any, Any, Any, Any]

RowNumber = Annotated[int, PathParameter(ge=0, le=2**53)]
"""Row number in an address; a larger number does not fit into the database and matches no row."""

AT_END = "cabinet.at_end"
"""Key in a request's scope: an ExitStack that is closed at the end of the request, with or without an answer."""

LANGUAGE_COOKIE = "language"
SIZE_COOKIE = "size"


@dataclass(frozen=True, kw_only=True)
class WebSite:
    """Ports of residents' pages and the site's address, for every handler. `Pages.of` and `Streams.of` give the rest.

    The pages of residents need no more: a cabinet and a fleet are two implementations of these ports.
    """

    charges: ChargesPort
    accounts: ResidentAccountsPort
    log: SourceLog
    public_url: str
    timezone: str

    @classmethod
    def of(cls, connection: Connection) -> Self:
        return cast(Self, connection.app.state.site)

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Return the time zone of the site."""
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def secure(self) -> bool:
        """Return whether the site's public address is https; if so, cookies must never be sent without https."""
        return self.public_url.startswith("https://")


class NavigationEntry(NamedTuple):
    """Entry of the navigation of the property's pages; its title is the text `nav.<name>`."""

    name: str
    path: str
    task: Task


@dataclass(frozen=True, kw_only=True)
class PropertySite(WebSite):
    """Ports of the property's pages that a cabinet and a fleet share: sign-in, residents, staff and audit log."""

    accounts: StaffAccountsPort
    property_: SharedPropertyPort
    sections: tuple[NavigationEntry, ...]
    actions: tuple[str, ...]  # of the audit log


@dataclass(frozen=True, kw_only=True)
class CabinetSite(PropertySite):
    """The service's ports and the configuration, for the pages and programs of one cabinet's property."""

    accounts: AccountsPort
    overview: OverviewPort
    property_: PropertyPort
    config: Config
    simulator: SimulatorPort | None = None  # only if the hardware is simulated


def address_of(connection: Connection) -> str:
    """Return the client's network address for rate limits; for IPv6 the network, as one subscriber gets a whole one."""
    return source_of(connection.client.host if connection.client else None)


def at_end(connection: Connection, callback: Callable[[], None]) -> None:
    """Register `callback` for the end of the request; it runs even if the answer never begins."""
    stack = connection.scope[AT_END]  # type: ignore[literal-required]
    stack.callback(callback)


def language_of(connection: Connection) -> str:
    """Return the language chosen by button, else the browser's first supported language, else Chinese."""
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
    """Return the primary language tags of an Accept-Language header, best first; invalid parts are skipped."""
    weighted: list[tuple[float, str]] = []
    for part in header[:200].split(","):
        tag, _, weight = part.partition(";q=")
        try:
            weighted.append((float(weight or 1), tag.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighted, key=lambda entry: -entry[0]) if weight > 0]
