"""Pages of residents: outlet and sign-in. The running charge is in `charging`, past charges are in `account`."""

import re
import secrets
from typing import Any

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Response, Stream

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.service.ports import OutletView, ResidentView, SessionView, StartChoice, WaitingView
from cabinet.texts import LANGUAGES
from cabinet.web import auth
from cabinet.web.context import LANGUAGE_COOKIE, SIZE_COOKIE, PageRequest, WebSite, address_of, language_of
from cabinet.web.errors import refused_values
from cabinet.web.live import Parts, Streams
from cabinet.web.pages import Pages

HALF_HOURS_OFFERED = (2, 4, 6, 8, 12, 16, 20)
YUAN_OFFERED = (1, 2, 3, 5, 10)
HALF_HOUR_S = 1800
FEN_PER_YUAN = 100

MIN_USUAL_S = 300  # minimum charging time for a usable mean power of a charger
USUAL_STEP_W = 5

MAX_CODE = 12
MAX_SECRET = 64

RECENT = 5  # charges searched for a running one, a tripped one and the usual power

_OUTLET_PATH = re.compile(r"/s/([A-Za-z0-9-]{1,64})")
_REQUEST_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")


def outlet_of_path(path: str) -> str:
    """Return the code of the outlet whose page has this path, or "" if it is another page."""
    match = _OUTLET_PATH.fullmatch(path)
    return normal_form.outlet_code(match[1]) if match else ""


@get("/")
async def home_page(request: PageRequest, code: FromQuery[str] = "") -> Response[Any]:
    """Show every outlet with its state and a field for an outlet's code; `?code=` is the code typed there."""
    if typed := normal_form.outlet_code(code):
        if not typed.isascii() or not typed.isalnum() or len(typed) > MAX_CODE:
            raise Refused("unknown_code")
        return Redirect(f"/s/{typed}", status_code=303)
    visitor = await auth.resident_if_any(request)
    return Pages.of(request).page(
        request,
        "home.html",
        visitor=visitor,
        outlets=await WebSite.of(request).charges.outlets(),
        running=_running(await _recent(request, visitor)),
        waiting=await _waiting(request, visitor),
    )


@get("/s/{code:str}")
async def outlet_page(request: PageRequest, code: FromPath[str]) -> Response[Any]:
    """Show the page that the printed code of an outlet opens."""
    return await outlet_page_of(request, code, await _visitor(request, code))


@get("/s/{code:str}/live")
async def outlet_live(request: PageRequest, code: FromPath[str], shown: FromQuery[str] = "") -> Stream:
    """Send the outlet's page again when its situation differs from `shown`, until a charge can start there.

    The stream ends when the start form can be used: a form is never replaced while a resident fills it in.
    """
    site, pages, language = WebSite.of(request), Pages.of(request), language_of(request)
    outlet = await site.charges.outlet(normal_form.outlet_code(code))
    situation = shown

    async def render() -> tuple[Parts, bool]:
        nonlocal situation
        values = await _outlet_values(request, code, await _visitor(request, code))
        if values["situation"] == situation:
            return {}, values["startable"]
        situation = values["situation"]
        return {"body": pages.part(language, "outlet_body.html", refused="", **values)}, values["startable"]

    return Streams.of(request).respond(request, site.charges.changes(outlet), render)


@post("/s/{code:str}/start", status_code=303)
async def start(request: PageRequest, code: FromPath[str]) -> Response[Any]:
    """Start a charge and redirect to its page. If it is refused, nothing is done and the outlet's page shows why.

    With `queue=true`, a start refused for lack of power joins the power queue, and the outlet's page shows that.
    """
    resident = await auth.resident(request, normal_form.outlet_code(code))
    form = auth.form(request)
    port = WebSite.of(request).charges
    try:
        key = form.get("request_key", "")
        if not _REQUEST_KEY.fullmatch(key):
            raise Refused("bad_request")
        choice = _choice(form)
        try:
            session = await port.start(resident.resident_id, normal_form.outlet_code(code), choice, key)
        except Refused as refusal:
            if refusal.code != "feed_full" or form.get("queue") != "true":
                raise
            entry = await port.queue.join(resident.resident_id, normal_form.outlet_code(code), choice)
            return Redirect(f"/s/{entry.code}", status_code=303)
    except Refused as refusal:
        if refusal.code in ("unknown_code", "signed_out"):
            raise
        return await outlet_page_of(request, code, resident, refusal)
    return Redirect(f"/charge/{session.session_id}", status_code=303)


