"""Error answers: a page in the reader's language, or problem+json (RFC 9457) for the API."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar.exceptions import HTTPException
from litestar.response import Redirect, Response
from litestar.types import ExceptionHandlersMap

from cabinet.errors import Refused, StoreDamaged
from cabinet.web import auth
from cabinet.web.context import PageRequest, WebSite, address_of, language_of
from cabinet.web.pages import Pages

STATUS_OF_REFUSAL = {
    "bad_request": 400, "bad_choice": 400, "bad_phone": 400, "no_outlet": 400, "too_many_records": 400,
    "signed_out": 401, "wrong_card_or_pin": 401, "wrong_code": 401, "wrong_token": 401,
    "no_money": 402,
    "card_blocked": 403, "not_allowed": 403, "scope_missing": 403,
    "unknown_code": 404, "unknown_outlet": 404, "unknown_session": 404, "not_yours": 404,
    "outlet_busy": 409, "fault_latched": 409, "fault_present": 409, "sensor_lost": 409, "relay_welded": 409,
    "outlet_hot": 409, "already_charging": 409, "session_over": 409, "nothing_to_clear": 409,
    "reserved": 409, "plugged_already": 409, "not_plugged": 409,
    "bad_name": 400, "bad_amount": 400, "bad_file": 400, "bad_tariff": 400, "not_future": 400, "bad_days": 400,
    "unknown_staff": 404, "unknown_record": 404, "unknown_trip": 404, "unknown_resident": 404, "unknown_tariff": 404,
    "name_taken": 409, "last_operator": 409, "charge_running": 409, "money_left": 409, "cannot_undo": 409,
    "expired": 409, "wrong_second_factor": 401,
    "locked_out": 429, "too_many_requests": 429,
    "voltage_out_of_band": 503, "feed_full": 503, "not_ready": 503, "contactor_open": 503, "state_unwritable": 503,
    "cabinet_fault": 503, "cabinet_hot": 503, "out_of_service": 409, "work_under_way": 409, "resident_charging": 409,
    "not_fitted": 409, "bad_gain": 409, "no_contactor": 409, "no_alert_line": 409,
    "order_expired": 503, "order_changed": 409, "tariff_changed": 409, "wrong_epoch": 409, "uplink_off": 503,
    "cabinet_offline": 503, "no_answer": 503, "no_record": 503, "no_price": 503, "sms_failed": 503,
    "unknown_company": 404, "unknown_site": 404, "unknown_cabinet": 404,
    "payment_open": 409, "platform_unreachable": 503, "no_payment": 404,
    "guard_unreachable": 503, "simulator_gone": 503, "storage_full": 503, "storage_damaged": 503,
}  # fmt: skip

READER = "/api/docs"
"""Path of the API's description for people; the anchor of each problem is its code."""

RETRY_AFTER_S = {429: 60, 503: 30}

PAGE_TEXTS = frozenset({400, 403, 404, 405, 413, 500})
"""Statuses with their own text; all others use the text of 400 or, from 500 on, the text of 500."""


class Problem(msgspec.Struct):
    """RFC 9457 problem details. `type` links to the problem on the API's page; `detail` is for people; `code` is for
    programs: a refusal code, or empty if `status` is sufficient."""

    type: str
    title: str
    status: int
    detail: str
    code: str


def status_of(refusal: Refused) -> int:
    """Return the refusal's status; a code unknown to this version is our fault, not the reader's: 500."""
    return STATUS_OF_REFUSAL.get(refusal.code, 500)


def refusal_headers(refusal: Refused) -> dict[str, str]:
    """Return Retry-After if waiting helps, and the WWW-Authenticate that a 401 of the API must have."""
    status = status_of(refusal)
    headers: dict[str, str] = {}
    if status in RETRY_AFTER_S:
        headers["Retry-After"] = str(refusal.params.get("retry_after_s", RETRY_AFTER_S[status]))
    if refusal.code == "wrong_token":
        headers["WWW-Authenticate"] = 'Bearer realm="cabinet"'
    return headers


