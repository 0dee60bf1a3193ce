"""A resident's account: balance, past charges and money movements, in pages."""

from typing import Annotated, Any

from litestar import Router, get
from litestar.params import QueryParameter
from litestar.response import Response

from cabinet.web import auth
from cabinet.web.context import PageRequest, WebSite
from cabinet.web.pages import Pages

NEWEST_SHOWN = 5
CHARGES_A_PAGE = 20
LINES_A_PAGE = 30

Place = Annotated[int | None, QueryParameter(ge=1, le=2**53)]
"""Exclusive upper bound of the numbers of charges or movements on the page."""


@get("/account")
async def account_page(request: PageRequest) -> Response[Any]:
    """Show the balance, the last charges, and links to older entries."""
    site = WebSite.of(request)
    resident = await auth.resident(request)
    newest = await site.charges.history(resident.resident_id, None, NEWEST_SHOWN)
    return Pages.of(request).page(request, "account.html", resident=resident, page=newest)


@get("/account/charges")
async def charges_page(request: PageRequest, before: Place = None) -> Response[Any]:
    """Show all charges, newest first; `before` is the exclusive upper bound of their numbers."""
    site = WebSite.of(request)
    resident = await auth.resident(request)
    page = await site.charges.history(resident.resident_id, before, CHARGES_A_PAGE)
    return Pages.of(request).page(request, "account_charges.html", page=page, begins=before)


@get("/account/statement")
async def statement_page(request: PageRequest, before: Place = None) -> Response[Any]:
    """Show every movement of the resident's money with the balance after it, newest first."""
    site = WebSite.of(request)
    resident = await auth.resident(request)
    page = await site.charges.statement(resident.resident_id, before, LINES_A_PAGE)
    return Pages.of(request).page(request, "account_statement.html", resident=resident, page=page, begins=before)


router = Router(
    "/",
    route_handlers=[account_page, charges_page, statement_page],
    before_request=auth.check_form,
    include_in_schema=False,
)
