"""List of a company's cabinets: searched, filtered, sorted and paged by the database."""

from typing import Any, cast, get_args
from urllib.parse import urlencode

from litestar import get
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.web.context import PageRequest
from cabinet.web.period import number
from cabinet.web.property.access import field, show
from fleet.orders import is_fresh
from fleet.store import cabinets, companies, pages
from fleet.store.cabinets import Condition, Sort
from fleet.web.context import FleetSite
from fleet.web.property.access import fleet_actor

CABINETS_A_PAGE = 50
MAX_PAGE = 400  # a search narrows a longer list


@get("/property")
async def cabinets_page(request: PageRequest) -> Response[Any]:
    """Show the cabinets that match the form, and the counts of all."""
    who, asked = await fleet_actor(request, "look"), request.query_params
    words = field(asked, "find", 64)
    site_id, wanted_page = number(field(asked, "site", 16)), number(field(asked, "page", 4))
    page = 1 if wanted_page is None else wanted_page
    condition, sort = field(asked, "condition", 16) or "all", field(asked, "sort", 16) or "site"
    if condition not in get_args(Condition) or sort not in get_args(Sort) or not 1 <= page <= MAX_PAGE:
        raise Refused("bad_request")
    async with FleetSite.of(request).pool.connection() as connection:
        found = await cabinets.listed(
            connection,
            who.company_id,
            who.groups,
            words=words,
            site_id=site_id,
            condition=cast(Condition, condition),
            sort=cast(Sort, sort),
            offset=(page - 1) * CABINETS_A_PAGE,
            limit=CABINETS_A_PAGE,
        )
        glance = await cabinets.glance(connection, who.company_id, who.groups)
        sites = await companies.sites(connection, who.company_id, who.groups)
        now = await pages.now(connection)
    last = max(1, -(-found.total // CABINETS_A_PAGE))
    fields = {"find": words, "site": str(site_id or ""), "condition": condition, "sort": sort}

    def link(**changes: str) -> str:
        return f"/property?{urlencode({**fields, **changes})}"

    return show(
        request,
        who,
        "cabinets",
        "cabinets",
        cabinets=found.cabinets,
        total=found.total,
        glance=glance,
        sites=sites,
        asked=fields,
        conditions=get_args(Condition),
        sorts=get_args(Sort),
        fresh=lambda row: is_fresh(row, now),
        link=link,
        page=page,
        before=link(page=str(page - 1)) if page > 1 else "",
        after=link(page=str(page + 1)) if page < min(last, MAX_PAGE) else "",
        last=last,
    )


HANDLERS = [cabinets_page]
