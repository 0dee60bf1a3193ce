"""Authentication: cookies of residents and staff, and proof that a form came from one of our own pages.

A form carries the value of a cookie that another site can neither read nor set (double submit); if the browser sends
the origin of a request, that must be ours too. No state is kept: open pages work after a restart of the service.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import parse_qsl

from litestar.datastructures import Cookie
from litestar.exceptions import PermissionDeniedException

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.service.ports import ResidentView
from cabinet.web.context import Connection, PageRequest, WebSite

RESIDENT_COOKIE = "resident"
STAFF_COOKIE = "staff"
FORM_COOKIE = "form"
FORM_FIELD = "form_key"

REMEMBER_S = 180 * 86_400  # a resident signs in once on a phone; the service may end the sign-in earlier
PREFERENCE_S = 365 * 86_400

MAX_FIELDS = 20
AS_TYPED = frozenset({"password", "proof", "text"})
"""Fields that are not cleaned as a line of text: secrets that people choose, and a tariff file, which has its own
check."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")
_OUR_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~%=&?-]{0,200}")


class FormExpired(PermissionDeniedException):
    """Form without a valid key: from an old page, or not from our site. Nothing was done."""


def cookie_name(site: WebSite, name: str) -> str:
    """Return the cookie's full name. With https, the prefix makes the browser accept the cookie only from this host."""
    return f"__Host-{name}" if site.secure else name


def read_cookie(connection: Connection, name: str) -> str | None:
    return connection.cookies.get(cookie_name(WebSite.of(connection), name))


def make_cookie(site: WebSite, name: str, value: str, max_age: int | None = None) -> Cookie:
    """Return a cookie. `max_age` None lasts until the browser is closed, 0 deletes the cookie."""
    return Cookie(
        key=cookie_name(site, name),
        value=value,
        max_age=max_age,
        path="/",
        secure=site.secure,
        httponly=True,
        samesite="lax",
    )


def resident_token(connection: Connection) -> str:
    """Return the resident's session token. Raises Refused `signed_out`."""
    token = read_cookie(connection, RESIDENT_COOKIE)
    if not token:
        raise Refused("signed_out")
    return token


async def resident(connection: Connection, at: str = "") -> ResidentView:
    """Return the signed-in resident, if known at the outlet with the code `at`. Raises Refused `signed_out`."""
    return await WebSite.of(connection).accounts.resident(resident_token(connection), at)


async def resident_if_any(connection: Connection, at: str = "") -> ResidentView | None:
    """Return the signed-in resident, or None: for public pages."""
    try:
        return await resident(connection, at)
    except Refused as refusal:
        if refusal.code != "signed_out":
            raise
        return None


def form_key(connection: Connection) -> str:
    """Return the value of the hidden field of every form on this page; `form_cookie` sets its cookie if it is new."""
    if "form_key" not in connection.state:
        known = read_cookie(connection, FORM_COOKIE) or ""
        connection.state["form_key"] = known if _FORM_KEY.fullmatch(known) else secrets.token_urlsafe(24)
    return cast(str, connection.state["form_key"])


def form_cookie(connection: Connection) -> Cookie | None:
    """Return the cookie that belongs to `form_key`, or None if the browser has it already."""
    if "form_key" not in connection.state or connection.state["form_key"] == read_cookie(connection, FORM_COOKIE):
        return None
    return make_cookie(WebSite.of(connection), FORM_COOKIE, connection.state["form_key"])


async def check_form(request: PageRequest) -> None:
    """Read the form of an unsafe method before every page's handler; admit only forms of our own pages.

    Raises Refused `bad_request` if the body is not a form in UTF-8, and FormExpired. The handler gets the fields from
    `form`.
    """
    if request.method in SAFE_METHODS:
        return
    if request.content_type[0] != "application/x-www-form-urlencoded":
        raise Refused("bad_request")
    try:
        fields = parse_qsl(
            (await request.body()).decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise Refused("bad_request") from error
    request.state["form"] = cleaned(fields)
    check_key(request)


def cleaned(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return every field as one line of text without invisible characters; if a field is given twice, the last."""
    return {name: value if name in AS_TYPED else normal_form.text(value) for name, value in fields}


def check_key(request: PageRequest) -> None:
    """Check that the form in the request's state came from one of our own pages. Raises FormExpired if not."""
    expected = read_cookie(request, FORM_COOKIE) or ""
    given = form(request).get(FORM_FIELD, "")
    if not _FORM_KEY.fullmatch(expected) or not hmac.compare_digest(expected.encode(), given.encode()):
        raise FormExpired
    if not _from_our_site(request):
        raise FormExpired


def form(request: PageRequest) -> Mapping[str, str]:
    """Return the cleaned fields of the form that `check_form` has admitted."""
    return cast(Mapping[str, str], request.state["form"])


def safe_return_path(path: str) -> str:
    """Return `path` if it is a plain path of this site, else the front page: a link must not lead to another site."""
    return path if _OUR_PATH.fullmatch(path) else "/"


def _from_our_site(request: PageRequest) -> bool:
    """Return False if the browser's headers name another site as origin; very old browsers send no such headers."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    site = WebSite.of(request)
    host = request.headers.get("host", "")
    schemes = ("https",) if site.secure else ("http", "https")
    return origin in (site.public_url, *(f"{scheme}://{host}" for scheme in schemes))
