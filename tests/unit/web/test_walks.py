"""Rules that hold on every route there is, found in the application itself: a new page cannot be forgotten."""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from cabinet.config import check
from cabinet.web.site import create_app
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.fake_simulator import FakeSimulator
from cabinet_testing.html_page import Page

Client = TestClient[Any]

SERVICE = FakeService()
SIMULATOR = FakeSimulator()
APP = create_app(
    SERVICE,
    check.parse((resources.files("cabinet") / "examples" / "demo.toml").read_text(encoding="utf-8")), SIMULATOR,
)  # fmt: skip

MINE = "secret-of-resident-1"  # a session of resident 1, and its order number
ENDLESS = ("/sim/live", "/property/live", "/live")
OPEN = {"/healthz", "/robots.txt", "/api/schema", "/static/{name}"}


def routes(method: str) -> list[str]:
    found = [route.path_format for route in APP.routes if method in getattr(route, "methods", ())]
    return sorted(path for path in found if "schema/" not in path)


def filled(path: str) -> str:
    """Fill every parameter; one that names a session names resident 1's."""
    return re.sub(r"\{([^}]*)\}", lambda found: {"code": "C5T4", "session_id": MINE}.get(found[1], "1"), path)


@pytest.fixture
def client() -> Iterator[Client]:
    SERVICE.begin_anew()
    SIMULATOR.calls.clear()
    SERVICE.session_views[MINE] = (1, fake_service.settled(MINE))
    with TestClient(APP, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        client.headers["accept-language"] = "zh-CN"
        yield client


def test_there_is_something_to_walk() -> None:
    assert {"/sign-in", "/s/{code}/start", "/charge/{session_id}/stop", "/sim"} <= set(routes("POST"))
    assert {"/", "/charge/{session_id}", "/property", "/api/v1/usage", "/api/docs", "/sim"} <= set(routes("GET"))


@pytest.mark.parametrize("path", routes("POST"))
@pytest.mark.parametrize("who", ["nobody", "resident", "staff"])
def test_no_form_is_taken_without_the_key_of_our_page(client: Client, path: str, who: str) -> None:
    if who != "nobody":
        client.cookies.set(who, f"{who}-1")
    client.get("/")
    for forged in ({}, {"form_key": ""}, {"form_key": "x" * 32}):
        answer = client.post(filled(path), data={"kind": "full", "do": "smoke", "outlet": "1", **forged})
        assert answer.status_code == 403
    assert SERVICE.calls == []
    assert SIMULATOR.calls == []


@pytest.mark.parametrize("path", routes("POST"))
def test_no_form_is_taken_from_another_site(client: Client, path: str) -> None:
    client.cookies.set("resident", "resident-1")
    client.cookies.set("staff", "staff-1")
    client.get("/")
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = client.post(filled(path), data={"form_key": client.cookies["form"]}, headers=headers)
        assert answer.status_code == 403
    assert SERVICE.calls == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("who", ["", "resident-2", "made-up"])
def test_nothing_of_another_residents_charge_is_ever_shown_or_done(client: Client, method: str, who: str) -> None:
    """Every route that names a charge: as another resident, as nobody, and with a token that is none."""
    if who:
        client.cookies.set("resident", who)
    client.get("/")
    named = [path for path in routes(method) if "session_id" in path]
    assert named
    for path in named:
        fields = {"form_key": client.cookies["form"]}
        answer = client.get(filled(path)) if method == "GET" else client.post(filled(path), data=fields)
        assert answer.status_code in (303, 404), path
        if who == "resident-2":
            assert answer.status_code == 404, path
        assert "DEMO-1-20261124" not in answer.text, path
    assert [call for call in SERVICE.calls if call[0] in ("stop", "start")] == []


def test_what_is_not_yours_and_what_is_not_there_look_the_same(client: Client) -> None:
    client.cookies.set("resident", "resident-2")
    there, nowhere = client.get(f"/charge/{MINE}"), client.get("/charge/nothing-of-that-name")
    assert (there.status_code, _text(there)) == (nowhere.status_code, _text(nowhere))


def _text(answer: httpx.Response) -> str:
    return Page(answer.text).text


@pytest.mark.parametrize("path", [path for path in routes("GET") if path not in OPEN and not path.endswith(ENDLESS)])
def test_every_page_asks_who_it_is_or_shows_nothing_of_anybody(client: Client, path: str) -> None:
    answer = client.get(filled(path))
    if path.startswith("/property") and path != "/property/sign-in":
        assert answer.headers.get("location") == "/property/sign-in", path
    if path.startswith("/api/v1"):
        assert answer.status_code == 401, path
    if "session_id" in path:
        assert answer.headers["location"].startswith("/sign-in?to=")
    assert answer.headers["cache-control"] == "no-store" or answer.status_code == 401


@pytest.mark.parametrize("path", [path for path in routes("GET") if path not in OPEN and not path.endswith(ENDLESS)])
@pytest.mark.parametrize("who", ["nobody", "resident", "staff"])
def test_no_page_has_anything_inline(client: Client, path: str, who: str) -> None:
    """The content security policy would stop it, and the page would not work."""
    if who != "nobody":
        client.cookies.set(who, f"{who}-1")
    answer = client.get(filled(path))
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return
    for tag, attributes in Page(answer.text).elements:
        assert tag != "style", path
        assert tag != "script" or attributes.get("src", "").startswith("/static/"), path
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (path, tag)
        assert not attributes.get("href", "").lower().startswith(("javascript:", "data:")), path


@pytest.mark.parametrize(
    "evil",
    ["/%0d%0aSet-Cookie:%20a=b", "/s/C5T4%0d%0aX-Evil:%201", "/?code=A%0d%0aX-Evil:%201", "/charge/%2e%2e%2fproperty",
     "/s/..%2f..%2fproperty", "/static/%2e%2e/%2e%2e/site.py", "/static/..%5c..%5csite.py", "/static//etc/passwd",
     "/static/%00", "//evil.example/", "/s/%00", "/sim?outlet=1&did=%0d%0aX-Evil:1"],
)  # fmt: skip
def test_an_address_injects_no_header_and_reaches_no_file(client: Client, evil: str) -> None:
    answer = client.get(evil)
    assert answer.status_code in (200, 303, 400, 404)
    assert "x-evil" not in answer.headers
    assert "a=b" not in answer.headers.get("set-cookie", "")
    assert "import" not in answer.text
    assert "evil.example" not in answer.headers.get("location", "")


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\r\nX-Evil: 1",
     "javascript:alert(1)", "/%0d%0aX-Evil:%201\r\n", "http:evil.example", " //evil.example", "/\tevil"],
)  # fmt: skip
def test_after_signing_in_nobody_is_sent_elsewhere(client: Client, to: str) -> None:
    client.get("/")
    fields = {"form_key": client.cookies["form"], "card": "1001", "pin": "2468", "to": to}
    answer = client.post("/sign-in", data=fields)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", 'a"><script>', "evil.example/x", "a b"])
