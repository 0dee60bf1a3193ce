"""First stage of every request, before its route: malformed requests are corrected or refused, and HEAD is answered.

The framework assumes that a Host header parses and that an address is short, and supports HEAD only if a route names
it.
"""

import contextlib
import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from cabinet.web.context import AT_END
from cabinet.web.gate import ASGIApp, Message, Receive, Send

MAX_PATH = 1024
MAX_QUERY = 4096
"""Bytes; our longest query, a filter of the usage log, has about 200."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MALFORMED = "cabinet.malformed"  # key in the scope: the status of the refusal


async def handle(scope: Any, receive: Receive, send: Send, app: ASGIApp) -> None:
    """Pass an HTTP request to `app` and run the callbacks of `at_end`, regardless of how the request ends."""
    with contextlib.ExitStack() as at_end:
        await _handle({**_well_formed(scope), AT_END: at_end}, receive, send, app)


async def _handle(scope: Any, receive: Receive, send: Send, app: ASGIApp) -> None:
    if scope["method"] != "HEAD":
        await app(scope, receive, send)
        return
    over = False

    async def send_without_body(message: Message) -> None:
        """Send the headers and an empty body. The server then reports a disconnect, which ends the stream of a live
        page: HEAD does not wait for its end."""
        nonlocal over
        if over:
            return
        if message["type"] == "http.response.body":
            over = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    await app({**scope, "method": "GET"}, receive, send_without_body)


async def refuse_malformed(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse a marked request, as a guard of every route. Raises HTTPException, which gets a page like any other."""
    status = connection.scope.get(_MALFORMED)
    if isinstance(status, int):
        raise HTTPException(status_code=status)


def _well_formed(scope: Any) -> Any:
    """Return the request; if malformed, an answerable version of it, marked with the status of the refusal."""
    if len(scope["path"]) > MAX_PATH or len(scope["query_string"]) > MAX_QUERY:
        short: dict[str, Any] = {"path": "/", "raw_path": b"/", "query_string": b"", _MALFORMED: 414}
        return {**_well_formed({**scope, **short}), **short}
    if not (scope["query_string"].isascii() and scope.get("raw_path", b"").isascii()):
        return {**_well_formed({**scope, "query_string": b"", "raw_path": b"/"}), _MALFORMED: 400}
    if _CONTROL.search(scope["path"]):  # no database takes a NUL, and no path of ours has the others
        clean = {"path": _CONTROL.sub("_", scope["path"])}
        return {**_well_formed({**scope, **clean}), _MALFORMED: 400}
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if all(_is_host(host) for host in hosts) and len(hosts) <= 1:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {**scope, "headers": headers, _MALFORMED: 400}


def _is_host(host: bytes) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and int(match[1] or 0) < 1 << 16
