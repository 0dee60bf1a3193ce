"""Residents: list, wallet, top-up with preview and undo, block, PIN, erase. Personal data is masked by default."""

import secrets
from typing import Any
from urllib.parse import urlencode

from litestar import get, post
from litestar.response import Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.web import auth
from cabinet.web.context import PageRequest, RowNumber
from cabinet.web.period import number
from cabinet.web.property.access import actor, done, field, shared_pages, show

RESIDENTS_A_PAGE = 30
MAX_FEN = 999_999


@get("/property/residents")
async def residents_page(request: PageRequest) -> Response[Any]:
    who, asked = await actor(request, "money"), field(request.query_params, "find", 40)
    after = number(field(request.query_params, "after", 12))
    rows = await shared_pages(request).residents.found(who, asked, after, RESIDENTS_A_PAGE + 1)
    more = len(rows) > RESIDENTS_A_PAGE
    rows = rows[:RESIDENTS_A_PAGE]
    query = urlencode({"find": asked, "after": rows[-1].resident_id}) if more else ""
    return show(
        request,
        who,
        "residents",
        "residents",
        rows=rows,
        asked=asked,
        next=f"/property/residents?{query}" if more else "",
    )


@get("/property/residents/{resident_id:int}")
async def resident_page(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    return await _page(request, await actor(request, "money"), resident_id)


@post("/property/residents/{resident_id:int}/reveal")
async def reveal(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    """Show the resident unmasked in this answer only; a reload masks the data again."""
    return await _page(request, await actor(request, "money"), resident_id, unmasked=True)


@post("/property/residents/{resident_id:int}/top-up")
async def top_up(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    """Show a preview of the top-up; with `confirmed`, do it."""
    who, form = await actor(request, "money"), auth.form(request)
    note = field(form, "note", 80)
    try:
        amount_fen = _fen_of_yuan(field(form, "amount", 12))
        if form.get("confirmed") != "true":
            page = await shared_pages(request).residents.page(who, resident_id)
            return show(
                request,
                who,
                "residents",
                "top_up",
                page=page,
                amount_fen=amount_fen,
                amount=field(form, "amount", 12),
                note=note,
                request_key=secrets.token_urlsafe(12),
            )
        await shared_pages(request).residents.top_up(who, resident_id, amount_fen, field(form, "request_key", 64), note)
    except Refused as refusal:
        if refusal.code != "bad_amount":
            raise
        return await _page(request, who, resident_id, amount=form.get("amount", "")[:12], refusal=refusal)
    return done(f"/property/residents/{resident_id}")


@post("/property/residents/{resident_id:int}/undo/{transaction:int}", status_code=303)
async def undo(request: PageRequest, resident_id: RowNumber, transaction: RowNumber) -> Response[Any]:
    who = await actor(request, "money")
    try:
        await shared_pages(request).residents.undo_top_up(who, resident_id, transaction)
    except Refused as refusal:
        if refusal.code != "cannot_undo":
            raise
        return await _page(request, who, resident_id, refusal=refusal)
    return done(f"/property/residents/{resident_id}")


@post("/property/residents/{resident_id:int}/block", status_code=303)
async def block(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    who = await actor(request, "money")
    await shared_pages(request).residents.set_blocked(who, resident_id, auth.form(request).get("blocked") == "true")
    return done(f"/property/residents/{resident_id}")


@post("/property/residents/{resident_id:int}/pin")
async def new_pin(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    """Set a new PIN. It is shown only in this answer."""
    who = await actor(request, "money")
    pin = await shared_pages(request).residents.new_pin(who, resident_id)
    return await _page(request, who, resident_id, pin=pin)


@post("/property/residents/{resident_id:int}/erase")
async def erase(request: PageRequest, resident_id: RowNumber) -> Response[Any]:
    """Explain the consequences of erasing; with `confirmed`, erase the resident."""
    who = await actor(request, "residents")
    if auth.form(request).get("confirmed") != "true":
        page = await shared_pages(request).residents.page(who, resident_id)
        return show(request, who, "residents", "erase", page=page)
    try:
        await shared_pages(request).residents.erase(who, resident_id)
    except Refused as refusal:
        if refusal.code not in ("charge_running", "money_left"):
            raise
        return await _page(request, who, resident_id, refusal=refusal)
    return done("/property/residents")


async def _page(
    request: PageRequest,
    who: Actor,
    resident_id: int,
    *,
    unmasked: bool = False,
    refusal: Refused | None = None,
    pin: str = "",
    amount: str = "",
) -> Response[Any]:
    page = await shared_pages(request).residents.page(who, resident_id, unmasked=unmasked)
    return show(request, who, "residents", "resident", refusal, page=page, pin=pin, amount=amount)


def _fen_of_yuan(text: str) -> int:
    """Return the amount in fen: 12.5 is 1250. Raises Refused `bad_amount` if it is nothing, too much, or has more than
    two decimals."""
    fen = normal_form.fen(text)
    if fen is None or not 1 <= fen <= MAX_FEN:
        raise Refused("bad_amount")
    return fen


HANDLERS = [residents_page, resident_page, reveal, top_up, undo, block, new_pin, erase]
