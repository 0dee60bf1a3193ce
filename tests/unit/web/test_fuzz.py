"""Random requests to every route: an answer of the product, no 500, and at most a line a second in the log.

`make fuzz-api` sends more. A failure names its seed; `FUZZ_SEED=…` sends the same again.
"""

import asyncio
import logging
import os
import random
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient

from cabinet import secret_hash
from cabinet.config.keys import Config
from cabinet.store import residents, tokens
from cabinet.web.connections import ConnectionLimits
from cabinet.web.site import create_app
from cabinet_testing.fake_simulator import FakeSimulator
from cabinet_testing.html_page import page
from cabinet_testing.property_harness import _sign_in, charge, property_harness
from cabinet_testing.service_harness import CARDS, QUICK, ServiceHarness
from cabinet_testing.web_server import listening

EXAMPLES = int(os.environ.get("API_EXAMPLES", "10"))  # a route
SEED = int(os.environ.get("FUZZ_SEED", random.randrange(1 << 32)))
FORM_KEY = "k" * 32
LONG_S = 60  # only keeps a broken build from hanging

EVIL = [
    "", " ", "0", "-1", "1", "2", "007", "９", "٣", "²", "1.5", "1e400", "NaN", "inf", "-inf", "0x10", "1_000", "+1",
    "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "9" * 16, "9" * 60, "9" * 900, "true", "null", "None", "[]", "{}", "\x00", "a\x00b", "\x1b[2J", "\r\nX-Evil: 1",
    "\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "👨‍👩‍👧", "\u202e", "e\u0301", "' OR 1=1 --", '"><script>',
    "../../etc/passwd", "%00", "%", "%zz", "x" * 64, "x" * 200, "2026-11-24",
    "0000-00-00", "0001-01-01", "9999-12-31", "2026-02-30",
    "1999-12-31", "2099-12-31", "2100-01-01", "20261124", "2026-W48-2", "2026-11-24T00:00", "24:00", "23:59",
    "00:00",
    "full", "hours", "amount", "package", "operator", "C5T4", "c5t4", "ＺＺ", "10010001", "csv", "xlsx", "month",
]  # fmt: skip

RAW = [  # for addresses and bodies that are not made by the rules
    b"%ff%fe", b"%ed%a0%80", b"%c0%af", b"%00", b"%", b"%2", b"+", b"&", b"=", b"&&==&", b";", b"a=1&a=2", b"\xff",
    b"%f0%9f",
    b"name=%s", b"[]=1", b"a[]=1&a[b]=2", b"%25%30%30",
]  # fmt: skip


class Route(NamedTuple):
    method: str
    path: str
    names: list[str]  # of fields and parameters that may mean something to it


def routes(app: Litestar) -> list[Route]:
    """Every route of the application; the names are the short words in its module and its parameters."""
    found = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in sorted(handler.http_methods - {"OPTIONS"}):
                    found.append(Route(method, route.path_format, names_in(sys.modules[handler.fn.__module__])))
    return sorted(found)


def names_in(module: ModuleType) -> list[str]:
    if not module.__name__.startswith("cabinet."):
        return ["x"]
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    literals = re.findall(r'"([a-z][a-z_-]{1,15})"', text)
    return sorted({*literals, *re.findall(r"(\w+): (?:FromQuery|After|Annotated|Language|FromDay|Outlet)", text)})


def filled(path: str, rng: random.Random) -> str:
    """Fill every parameter with an existing or a random value."""

    def value(match: re.Match[str]) -> str:
        known = {"code": "C5T4", "session_id": "nothing"}.get(match[1], "1")
        return known if rng.random() < 0.3 else quote(rng.choice(EVIL), safe="")

    return re.sub(r"\{(\w+)\}", value, path)


def fields(route: Route, rng: random.Random) -> dict[str, str]:
    return {rng.choice(route.names): rng.choice(EVIL) for _ in range(rng.randint(0, 4))} if route.names else {}


def headers(rng: random.Random) -> list[tuple[bytes, bytes]]:
    """Those that are read somewhere, with values that nobody expects."""
    names = [
        b"accept", b"accept-language", b"accept-encoding", b"cookie", b"if-none-match", b"if-modified-since", b"range",
        b"origin", b"referer", b"sec-fetch-site", b"authorization", b"x-forwarded-for", b"last-event-id", b"hx-request",
        b"content-type", b"host",
    ]  # fmt: skip
    values = [
        b"", b"\xff\xfe", b"a:b", b"a;q=x", b"*;q=-1", b"bytes=-1-", b"bytes=99999999999999999999-", b'"', b'W/"',
        b"a=b; =;;",
        b"form=\"; resident=", b"Bearer", b"Bearer ", b"Bearer \xe4\xb8\xad", b"Basic x", b"text/event-stream",
        b"x" * 3000,
        b"multipart/form-data", b"multipart/form-data; boundary=", b"application/json", b"text/plain; charset=x",
        b"application/x-www-form-urlencoded; charset=utf-7", b"a@b:1", b"[::1", b"[::1]:99999", b"host:", b"zh-" * 50,
    ]  # fmt: skip
    return [(rng.choice(names), rng.choice(values)) for _ in range(rng.randint(0, 3))]


def multipart(rng: random.Random) -> bytes:
    """A form with a file, well made or not."""
    heads = [
        b'Content-Disposition: form-data; name="file"; filename="a.csv"',
        b'Content-Disposition: form-data; name="text"',
        b"Content-Disposition: form-data", b'Content-Disposition: form-data; name="file"; filename=""', b"X: y", b"",
        b"Content-Disposition: form-data; name=\"\xff\"; filename*=utf-8''%ff", b"Content-Disposition: form-data; name",
        b'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: text/plain; charset=nope',
        b'Content-Disposition: form-data; name="text"\r\nContent-Type: application/json',
    ]  # fmt: skip
    contents = [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbfcard,name\r\n1,2",
        b"card\n" + b"9" * 5000,
        b"\x00",
        b'version = "x"',
        b"[",
    ]
    key = b'--x\r\nContent-Disposition: form-data; name="form_key"\r\n\r\n' + FORM_KEY.encode() + b"\r\n"
    parts = [
        b"--x\r\n" + rng.choice(heads) + b"\r\n\r\n" + rng.choice(contents) + b"\r\n" for _ in range(rng.randint(0, 3))
    ]
    whole = key + b"".join(parts) + b"--x--\r\n"
    return whole[: rng.randint(0, len(whole))] if rng.random() < 0.2 else whole


@pytest.fixture
def seed() -> random.Random:
    print(f"FUZZ_SEED={SEED}")
    return random.Random(SEED)


def test_no_value_of_any_parameter_or_field_of_any_route_is_a_500(
    tmp_path: Path, seed: random.Random, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The service has a database of its own; an operator and a resident are signed in."""
    monkeypatch.setattr(secret_hash, "HASHER", QUICK)
    harness = ServiceHarness(tmp_path)
    Path(harness.config.paths.run).mkdir()

    async def story() -> None:
        async with property_harness(tmp_path, harness) as at:
            await charge(at)
            app = create_app(at.service, harness.config, FakeSimulator())
            for route in routes(app):
                for _ in range(EXAMPLES):
                    await at.service.context.storage.write(_everybody_signed_in)
                    if wrong := await _ask(app, route, seed):
                        bugs.append(wrong)

    bugs: list[str] = []
    asyncio.run(story())
    assert bugs == []
    assert [record.getMessage() for record in caplog.records if record.name == "cabinet.web"] == []


def _everybody_signed_in(connection: Any) -> None:
    _sign_in(connection, "operator", "operator-token")
    resident = residents.by_card(connection, CARDS[0])
    if resident is not None and tokens.login(connection, "resident", "resident-token", 0, 0) is None:
        tokens.add_login(connection, "resident", resident.id, "resident-token", 1 << 59, 1 << 60)


async def _ask(app: Litestar, route: Route, rng: random.Random) -> str:
    """One request with anything in it, of a live page only its beginning; what was wrong with the answer."""
    given = fields(route, rng)
    path, query, body = filled(route.path, rng), b"", b""
    sent = [(b"host", b"cabinet.test"), (b"cookie", f"form={FORM_KEY}; staff=operator-token".encode())]
    sent.append((b"cookie", b"resident=resident-token"))
    if route.method == "GET":
        query = urlencode(given).encode()
    else:
        body = urlencode({"form_key": FORM_KEY, **given}).encode()
        sent.append((b"content-type", b"application/x-www-form-urlencoded"))
        if rng.random() < 0.2:
            sent[-1] = (b"content-type", b"multipart/form-data; boundary=x")
            body = multipart(rng)
    if rng.random() < 0.2:
        query += rng.choice(RAW)
        body += rng.choice(RAW) if body else b""
    if rng.random() < 0.3:
        extra = headers(rng)
        sent = [*(entry for entry in sent if entry[0] not in dict(extra)), *extra]
    method = "HEAD" if route.path.endswith("/live") else route.method
    asked = f"{method} {path}?{query!r} {body!r} {sent}"
    try:
        status = await _status(app, method, path, query, sent, body)
    except Exception as error:
        return f"{route.path}: {type(error).__name__}: {error}: {asked}"
    return "" if status < 500 or status == 503 else f"{route.path}: {status}: {asked}"


async def _status(
    app: Litestar, method: str, path: str, query: bytes, sent: list[tuple[bytes, bytes]], body: bytes
) -> int:
    status, over, given = 0, asyncio.Event(), False

    async def receive() -> Any:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    scope: Any = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query, "root_path": "", "headers": sent,
        "client": ("192.0.2.1", 50_000), "server": ("cabinet.test", 80), "state": {},
    }  # fmt: skip
    async with asyncio.timeout(LONG_S):
        await app(scope, receive, send)
    return status


# --- below the application: bytes ------------------------------------------------------------------------------------

WHOLE = [
    b"GET /s/A7K2 HTTP/1.1\r\nHost: cabinet\r\nCookie: resident=resident-1\r\nConnection: close\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /sign-in HTTP/1.1\r\nHost: cabinet\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 12\r\nConnection: close\r\n\r\ncard=1&pin=2",
    b"POST /charge/s1/stop HTTP/1.1\r\nHost: cabinet\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"5\r\na=b&c\r\n0\r\n\r\n",
    b"GET /api/v1/usage?after=0 HTTP/1.1\r\nHost: a:b\r\nAuthorization: Bearer api-token\r\nConnection: close\r\n\r\n",
]

SPLINTERS = [
    b"", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b"\xff", b":", b": ", b"Host: a:b\r\n", b"Host: \r\n",
    b"Host: x\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 1, 2\r\n", b"HTTP/9.9",
    b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: chunked, chunked\r\n", b"Expect: 100-continue\r\n",
    b"HTTP/2.0",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"X: " + b"x" * 20_000 + b"\r\n", b"PRI *",
    b"Cookie: " + b"a=b; " * 2000 + b"\r\n", b"http://", b"http://a:b/", b"*", b"//", b"/../", b"%", b"?", b"#",
    b"CONNECT ",
    b"ffffffffffffffffff\r\n", b"-1\r\n", b"Range: bytes=0-0,0-0\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]  # fmt: skip


def broken(rng: random.Random) -> bytes:
    """A whole request with splinters in it, or parts of it gone or doubled."""
    request = rng.choice(WHOLE)
    for _ in range(rng.randint(1, 3)):
        begin, end = sorted((rng.randint(0, len(request)), rng.randint(0, len(request))))
        kind = rng.random()
        if kind < 0.6:
            lines = [match.end() for match in re.finditer(rb"\r\n", request)] or [0]
            at = rng.choice(lines) if rng.random() < 0.6 else begin
            request = request[:at] + rng.choice(SPLINTERS) + request[at:]
        elif kind < 0.8:
            request = request[:begin] + request[min(end, begin + 8) :]
        else:
            request += request[begin:end]
    return request


def test_no_bytes_are_a_500_and_a_source_writes_a_line_a_second_at_most(
    config: Config, seed: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with listening(config, ConnectionLimits(first_byte_s=0.2, header_s=0.2, body_s=0.2)) as (port, _):
            for _ in range(20 * EXAMPLES):
                request = broken(seed)
                for answer in re.findall(rb"HTTP/1.1 (\d+)", await sent_and_closed(port, request)):
                    assert answer == b"503" or answer < b"500", f"FUZZ_SEED={SEED}: {request!r} gave {answer!r}"
            assert b"HTTP/1.1 200" in await sent_and_closed(port, WHOLE[0])

    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    lines = [record for record in caplog.records if record.name != "uvicorn.error" or record.levelno >= logging.WARNING]
    assert len(lines) <= time.monotonic() - began + 2, "one source"
    assert [record.getMessage() for record in lines if record.exc_info] == []


async def sent_and_closed(port: int, request: bytes) -> bytes:
    """Return the bytes until the server closes; it drops an incomplete request within its deadline."""
    async with asyncio.timeout(LONG_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    "host", [b"a:b", b"a:99999", b"[::1", b"", b"a b", b"\xff", b"a@b", b"a/b", b"[zz]:1", b"a:1:2"]
)
def test_a_host_that_does_not_parse_is_a_400_in_the_readers_language(client: TestClient[Any], host: bytes) -> None:
    answer = client.get("/s/A7K2", headers=[(b"host", host)])
    assert answer.status_code == 400
    assert "没有看懂这个请求" in page(answer).text
    api = client.get("/api/v1/usage", headers=[(b"host", host), (b"authorization", b"Bearer api-token")])
    assert (api.status_code, api.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "host", [b"cabinet", b"cabinet:8080", b"192.0.2.1:80", b"[2001:db8::1]", b"[::1]:8080", b"a_b.example"]
)
def test_a_host_that_parses_is_served(client: TestClient[Any], host: bytes) -> None:
    assert client.get("/s/A7K2", headers=[(b"host", host)]).status_code == 200


@pytest.mark.parametrize("address", ["/" + "x" * 1100, "/s/" + "C" * 1100, "/?" + "q" * 5000])
def test_an_address_longer_than_any_of_ours_is_refused(client: TestClient[Any], address: str) -> None:
    assert client.get(address).status_code == 414