def refusal_text(request: PageRequest, refusal: Refused) -> str:
    """Return the refusal in the reader's language, with the time to wait if it is known."""
    t = Pages.of(request).locales[language_of(request)].texts
    known = f"refusal.{refusal.code}"
    sentence = t(known if known in t else "error.500.text")
    if refusal.params.get("money_back"):
        sentence = t("error.money_back", sentence=sentence)
    wait_s = refusal.params.get("retry_after_s")
    if isinstance(wait_s, int):
        sentence = t("error.with_wait", sentence=sentence, minutes=max(1, -(-wait_s // 60)))
    return sentence


def refused_values(request: PageRequest, refusal: Refused | None) -> dict[str, Any]:
    """Return the values of a page with the refusal of its form, if there is one: status, headers, and the text."""
    if refusal is None:
        return {"refused": ""}
    return {
        "status": status_of(refusal),
        "headers": refusal_headers(refusal),
        "refused": refusal_text(request, refusal),
    }


def on_refused(request: PageRequest, refusal: Refused) -> Response[Any]:
    """Answer a refusal that no handler has shown on its own page."""
    status = status_of(refusal)
    if _is_api(request):
        return _problem(request, status, refusal_text(request, refusal), refusal.code, refusal_headers(refusal))
    if refusal.code == "signed_out":
        return _to_sign_in(request)
    return error_page(request, status, refusal_text(request, refusal), refusal_headers(refusal), refusal.code)


def on_damage(request: PageRequest, _: StoreDamaged) -> Response[Any]:
    """Answer damaged storage as `storage_damaged`: the log already has the details, the reader gets the effect."""
    return on_refused(request, Refused("storage_damaged"))


def on_http_error(request: PageRequest, error: HTTPException) -> Response[Any]:
    """Answer HTTP errors: no such page, wrong method, body too large, parameters that do not parse."""
    status = error.status_code
    t = Pages.of(request).locales[language_of(request)].texts
    shown = status if status in PAGE_TEXTS else 500 if status >= 500 else 400
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "retry-after")}
    if "GET" in headers.get("allow", ""):
        headers["allow"] += ", HEAD"
    if _is_api(request):
        return _problem(request, status, _parameters_at_fault(error) or t(f"error.{shown}.text"), "", headers)
    if isinstance(error, auth.FormExpired):
        return error_page(request, status, t("error.form_expired"), headers)
    return error_page(request, status, t(f"error.{shown}.text"), headers)


def on_bug(request: PageRequest, error: Exception) -> Response[Any]:
    """Answer an exception that was not raised on purpose: log it and show the reader an apology."""
    log = WebSite.of(request).log.logger("cabinet.web", address_of(request))
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    t = Pages.of(request).locales[language_of(request)].texts
    if _is_api(request):
        return _problem(request, 500, t("error.500.text"))
    return error_page(request, 500, t("error.500.text"))


def error_page(
    request: PageRequest, status: int, sentence: str, headers: dict[str, str] | None = None, code: str = ""
) -> Response[str]:
    """Return a page with the error and the next step for the reader."""
    return Pages.of(request).page(
        request, "error.html", status=status, headers=headers, sentence=sentence, code=code, error_status=status
    )


HANDLERS: ExceptionHandlersMap = {
    Refused: on_refused,
    StoreDamaged: on_damage,
    HTTPException: on_http_error,
    Exception: on_bug,
}


def _is_api(request: PageRequest) -> bool:
    return request.url.path.startswith("/api")


def _to_sign_in(request: PageRequest) -> Response[Any]:
    """Redirect to the sign-in page and then back to the page that was read; a submitted form is not sent again."""
    path = request.url.path
    if path.startswith("/property"):
        return Redirect("/property/sign-in", status_code=303)
    back = path if request.method == "GET" else "/account"
    return Redirect("/sign-in", query_params={"to": back}, status_code=303)


def _parameters_at_fault(error: HTTPException) -> str:
    """Return `limit: Expected int <= 1000` for each invalid parameter; empty if the error has another cause."""
    if not isinstance(error.extra, list):
        return ""
    return "; ".join(f"{entry.get('key', '')}: {entry.get('message', '')}" for entry in error.extra)


def _problem(
    request: PageRequest, status: int, detail: str, code: str = "", headers: dict[str, str] | None = None
) -> Response[Any]:
    return Response(
        Problem(f"{READER}#{code}" if code else "about:blank", HTTPStatus(status).phrase, status, detail, code),
        status_code=status,
        media_type="application/problem+json",
        headers={"Content-Language": language_of(request), **(headers or {})},
    )
