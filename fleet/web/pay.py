"""Pages of payments: a charge is paid where the code was scanned, a wallet is topped up; and the platforms' endpoint.

Inside WeChat or Alipay, by the browser's name, the app names the person and opens its pay sheet over our page; any
other browser is led to the app. The page of a payment shows what the rows say, and no app's word.
"""

import base64
import re
import secrets
from typing import Any, Literal

import msgspec
from litestar import Request, Router, get, post
from litestar.params import FromPath
from litestar.response import Redirect, Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.service.ports import ResidentView
from cabinet.web import auth
from cabinet.web.context import PageRequest, address_of
from cabinet.web.errors import refused_values
from cabinet.web.pages import Pages
from cabinet.web.resident import outlet_page_of
from fleet.money.paying import CHARGE_FEN
from fleet.money.payments.accounts import MerchantAccount
from fleet.money.payments.port import MAX_NOTIFICATION, NotificationRefused
from fleet.web.context import FleetSite
from fleet.web.payments import PayingResident, PaymentIntent

INTENT_COOKIE = "pay"
INTENT_S = 600
TOP_UP_FEN = (1000, 2000, 5000, 10_000)
MAX_CODE_OF_PLATFORM = 256

_REQUEST_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
_APPS = (("MicroMessenger", "wechat"), ("AlipayClient", "alipay"))


def app_of(request: PageRequest) -> str:
    """Return the platform of the app that shows the page; "" for any other browser."""
    agent = request.headers.get("user-agent", "")
    return next((platform for word, platform in _APPS if word in agent), "")


# --- what a tap wants ------------------------------------------------------------------------------------------------


@post("/s/{code:str}/pay", status_code=303)
async def pay_charge(request: PageRequest, code: FromPath[str]) -> Response[Any]:
    """Pay for a charge at this outlet. If that is refused, nothing is done and the outlet's page shows why."""
    site, code = FleetSite.of(request), normal_form.outlet_code(code)
    visitor = await auth.resident_if_any(request, code)
    form = auth.form(request)
    try:
        choice, amount_fen = _charge_of(form.get("amount", ""))
        outlet = await site.charges.outlet(code)
        if outlet.condition != "free" or outlet.refusal is not None:
            raise Refused(outlet.refusal or "not_ready")
        amount_fen = await site.payments.charge_fen(outlet.code, choice, amount_fen)
        intent = PaymentIntent(amount_fen, _key(form.get("request_key", "")), outlet.code, choice)
        return await _go(request, intent, visitor, form.get("platform", ""))
    except Refused as refusal:
        if refusal.code in ("unknown_code", "signed_out"):
            raise
        return await outlet_page_of(request, code, visitor, refusal)


@get("/account/top-up")
async def top_up_page(request: PageRequest) -> Response[Any]:
    return await _top_up_page(request, await auth.resident(request))


@post("/account/top-up", status_code=303)
async def top_up(request: PageRequest) -> Response[Any]:
    visitor, form = await auth.resident(request), auth.form(request)
    try:
        amount = form.get("amount", "")
        if amount not in map(str, TOP_UP_FEN):
            raise Refused("bad_amount")
        intent = PaymentIntent(int(amount), _key(form.get("request_key", "")))
        return await _go(request, intent, visitor, form.get("platform", ""))
    except Refused as refusal:
        return await _top_up_page(request, visitor, refusal)


@post("/account/send-back", status_code=303)
async def send_back(request: PageRequest) -> Response[Any]:
    """Send the rest of what was paid by phone back to where it came from."""
    visitor = await auth.resident(request)
    try:
        await FleetSite.of(request).payments.send_back(visitor.resident_id)
    except Refused as refusal:
        return await _top_up_page(request, visitor, refusal)
    return Redirect("/account/statement", status_code=303)


