"""The property company's first page: ten outlets at a glance, today's figures and sessions, the log as a table."""

from typing import Any

from litestar import Router, get, post
from litestar.response import Redirect, Response, Stream

from cabinet.errors import Refused
from cabinet.service.ports import UsageFilter
from cabinet.web import auth, export
from cabinet.web.context import Site, Visit, language_of
from cabinet.web.errors import refusal_headers, refusal_text, status_of
from cabinet.web.live import Parts

LONGEST_FIELD = 128
RECORDS_A_READ = 500


@get("/property")
async def overview_page(request: Visit) -> Response[Any]:
    site = Site.of(request)
    name = await auth.staff(request)
    return site.pages.page(request, "property.html", staff=name, **await _overview(site))


@get("/property/live")
async def live(request: Visit) -> Stream:
    """The overview's parts, each time one of them changes: one event an outlet, so that little is sent."""
    site, language = Site.of(request), language_of(request)
    await auth.staff(request)

    async def render() -> tuple[Parts, bool]:
        values = await _overview(site)
        parts = {
            f"outlet-{outlet.number}": site.pages.part(language, "property/outlet.html", outlet=outlet)
            for outlet in values["outlets"]
        }
        for name in ("notice", "figures", "sessions"):
            parts[name] = site.pages.part(language, f"property/{name}.html", **values)
        return parts, False

    return site.streams.respond(site.property_.cabinet_changes(), render)


@get("/property/usage.csv")
async def usage_file(request: Visit) -> Stream:
    """The whole usage log for a spreadsheet, in the reader's language and the site's time."""
    site, language = Site.of(request), language_of(request)
    await auth.staff(request)
    return await export.respond(site, UsageFilter(), "csv", language)


@get("/property/sign-in")
async def sign_in_page(request: Visit) -> Response[Any]:
    return Site.of(request).pages.page(request, "property_sign_in.html", refused="", name="")


@post("/property/sign-in", status_code=303)
async def sign_in(request: Visit) -> Response[Any]:
    site, form = Site.of(request), auth.form(request)
    name, password = form.get("name", "").strip(), form.get("password", "")
    try:
        if not name or not password or max(len(name), len(password)) > LONGEST_FIELD:
            raise Refused("wrong_card_or_pin")
        token = await site.property_.sign_in_staff(name, password, auth.address_of(request))
    except Refused as refusal:
        wrong = refusal.code == "wrong_card_or_pin"
        t = site.pages.speech[language_of(request)].texts
        return site.pages.page(
            request,
            "property_sign_in.html",
            status=status_of(refusal),
            headers=refusal_headers(refusal),
            refused=t("property.wrong_login") if wrong else refusal_text(request, refusal),
            name=name[:LONGEST_FIELD],
        )
    return Redirect("/property", status_code=303, cookies=[auth.make_cookie(site, auth.STAFF_COOKIE, token)])


@post("/property/sign-out", status_code=303)
async def sign_out(request: Visit) -> Response[Any]:
    """With `everywhere=true` on every browser."""
    site = Site.of(request)
    token = auth.read_cookie(request, auth.STAFF_COOKIE)
    if token:
        await site.property_.sign_out_staff(token, auth.form(request).get("everywhere") == "true")
    gone = auth.make_cookie(site, auth.STAFF_COOKIE, "", 0)
    return Redirect("/property/sign-in", status_code=303, cookies=[gone])


async def _overview(site: Site) -> dict[str, Any]:
    return {
        "outlets": site.property_.outlets(),
        "today": await site.property_.today(),
        "sessions": await site.property_.todays_sessions(),
        "accepting": site.property_.accepting(),
        "guard_reachable": site.property_.guard_reachable(),
        "cabinet": site.property_.cabinet(),
        "tariff_mistakes": site.property_.tariff_mistakes(),
    }


router = Router(
    "/",
    route_handlers=[overview_page, live, usage_file, sign_in_page, sign_in, sign_out],
    before_request=auth.check_form,
    include_in_schema=False,
)
