"""Requests and replies of the simulated platforms, and the ASGI application around them."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

MAX_BODY = 1024 * 1024


@dataclass(frozen=True)
class SimRequest:
    """A request; `target` is path and query as sent, header names are in lower case."""

    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class SimReply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(status: int, value: Any) -> SimReply:
    return SimReply(status, json.dumps(value, ensure_ascii=False).encode(), {"content-type": "application/json"})


def page_reply(html: str) -> SimReply:
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return SimReply(200, (head + html).encode(), {"content-type": "text/html; charset=utf-8"})


def redirect_reply(address: str) -> SimReply:
    return SimReply(303, b"", {"location": address})


Handler = Callable[[SimRequest], Awaitable[SimReply]]


class SimApplication:
    """An ASGI application over one handler."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while len(body) <= MAX_BODY:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() if scope.get("raw_path") else scope["path"]
        path = path.partition("?")[0]
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        target = f"{path}?{query}" if query else path
        reply = await self._handler(SimRequest(scope["method"], path, target, headers, body))
        sent = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        sent.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})