async def _top_up_page(request: PageRequest, resident: ResidentView, refusal: Refused | None = None) -> Response[Any]:
    site = FleetSite.of(request)
    ways = await site.payments.offered(PaymentIntent(0, ""), resident.resident_id)
    return Pages.of(request).page(
        request, "top_up.html", resident=resident, amounts=TOP_UP_FEN, ways=ways, request_key=secrets.token_hex(16),
        **refused_values(request, refusal),
    )  # fmt: skip


def _charge_of(amount: str) -> tuple[Literal["amount", "full"], int]:
    """Return choice and amount of a button. Refuses bad_choice."""
    if amount == "full":
        return "full", 0
    if amount not in map(str, CHARGE_FEN):
        raise Refused("bad_choice")
    return "amount", int(amount)


def _key(text: str) -> str:
    if not _REQUEST_KEY.fullmatch(text):
        raise Refused("bad_request")
    return text


# --- the way to the platform -----------------------------------------------------------------------------------------


async def _go(
    request: PageRequest, intent: PaymentIntent, visitor: ResidentView | None, platform: str
) -> Response[Any]:
    """Lead on: to the app that names the person, to the choice of a platform, or to the payment."""
    site = FleetSite.of(request)
    ways = await site.payments.offered(intent, None if visitor is None else visitor.resident_id)
    if not ways:
        raise Refused("no_payment")
    app = app_of(request)
    if app in ways:
        intent = msgspec.structs.replace(intent, nonce=secrets.token_hex(16))
        address = ways[app].platform.login_url(f"{site.public_url}/pay/payer/{app}", intent.nonce)
        kept = auth.make_cookie(site, INTENT_COOKIE, _packed(intent), INTENT_S)
        return Pages.of(request).page(request, "pay_go.html", address=address, cookies=[kept])
    if platform not in ways and len(ways) > 1:
        return Pages.of(request).page(
            request, "pay_choose.html", ways=ways, intent=intent,
            action=f"/s/{intent.code}/pay" if intent.code else "/account/top-up",
            amount="full" if intent.choice == "full" else str(intent.amount_fen),
        )  # fmt: skip
    account = ways.get(platform) or next(iter(ways.values()))
    if visitor is None:
        payer = await site.payments.stranger(account, address_of(request))
    else:
        payer = PayingResident(visitor.resident_id)
    return await _begin(request, account, payer, intent, in_app=False)


@get("/pay/payer/{platform:str}")
async def payer_back(request: PageRequest, platform: FromPath[str]) -> Response[Any]:
    """Take up an intent when the app has named the person, in the browser that had it."""
    site = FleetSite.of(request)
    intent = _unpacked(auth.read_cookie(request, INTENT_COOKIE) or "")
    query = request.query_params
    given, state = query.get("code", "") or query.get("auth_code", ""), query.get("state", "")
    if intent is None or not state or not secrets.compare_digest(state.encode(), intent.nonce.encode()):
        raise Refused("bad_request")
    intent = await _checked(site, intent)
    visitor = await auth.resident_if_any(request, intent.code)
    resident_id = None if visitor is None else visitor.resident_id
    account = (await site.payments.offered(intent, resident_id)).get(platform)
    if account is None or not 0 < len(given) <= MAX_CODE_OF_PLATFORM:
        raise Refused("bad_request")
    payer, named = await site.payments.payer_of(account, given, resident_id)
    return await _begin(request, account, payer, intent, in_app=True, named=named)


async def _begin(
    request: PageRequest,
    account: MerchantAccount,
    payer: PayingResident,
    intent: PaymentIntent,
    *,
    in_app: bool,
    named: str = "",
) -> Response[Any]:
    site = FleetSite.of(request)
    address = request.client.host if request.client else ""
    cookies = [auth.make_cookie(site, INTENT_COOKIE, "", 0)]
    if payer.token:
        cookies.append(auth.make_cookie(site, auth.RESIDENT_COOKIE, payer.token, auth.REMEMBER_S))
    way: Literal["in_app", "browser"] = "in_app" if in_app else "browser"
    number = await site.payments.begin(account, payer.resident_id, intent, way, named, address)
    return Redirect(f"/pay/{number}", status_code=303, cookies=cookies)