@post("/s/{code:str}/leave", status_code=303)
async def leave(request: PageRequest, code: FromPath[str]) -> Response[Any]:
    """Leave the power queue; also dismiss the notice that waiting has ended without a charge."""
    resident = await auth.resident(request)
    port = WebSite.of(request).charges
    outlet = await port.outlet(normal_form.outlet_code(code))
    await port.queue.leave(resident.resident_id)
    return Redirect(f"/s/{outlet.code}", status_code=303)


@get("/sign-in")
async def sign_in_page(request: PageRequest, to: FromQuery[str] = "/account") -> Response[Any]:
    return sign_in_page_of(request, auth.safe_return_path(to))


@post("/sign-in", status_code=303)
async def sign_in(request: PageRequest) -> Response[Any]:
    """Sign in on this phone and redirect to the form's target. If card or PIN is wrong, show the form again."""
    site, form = WebSite.of(request), auth.form(request)
    to, card = auth.safe_return_path(form.get("to", "")), normal_form.spelling(form.get("card", ""))
    pin = normal_form.digits(form.get("pin", ""))
    try:
        if not card or not pin or max(len(card), len(pin)) > MAX_SECRET:
            raise Refused("wrong_card_or_pin")
        token = await site.accounts.sign_in(card, pin, address_of(request), outlet_of_path(to))
    except Refused as refusal:
        return sign_in_page_of(request, to, refusal, card=card[:MAX_SECRET])
    remembered = auth.make_cookie(site, auth.RESIDENT_COOKIE, token, auth.REMEMBER_S)
    return Redirect(to, status_code=303, cookies=[remembered])


@post("/sign-in/guest", status_code=303)
async def sign_in_guest(request: PageRequest) -> Response[Any]:
    """Sign in like `sign_in`, but with a guest code issued by the property; its digits may be grouped in any way."""
    site, form = WebSite.of(request), auth.form(request)
    to, code = auth.safe_return_path(form.get("to", "")), normal_form.digits(form.get("code", ""))
    try:
        if not code.isascii() or not code.isdigit() or len(code) > MAX_SECRET:
            raise Refused("wrong_code")
        token = await site.accounts.sign_in_guest(code, address_of(request))
    except Refused as refusal:
        return sign_in_page_of(request, to, refusal, guest=True)
    remembered = auth.make_cookie(site, auth.RESIDENT_COOKIE, token, auth.REMEMBER_S)
    return Redirect(to, status_code=303, cookies=[remembered])


@post("/sign-out", status_code=303)
async def sign_out(request: PageRequest) -> Response[Any]:
    """Sign out on this phone, or with `everywhere=true` on all phones."""
    site = WebSite.of(request)
    token = auth.read_cookie(request, auth.RESIDENT_COOKIE)
    if token:
        await site.accounts.sign_out(token, auth.form(request).get("everywhere") == "true")
    return Redirect("/", status_code=303, cookies=[auth.make_cookie(site, auth.RESIDENT_COOKIE, "", 0)])


@post("/preferences", status_code=303)
async def preferences(request: PageRequest) -> Response[Any]:
    """Set language and text size, stored on this phone only."""
    site, form = WebSite.of(request), auth.form(request)
    cookies = []
    if form.get("language") in LANGUAGES:
        cookies.append(_preference(site, LANGUAGE_COOKIE, form["language"]))
    if form.get("size") in ("large", "normal"):
        cookies.append(_preference(site, SIZE_COOKIE, form["size"]))
    if not cookies:
        raise Refused("bad_request")
    return Redirect(auth.safe_return_path(form.get("back", "")), status_code=303, cookies=cookies)


async def outlet_page_of(
    request: PageRequest, code: str, visitor: ResidentView | None, refusal: Refused | None = None
) -> Response[Any]:
    """Return the outlet's page for a visitor, with the refusal of its form if there is one."""
    return Pages.of(request).page(
        request,
        "outlet.html",
        **refused_values(request, refusal),
        **await _outlet_values(request, code, visitor),
    )


