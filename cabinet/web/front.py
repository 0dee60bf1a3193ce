"""What every request passes before its route: what no browser sends is set right or refused, and HEAD is answered.

The framework trusts that a Host header parses and that an address is short, and knows HEAD only where a route names it.
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
"""Bytes; the longest of ours is a filter of the usage log with some 200."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?")
_MALFORMED = "cabinet.malformed"  # in the scope: the status that the request is refused with


async def handle(scope: Any, receive: Receive, send: Send, app: ASGIApp) -> None:
    """Pass an HTTP request on to `app`; however it ends, what was left to do at its end is done."""
    with contextlib.ExitStack() as at_end:
        await _handle({**_well_formed(scope), AT_END: at_end}, receive, send, app)


async def _handle(scope: Any, receive: Receive, send: Send, app: ASGIApp) -> None:
    if scope["method"] != "HEAD":
        await app(scope, receive, send)
        return
    over = False

    async def send_without_body(message: Message) -> None:
        """The server then reports the asker gone, which ends a stream: nobody waits for the end of a live page."""
        nonlocal over
        if over:
            return
        if message["type"] == "http.response.body":
            over = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    await app({**scope, "method": "GET"}, receive, send_without_body)


async def refuse_malformed(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard of every route; raises HTTPException, which gets a page in the reader's language as any other."""
    status = connection.scope.get(_MALFORMED)
    if isinstance(status, int):
        raise HTTPException(status_code=status)


def _well_formed(scope: Any) -> Any:
    """The request, or where it is malformed one that can be answered, marked with the status to refuse it with."""
    if len(scope["path"]) > MAX_PATH or len(scope["query_string"]) > MAX_QUERY:
        short: dict[str, Any] = {"path": "/", "raw_path": b"/", "query_string": b"", _MALFORMED: 414}
        return {**_well_formed({**scope, **short}), **short}
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if all(_is_host(host) for host in hosts) and len(hosts) <= 1:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {**scope, "headers": headers, _MALFORMED: 400}


def _is_host(host: bytes) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and int(match[1] or 0) < 1 << 16
