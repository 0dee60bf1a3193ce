"""Pages with input that no honest browser sends, and their headers that make browsers refuse content."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from cabinet.config.keys import Config
from cabinet.web.site import CONTENT_SECURITY_POLICY, HEADERS, MAX_BODY, create_app
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import page, send
from cabinet_testing.property_posts import PROPERTY_POSTS

Client = TestClient[Any]

POSTS = [
    "/s/A7K2/start", "/s/A7K2/leave", "/sign-in", "/sign-in/guest", "/sign-out", "/preferences", "/charge/s1/stop",
    *PROPERTY_POSTS,
]  # fmt: skip


def test_the_list_of_posts_is_complete(client: Client) -> None:
    posts = {route.path_format for route in client.app.routes if "POST" in getattr(route, "methods", ())}
    listed = {re.sub(r"/(A7K2|s1|1)(?=/|$)", "/{}", path) for path in POSTS}
    assert {re.sub(r"{\w+}", "{}", path) for path in posts} == listed


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "forged",
    [
        {"kind": "full"},
        {"form_key": ""},
        {"form_key": "x" * 32},
        {"form_key": "密钥"},
    ],
    ids=["no key", "empty key", "another key", "a key that is not ASCII"],
)
def test_a_form_without_the_key_of_our_page_does_nothing(
    resident: Client, service: FakeService, path: str, forged: dict[str, str]
) -> None:
    service.session_views["s1"] = (1, fake_service.session("s1"))
    resident.get("/")
    answer = resident.post(path, data=forged)
    assert answer.status_code == 403
    assert "页面已过期，什么都没有改变" in page(answer).text
    assert service.calls == []


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_another_site_does_nothing_even_with_the_key(
    resident: Client, service: FakeService, path: str, headers: dict[str, str]
) -> None:
    service.session_views["s1"] = (1, fake_service.session("s1"))
    resident.get("/")
    answer = resident.post(path, data={"form_key": resident.cookies["form"]}, headers=headers)
    assert answer.status_code == 403
    assert service.calls == []


@pytest.mark.parametrize("origin", ["http://testserver.local", "http://127.0.0.1:8080"])
def test_a_form_from_this_host_or_the_public_address_passes(client: Client, origin: str) -> None:
    client.get("/")
    fields = {"form_key": client.cookies["form"], "language": "en"}
    headers = {"origin": origin, "sec-fetch-site": "same-origin"}
    assert client.post("/preferences", data=fields, headers=headers).status_code == 303


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"kind": "full"'),
        ("application/json", b'{"kind": "full"}'),
        ("application/x-www-form-urlencoded", b"kind=%ff%fe"),
        ("application/x-www-form-urlencoded", b"\xff\xfe=1"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(100))),
        ("multipart/form-data", b"--x"),
        ("", b"kind=full"),
    ],
    ids=["malformed JSON", "JSON", "escapes that are not UTF-8", "not UTF-8", "100 fields", "multipart", "no type"],
)
def test_a_body_that_is_no_form_is_refused_in_the_readers_language(
    resident: Client, service: FakeService, path: str, content_type: str, body: bytes
) -> None:
    answer = resident.post(path, content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert "没有看懂这个请求" in page(answer).text
    assert service.calls == []


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_body_that_is_too_large_is_refused(client: Client, service: FakeService, path: str, language: str) -> None:
    client.cookies.set("language", language)
    answer = send(client, path, name="x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert {"zh": "发送的内容太大", "en": "too large"}[language] in page(answer).text
    assert service.calls == []


def test_a_body_without_a_length_is_measured_as_it_comes(client: Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024

    answer = client.post("/sign-in", content=endless(), headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/s/", 404),
        ("GET", "/static/../site.py", 404),
        ("GET", "/static/%2e%2e/site.py", 404),
        ("GET", "/static/nothing.css", 404),
        ("POST", "/s/A7K2", 405),
        ("GET", "/sign-out", 405),
        ("DELETE", "/account", 405),
        ("PUT", "/charge/s1/stop", 405),
    ],
)
def test_addresses_and_methods_that_do_not_exist_get_a_page(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert "没有成功" in page(answer).text
    assert page(answer).all("a", href="/")
    english = client.request(method, path, headers={"accept-language": "en"})
    assert "That did not work" in page(english).text


def test_a_bug_is_an_apology_without_its_insides(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: str) -> None:
        raise ValueError("secret insides")

    monkeypatch.setattr(service, "price", broken)
    answer = client.get("/s/A7K2")
    assert answer.status_code == 500
    assert "请稍后再试" in page(answer).text
    assert "secret" not in answer.text
    assert "secret insides" in caplog.text


ANSWERS = [
    "/",
    "/s/A7K2",
    "/s/ZZZZ",
    "/nowhere",
    "/account",
    "/api/v1/usage",
    "/api/schema",
    "/healthz",
    "/static/site.css",
]


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_carries_the_headers_that_protect(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers.get(name) for name in HEADERS} == HEADERS


def test_the_content_policy_allows_nothing_inline_and_no_other_host() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(
        CONTENT_SECURITY_POLICY.split("; ")
    )


@pytest.mark.parametrize("path", ["/", "/s/A7K2", "/s/ZZZZ", "/healthz", "/account"])
def test_pages_are_kept_by_no_cache(client: Client, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "no-store"


def test_whatever_people_type_is_shown_and_never_run(client: Client) -> None:
    script = '"><script>alert(1)</script>'
    answer = send(client, "/sign-in", card=script, pin="1", to=script)
    assert "<script>alert" not in answer.text
    assert page(answer).all("input", name="card", value=script)
    assert page(answer).all("input", name="to", value="/")


def test_over_https_cookies_never_travel_without_it(config: Config) -> None:
    secure = msgspec.structs.replace(
        config, site=msgspec.structs.replace(config.site, public_url="https://cabinet.example")
    )
    service = FakeService()
    with TestClient(create_app(service, secure), base_url="https://cabinet.example") as client:
        client.follow_redirects = False
        first = client.get("/")
        assert first.headers["strict-transport-security"] == "max-age=31536000"
        fields = {"form_key": client.cookies["__Host-form"], "card": "1001", "pin": "2468"}
        answer = client.post("/sign-in", data=fields)
        cookies = [*first.headers.get_list("set-cookie"), *answer.headers.get_list("set-cookie")]
    assert [cookie.partition("=")[0] for cookie in cookies] == ["__Host-form", "__Host-resident"]
    assert all({"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; ")) for cookie in cookies)


def test_search_engines_are_sent_away(client: Client) -> None:
    assert client.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"
    assert page(client.get("/")).all("meta", name="robots", content="noindex, nofollow")
