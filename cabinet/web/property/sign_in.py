"""Sign-in to the property's pages, and sign-out."""

from typing import Any

from litestar import get, post
from litestar.response import Redirect, Response

from cabinet.errors import Refused
from cabinet.service.ports import SecondStep
from cabinet.web import auth
from cabinet.web.context import PageRequest, PropertySite, address_of
from cabinet.web.errors import refused_values
from cabinet.web.pages import Pages
from cabinet.web.property.access import texts

MAX_FIELD = 128


@get("/property/sign-in")
async def sign_in_page(request: PageRequest) -> Response[Any]:
    return _page(request, company=str(request.query_params.get("company", ""))[:MAX_FIELD])


@post("/property/sign-in", status_code=303)
async def sign_in(request: PageRequest) -> Response[Any]:
    site, form = PropertySite.of(request), auth.form(request)
    name, password, company = form.get("name", "").strip(), form.get("password", ""), form.get("company", "").strip()
    try:
        if not name or not password or max(map(len, (name, password, company))) > MAX_FIELD:
            raise Refused("wrong_card_or_pin")
        signed_in = await site.accounts.sign_in_staff(name, password, address_of(request), company)
    except Refused as refusal:
        return _page(request, refusal, name[:MAX_FIELD], company[:MAX_FIELD])
    if isinstance(signed_in, SecondStep):
        return _code_page(request, signed_in.key)
    return _signed_in(site, signed_in)


@post("/property/sign-in/code", status_code=303)
async def sign_in_code(request: PageRequest) -> Response[Any]:
    """Do the second step, if the login has a second factor."""
    site, form = PropertySite.of(request), auth.form(request)
    key, code = form.get("key", ""), form.get("code", "").strip()
    try:
        if not code or max(len(key), len(code)) > MAX_FIELD:
            raise Refused("wrong_second_factor")
        token = await site.accounts.sign_in_staff_code(key, code, address_of(request))
    except Refused as refusal:
        if refusal.code == "wrong_second_factor" and len(key) <= MAX_FIELD:
            return _code_page(request, key, refusal)
        return _page(request, refusal)
    return _signed_in(site, token)


def _page(request: PageRequest, refusal: Refused | None = None, name: str = "", company: str = "") -> Response[Any]:
    values = refused_values(request, refusal)
    if refusal is not None and refusal.code == "wrong_card_or_pin":
        values["refused"] = texts(request)("property.wrong_login")
    return Pages.of(request).page(request, "property/sign_in.html", name=name, company=company, **values)


def _code_page(request: PageRequest, key: str, refusal: Refused | None = None) -> Response[Any]:
    return Pages.of(request).page(request, "property/sign_in_code.html", key=key, **refused_values(request, refusal))


def _signed_in(site: PropertySite, token: str) -> Redirect:
    return Redirect("/property", status_code=303, cookies=[auth.make_cookie(site, auth.STAFF_COOKIE, token)])


@post("/property/sign-out", status_code=303)
async def sign_out(request: PageRequest) -> Response[Any]:
    """Sign out in this browser, or with `everywhere=true` in all browsers."""
    site = PropertySite.of(request)
    token = auth.read_cookie(request, auth.STAFF_COOKIE)
    if token:
        await site.accounts.sign_out(token, auth.form(request).get("everywhere") == "true")
    gone = auth.make_cookie(site, auth.STAFF_COOKIE, "", 0)
    return Redirect("/property/sign-in", status_code=303, cookies=[gone])


HANDLERS = [sign_in_page, sign_in, sign_in_code, sign_out]
