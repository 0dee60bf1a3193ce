"""Sign-in of residents by phone: a form for the number, then one for the code that came by SMS."""

from typing import Any

from litestar import Router, post
from litestar.response import Redirect, Response

from cabinet.errors import Refused
from cabinet.web import auth
from cabinet.web.context import PageRequest, address_of
from cabinet.web.errors import refused_values
from cabinet.web.pages import Pages
from cabinet.web.resident import outlet_of_path, sign_in_page_of
from fleet.web.context import FleetSite

MAX_TYPED = 32


@post("/sign-in/phone", status_code=200)
async def send_code(request: PageRequest) -> Response[Any]:
    """Send a code and show the form for it; a number that cannot be used is refused on the sign-in page."""
    site, form = FleetSite.of(request), auth.form(request)
    to, phone = auth.safe_return_path(form.get("to", "")), form.get("phone", "")[:MAX_TYPED]
    try:
        phone = await site.residents.send_code(phone, address_of(request), outlet_of_path(to))
    except Refused as refusal:
        return sign_in_page_of(request, to, refusal)
    return _code_page(request, to, phone)


@post("/sign-in/phone/code", status_code=303)
async def sign_in_code(request: PageRequest) -> Response[Any]:
    """Sign in with the code; if it is wrong, show its form again."""
    site, form = FleetSite.of(request), auth.form(request)
    to, phone = auth.safe_return_path(form.get("to", "")), form.get("phone", "")[:MAX_TYPED]
    try:
        code = form.get("code", "")
        if len(code) > MAX_TYPED:
            raise Refused("wrong_code")
        token = await site.residents.sign_in_phone(phone, code, address_of(request), outlet_of_path(to))
    except Refused as refusal:
        if refusal.code in ("bad_phone", "no_outlet"):
            return sign_in_page_of(request, to, refusal)
        return _code_page(request, to, phone, refusal)
    remembered = auth.make_cookie(site, auth.RESIDENT_COOKIE, token, auth.REMEMBER_S)
    return Redirect(to, status_code=303, cookies=[remembered])


def _code_page(request: PageRequest, to: str, phone: str, refusal: Refused | None = None) -> Response[Any]:
    return Pages.of(request).page(request, "sign_in_phone.html", to=to, phone=phone, **refused_values(request, refusal))


router = Router("/", route_handlers=[send_code, sign_in_code], before_request=auth.check_form, include_in_schema=False)