def test_a_host_that_is_made_up_gets_into_no_page(client: Client, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert host not in answer.text


def test_wrong_sign_ins_say_the_same_whoever_is_meant(client: Client) -> None:
    client.get("/")
    key = client.cookies["form"]
    for path, known, unknown, secret in (
        ("/sign-in", "1001", "9999", "pin"),
        ("/property/sign-in", "manager", "nobody", "password"),
    ):
        name = "card" if secret == "pin" else "name"
        answers = [
            client.post(path, data={"form_key": key, name: who, secret: "wrong-wrong"}) for who in (known, unknown)
        ]
        first, second = (_text(answer).replace(who, "") for answer, who in zip(answers, (known, unknown), strict=True))
        assert answers[0].status_code == answers[1].status_code == 401
        assert first == second


@pytest.mark.parametrize("path", [path for path in routes("GET") if not path.endswith(ENDLESS)])
def test_head_is_answered_wherever_get_is_with_the_same_headers_and_no_body(client: Client, path: str) -> None:
    client.cookies.set("resident", "resident-1")
    client.cookies.set("staff", "staff-1")
    client.get("/")
    get, head = client.get(filled(path)), client.head(filled(path))
    assert (head.status_code, head.content) == (get.status_code, b"")
    same = {name: value for name, value in get.headers.items() if name not in ("etag", "content-length")}
    assert {name: head.headers.get(name) for name in same} == same


@pytest.mark.parametrize("path", ["/s/C5T4/live", "/property/live", "/sim/live"])
def test_head_of_a_live_page_comes_to_an_end_and_holds_no_place(client: Client, path: str) -> None:
    client.cookies.set("staff", "staff-1")
    for _ in range(60):  # more than one address may have
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_method_that_is_not_there_is_told_of_those_that_are(client: Client) -> None:
    answer = client.delete("/")
    assert answer.status_code == 405
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
