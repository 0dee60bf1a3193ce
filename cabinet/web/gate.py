"""Request gate: requests of one source take turns and do not delay other sources; a stop always has room.

The gate sits between uvicorn and the application, behind the middleware that reads a trusted proxy's headers: `client`
in the scope is the real client. All requests are short tasks of one event loop. Of each source only a few are processed
at once, the others wait for their turn, and a source with too many is refused. A turn ends with the answer, or with the
first part of the answer if more follows: a stream or a long file does not occupy a turn.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cabinet.web.address import source_of
from cabinet.web.turns import Turn, Turns

RETRY_AFTER = b"5"

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]
"""Simpler than the framework's types, which have one type per kind of message."""

_STOP = re.compile(r"/charge/[^/]{1,64}/stop")

BUSY = (
    "<!doctype html><html lang=zh-Hans><meta charset=utf-8><title>请稍候</title>"
    "<p>请求过多，请稍候几秒再试。<p lang=en>Too many requests at once. Please try again in a few seconds.</html>"
).encode()


class GateLimits(NamedTuple):
    max_requests: int = 400
    """Requests in progress, including streams, excluding stops. Lower than the maximum of connections: the difference
    is reserved for connections without a request yet; if one of them sends a stop, it is always accepted."""
    max_of_source: int = 100
    turns_of_source: int = 2  # processed at once
    stops: int = 50
    stops_of_source: int = 10


class Gate:
    """ASGI application for uvicorn that wraps the real one."""

    def __init__(self, app: ASGIApp, limits: GateLimits) -> None:
        self._app = app
        self._limits = limits
        self._requests: Counter[str] = Counter()  # in progress, by source
        self._stops: Counter[str] = Counter()
        self._turns: dict[str, Turns] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        source = source_of(client[0] if client else None)
        stop = scope["method"] == "POST" and _STOP.fullmatch(scope["path"]) is not None
        counts = self._stops if stop else self._requests
        most, most_of_source = (
            (self._limits.stops, self._limits.stops_of_source)
            if stop
            else (self._limits.max_requests, self._limits.max_of_source)
        )
        if counts.total() >= most or counts[source] >= most_of_source:
            await _refuse(503 if counts.total() >= most else 429, send)
            return
        counts[source] += 1
        try:
            if stop:
                await self._app(scope, receive, send)
            else:
                await self._in_turn(source, scope, receive, send)
        finally:
            counts[source] -= 1
            if not counts[source]:
                del counts[source]

    async def _in_turn(self, source: str, scope: Any, receive: Receive, send: Send) -> None:
        """Process a request in a turn. It begins when the request is complete: a slow body does not occupy a turn."""
        turn = Turn(self._turns, source, self._limits.turns_of_source)

        async def receive_and_wait() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                await turn.begin()
            return message  # type: ignore[no-any-return]

        async def send_and_pass_on(message: Message) -> None:
            if message["type"] == "http.response.body":
                turn.end()  # even if the client reads slowly
            await send(message)

        try:
            if scope["method"] in ("GET", "HEAD"):
                await turn.begin()
            await self._app(scope, receive_and_wait, send_and_pass_on)
        finally:
            turn.end()


async def _refuse(status: int, send: Send) -> None:
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(BUSY)).encode()),
        (b"cache-control", b"no-store"),
        (b"retry-after", RETRY_AFTER),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": BUSY, "more_body": False})