async def _checked(site: FleetSite, intent: PaymentIntent) -> PaymentIntent:
    """Return an intent that a browser kept, with its amount by our own rules. Refuses as the form it came from."""
    if intent.code:
        choice, amount_fen = _charge_of("full" if intent.choice == "full" else str(intent.amount_fen))
        amount_fen = await site.payments.charge_fen(normal_form.outlet_code(intent.code), choice, amount_fen)
        return msgspec.structs.replace(intent, amount_fen=amount_fen, key=_key(intent.key))
    if intent.amount_fen not in TOP_UP_FEN:
        raise Refused("bad_amount")
    return msgspec.structs.replace(intent, key=_key(intent.key))


def _packed(intent: PaymentIntent) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(intent)).decode().rstrip("=")


def _unpacked(text: str) -> PaymentIntent | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=PaymentIntent)
    except (ValueError, msgspec.DecodeError):
        return None


# --- the page of a payment -------------------------------------------------------------------------------------------


@get("/pay/{payment_number:str}")
async def payment_page(request: PageRequest, payment_number: FromPath[str]) -> Response[Any]:
    """Show how a payment stands; one that became a charge leads to the charge's page."""
    site = FleetSite.of(request)
    resident = await auth.resident(request)
    payment = await site.payments.view(resident.resident_id, payment_number)
    if payment.order_number is not None:
        return Redirect(f"/charge/{payment.order_number}", status_code=303)
    if payment.state == "credited" and payment.purpose == "wallet":
        return Redirect("/account/statement", status_code=303)
    return Pages.of(request).page(
        request, "payment.html", payment=payment, sheet=msgspec.json.encode(payment.bridge).decode()
    )


@post("/pay/{payment_number:str}/cancel", status_code=303)
async def cancel(request: PageRequest, payment_number: FromPath[str]) -> Response[Any]:
    resident = await auth.resident(request)
    payment = await FleetSite.of(request).payments.cancel(resident.resident_id, payment_number)
    if payment.state != "closed":
        return Redirect(f"/pay/{payment_number}", status_code=303)
    return Redirect(f"/s/{payment.code}" if payment.code else "/account/top-up", status_code=303)


# --- notifications ---------------------------------------------------------------------------------------------------


@post("/pay/notify/{platform:str}/{account:int}", status_code=200)
async def notified(request: Request[Any, Any, Any], platform: FromPath[str], account: FromPath[int]) -> Response[bytes]:
    """Take a notification; the answer comes after the commit. A wrong one costs no statement of the database."""
    site = FleetSite.of(request)
    found = await site.payments.account(platform, account) if 0 <= account < 2**31 else None
    body = await request.body()
    if found is None or len(body) > MAX_NOTIFICATION:
        return _answer(platform, taken=False)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        report = await found.platform.parse_notification(headers, body, site.payments.now_s())
    except NotificationRefused as refused:
        if not refused.probe:
            log = site.log.logger("fleet.web", address_of(request))
            log.warning("notification for merchant account %s refused: %s", account, refused)
        return _answer(platform, taken=False)
    return _answer(platform, taken=await site.payments.notified(found, report) != "other")


def _answer(platform: str, *, taken: bool) -> Response[bytes]:
    if platform == "alipay":
        return Response(b"success" if taken else b"fail", media_type="text/plain")
    if taken:
        return Response(b"", status_code=204)
    return Response(b'{"code":"FAIL","message":"refused"}', status_code=400, media_type="application/json")


router = Router(
    "/",
    route_handlers=[pay_charge, top_up_page, top_up, send_back, payer_back, payment_page, cancel],
    before_request=auth.check_form,
    include_in_schema=False,
)
notifications = Router("/", route_handlers=[notified], include_in_schema=False)
