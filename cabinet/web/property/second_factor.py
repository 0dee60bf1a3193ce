"""Second factor of the user's own login: a code from a phone in addition to the password."""

import io
from collections.abc import Sequence
from typing import Any

import segno
from litestar import get, post
from litestar.response import Response
from markupsafe import Markup

from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.property.access import actor, done, field, property_pages, show, texts

PATH = "/property/second-factor"


@get(PATH)
async def second_factor_page(request: PageRequest) -> Response[Any]:
    return await _page(request, await actor(request, "look"))


@post(f"{PATH}/begin", status_code=303)
async def begin(request: PageRequest) -> Response[Any]:
    await property_pages(request).second_factor.begin(await actor(request, "look"))
    return done(PATH)


@post(PATH)
async def confirm(request: PageRequest) -> Response[Any]:
    """Confirm the second factor. The recovery codes are shown only in this answer."""
    who = await actor(request, "look")
    try:
        codes = await property_pages(request).second_factor.confirm(who, field(auth.form(request), "code"))
    except Refused as refusal:
        return await _page(request, who, refusal)
    return await _page(request, who, codes=codes)


@post(f"{PATH}/off", status_code=303)
async def switch_off(request: PageRequest) -> Response[Any]:
    who = await actor(request, "look")
    try:
        await property_pages(request).second_factor.switch_off(who, field(auth.form(request), "proof"))
    except Refused as refusal:
        wrong = refusal.code == "wrong_second_factor"
        text = {"refused": texts(request)("second_factor.wrong_proof")} if wrong else {}
        return await _page(request, who, refusal, **text)
    return done(PATH)


async def _page(
    request: PageRequest, who: Actor, refusal: Refused | None = None, *, codes: Sequence[str] = (), **text: str
) -> Response[Any]:
    state = await property_pages(request).second_factor.state(who)
    return show(
        request,
        who,
        "second_factor",
        "second_factor",
        refusal,
        state=state,
        code=_qr(state.address) if state.address else "",
        codes=codes,
        **text,
    )


def _qr(address: str) -> Markup:
    """Return a QR code, black on white in both themes, because phones read that. It is own markup without style."""
    out = io.BytesIO()
    segno.make_qr(address, error="m").save(
        out, kind="svg", scale=5, border=4, light="#fff", xmldecl=False, svgclass=None, lineclass=None, omitsize=True
    )
    return Markup(out.getvalue().decode())


HANDLERS = [second_factor_page, begin, confirm, switch_off]