async def _outlet_values(request: PageRequest, code: str, visitor: ResidentView | None) -> dict[str, Any]:
    """Return the values of the outlet's page, for the first load and for live updates."""
    site = WebSite.of(request)
    outlet = await site.charges.outlet(normal_form.outlet_code(code))
    place = await site.charges.place(outlet)
    recent = await _recent(request, visitor)
    running = _running(recent)
    waiting = await _waiting(request, visitor)
    situation = [outlet.condition, outlet.refusal or ""]
    if waiting is not None:
        situation += [waiting.code, str(waiting.place or waiting.outcome)]
    return {
        "outlet": outlet,
        "startable": outlet.condition == "free" and outlet.refusal is None,
        "waiting": waiting,
        "can_wait": place.has_queue and outlet.condition == "free" and outlet.refusal == "feed_full",
        "situation": ".".join(situation),
        "price": await site.charges.price(outlet.code, visitor.group if visitor else "", usual_w := _usual_w(recent)),
        "usual_w": usual_w,
        "tripped": _tripped_here(recent, outlet),
        "visitor": visitor,
        "running": running,
        "here_already": running is not None and running.outlet == outlet.number,
        "to": f"/s/{outlet.code}",
        "card": "",
        "guest": False,
        "request_key": secrets.token_urlsafe(18),
        "half_hours": HALF_HOURS_OFFERED,
        "yuan_offered": YUAN_OFFERED,
        "form_key": auth.form_key(request),
        "place": place,
        "guard_reachable": place.guard_reachable,
        "cabinet": place.cabinet,
    }


async def _visitor(request: PageRequest, code: str) -> ResidentView | None:
    """Return the signed-in resident, if known at this outlet."""
    return await auth.resident_if_any(request, normal_form.outlet_code(code))


async def _recent(request: PageRequest, visitor: ResidentView | None) -> list[SessionView]:
    """Return the visitor's last charges, newest first."""
    return [] if visitor is None else await WebSite.of(request).charges.sessions(visitor.resident_id, limit=RECENT)


def _running(recent: list[SessionView]) -> SessionView | None:
    """Return the charge that has not ended, if there is one."""
    return next((session for session in recent if session.state != "settled"), None)


def _usual_w(recent: list[SessionView]) -> int | None:
    """Return the mean power of the visitor's last charge of at least 300 s, in steps of 5 W, or None if not known."""
    for session in recent:
        if session.state == "settled" and session.charging_s >= MIN_USUAL_S and session.energy_mwh:
            watts = session.energy_mwh * 3600 / 1000 / session.charging_s
            return max(USUAL_STEP_W, USUAL_STEP_W * round(watts / USUAL_STEP_W))
    return None


def _tripped_here(recent: list[SessionView], outlet: OutletView) -> SessionView | None:
    """Return the visitor's last charge if its fault has put this outlet out of service, else None."""
    last = recent[0] if recent else None
    if last is None or last.fault is None or last.outlet != outlet.number or outlet.condition != "needs_service":
        return None
    return last


async def _waiting(request: PageRequest, visitor: ResidentView | None) -> WaitingView | None:
    """Return the visitor's entry in the power queue."""
    return None if visitor is None else await WebSite.of(request).charges.queue.view(visitor.resident_id)


def sign_in_page_of(
    request: PageRequest, to: str, refusal: Refused | None = None, card: str = "", guest: bool = False
) -> Response[Any]:
    """Return the sign-in page that leads on to `to`; if `guest`, the guest code's form is open."""
    return Pages.of(request).page(
        request,
        "sign_in.html",
        **refused_values(request, refusal),
        to=to,
        card=card,
        guest=guest,
    )


def _choice(form: Any) -> StartChoice:
    """Return the choice in the form. Raises Refused `bad_choice`."""
    kind, number = form.get("kind", ""), form.get("number", "")
    if kind == "full":
        return StartChoice("full")
    if not number.isascii() or not number.isdigit() or len(number) > 2:
        raise Refused("bad_choice")
    if kind == "hours" and int(number) in HALF_HOURS_OFFERED:
        return StartChoice("hours", seconds=int(number) * HALF_HOUR_S)
    if kind == "package" and 1 <= int(number) <= 12:
        return StartChoice("package", seconds=int(number) * 3600)
    if kind == "amount" and int(number) in YUAN_OFFERED:
        return StartChoice("amount", amount_fen=int(number) * FEN_PER_YUAN)
    raise Refused("bad_choice")


def _preference(site: WebSite, name: str, value: str) -> Any:
    cookie = auth.make_cookie(site, name, value, auth.PREFERENCE_S)
    cookie.key = name  # no prefix: read before the visitor is identified, also by error pages
    return cookie


router = Router(
    "/",
    route_handlers=[
        home_page,
        outlet_page,
        outlet_live,
        start,
        leave,
        sign_in_page,
        sign_in,
        sign_in_guest,
        sign_out,
        preferences,
    ],
    before_request=auth.check_form,
    include_in_schema=False,
)
