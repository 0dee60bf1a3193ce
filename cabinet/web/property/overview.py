"""Overview page: the outlets in the layout of the cabinet, live, with today's figures and sessions."""

from typing import Any

from litestar import get
from litestar.response import Response, Stream

from cabinet.web.context import CabinetSite, PageRequest, language_of
from cabinet.web.live import Parts, Streams
from cabinet.web.pages import Pages
from cabinet.web.period import site_today
from cabinet.web.property import charts
from cabinet.web.property.access import actor, property_pages, show

MAX_SESSIONS = 20


@get("/property")
async def overview_page(request: PageRequest) -> Response[Any]:
    who = await actor(request, "look")
    return show(request, who, "overview", "overview", **await _overview(request))


@get("/property/live")
async def live(request: PageRequest) -> Stream:
    """Send the overview's parts when they change: one event per outlet, to send little data."""
    site, pages, language = CabinetSite.of(request), Pages.of(request), language_of(request)
    await actor(request, "look")

    async def render() -> tuple[Parts, bool]:
        values = await _overview(request)
        parts = {
            f"outlet-{outlet.number}": pages.part(language, "property/outlet.html", outlet=outlet)
            for outlet in values["outlets"]
        }
        for name in ("notice", "now", "load", "sessions"):
            parts[name] = pages.part(language, f"property/{name}.html", **values)
        return parts, False

    return Streams.of(request).respond(request, site.overview.cabinet_changes(), render)


async def _overview(request: PageRequest) -> dict[str, Any]:
    site, figures = CabinetSite.of(request), property_pages(request).figures
    outlets = await site.overview.outlets()
    load = await figures.load(site_today(request))
    return {
        "outlets": outlets,
        "in_use": sum(outlet.condition == "in_use" for outlet in outlets),
        "today": await site.property_.figures.today(),
        "comparison": await figures.comparison(),
        "load": load,
        "load_chart": charts.load_chart(load, site.zone),
        "highest": max((each.peak_mw for each in load.samples), default=None),
        "sessions": await site.overview.todays_sessions(),
        "most_sessions": MAX_SESSIONS,
        "accepting": site.overview.accepting(),
        "guard_reachable": site.overview.guard_reachable(),
        "cabinet": site.overview.cabinet(),
        "attack": site.accounts.attack(),
        "computer_problems": site.overview.computer_problems(),
        "tariff_mistakes": site.property_.tariffs.mistakes(),
    }


HANDLERS = [overview_page, live]
