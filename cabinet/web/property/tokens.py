"""Tokens for programs that read the API. For operators."""

from typing import Any

from litestar import get, post
from litestar.response import Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.service.ports import SCOPES
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.property.access import actor, done, field, property_pages, show

DAYS_OFFERED = (30, 90, 365, 1830)


@get("/property/tokens")
async def tokens_page(request: PageRequest) -> Response[Any]:
    return await _page(request, await actor(request, "tokens"))


@post("/property/tokens")
async def add(request: PageRequest) -> Response[Any]:
    """Add a token. It is shown only in this answer."""
    who, form = await actor(request, "tokens"), auth.form(request)
    name, days = field(form, "name"), field(form, "days", 8)
    scopes = tuple(scope for scope in SCOPES if form.get(f"scope-{scope}") == "true")
    try:
        whole_days = normal_form.whole(days)
        if whole_days is None:
            raise Refused("bad_days")
        token = await property_pages(request).tokens.add(who, name, scopes, whole_days)
    except Refused as refusal:
        return await _page(request, who, name=name, refusal=refusal)
    return await _page(request, who, new_name=name, token=token)


@post("/property/tokens/revoke", status_code=303)
async def revoke(request: PageRequest) -> Response[Any]:
    who = await actor(request, "tokens")
    await property_pages(request).tokens.revoke(who, field(auth.form(request), "name"))
    return done("/property/tokens")


async def _page(request: PageRequest, who: Actor, refusal: Refused | None = None, **shown: str) -> Response[Any]:
    """Return the page; `shown` is the `name` typed, or `new_name` and `token`."""
    values = {
        "tokens": await property_pages(request).tokens.all(who),
        "scopes": SCOPES,
        "days_offered": DAYS_OFFERED,
        "name": "",
        "new_name": "",
        "token": "",
    }
    return show(request, who, "tokens", "tokens", refusal, **(values | shown))


HANDLERS = [tokens_page, add, revoke]
