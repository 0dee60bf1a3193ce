"""Every page in both languages: well-formed, complete, without anything inline, and usable without the bundle."""

from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet.config.keys import Config
from cabinet.model import EndReason, Fault
from cabinet.web import assets, site
from cabinet_testing import fake_service
from cabinet_testing.fake_service import FakeService
from cabinet_testing.html_page import Page, page, send

Client = TestClient[Any]

ALL = [
    "/", "/s/A7K2", "/s/B3M9", "/s/C5T4", "/s/D8R6", "/s/E2W7", "/s/F9H3", "/s/ZZZZ", "/sign-in", "/account",
    "/nowhere", "/charge/waiting", "/charge/running", "/charge/suspended", "/charge/full", "/charge/tripped",
    "/property", "/property/sign-in",
]  # fmt: skip


@pytest.fixture
def everybody(client: Client, service: FakeService) -> Client:
    """A browser where a resident and the manager are signed in, with a charge of every shape."""
    client.cookies.set("resident", "resident-1")
    client.cookies.set("staff", "staff-1")
    for view in (
        fake_service.session("waiting", state="waiting_for_load", wait_left_s=97, lines=[]),
        fake_service.session("running", choice="amount", choice_amount=300),
        fake_service.session("suspended", state="suspended", choice="hours", choice_amount=7200),
        fake_service.settled("full"),
        fake_service.settled("tripped", EndReason.TRIPPED, fault=Fault.OUTLET_HOT),
    ):
        service.session_views[view.session_id] = (1, view)
    return client


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("path", ALL)
def test_a_page_is_well_formed_and_holds_nothing_inline(everybody: Client, path: str, language: str) -> None:
    everybody.cookies.set("language", language)
    answer = everybody.get(path)
    shown = page(answer)
    assert shown.mistakes == []
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert all("src" in attributes for attributes in shown.all("script"))
    assert shown.all("style") == []
    inline = [
        (tag, name) for tag, attributes in shown.elements for name in attributes if name == "style" or name[:2] == "on"
    ]
    assert inline == []


@pytest.mark.parametrize("path", ALL)
def test_a_page_speaks_one_language(everybody: Client, path: str) -> None:
    def has_chinese(text: str) -> bool:
        return any("\u4e00" <= character <= "\u9fff" for character in text)

    everybody.cookies.set("language", "en")
    english = page(everybody.get(path))
    assert english.all("html")[0]["lang"] == "en"
    assert [words for words in english.words if has_chinese(words)] == ["中文"]  # the switch back
    everybody.cookies.set("language", "zh")
    chinese = page(everybody.get(path))
    assert chinese.all("html")[0]["lang"] == "zh-Hans"
    assert has_chinese(chinese.text)


@pytest.mark.parametrize("path", ALL)
def test_a_page_loads_only_what_is_there(everybody: Client, path: str) -> None:
    shown = page(everybody.get(path))
    addresses = [found["src"] for found in shown.all("script")]
    addresses += [found["href"] for found in shown.all("link")]
    for address in addresses:
        answer = everybody.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ALL)
def test_every_form_of_a_page_carries_its_key(everybody: Client, path: str) -> None:
    shown = page(everybody.get(path))
    forms = shown.all("form", method="post")
    assert len(shown.all("input", name="form_key", value=everybody.cookies["form"])) == len(forms) >= 1


@pytest.mark.parametrize("path", ALL)
def test_every_field_has_a_label(everybody: Client, path: str) -> None:
    shown = page(everybody.get(path))
    fields = [found for tag in ("input", "select") for found in shown.all(tag) if found.get("type") != "hidden"]
    assert len(shown.all("label")) == len(fields)


def test_pages_work_without_the_bundle(service: FakeService, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = assets.Assets()
    for name in [name for name in bare._assets if name.startswith("dist/")]:
        del bare._assets[name]
    monkeypatch.setattr(site, "Assets", lambda: bare)
    service.session_views["s1"] = (1, fake_service.session("s1"))
    with TestClient(site.create_app(service, config)) as client:
        client.cookies.set("resident", "resident-1")
        client.cookies.set("staff", "staff-1")
        for path in ("/s/A7K2", "/charge/s1", "/property"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert page(answer).all("script") == []
        assert page(client.get("/charge/s1")).all("polyline")


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("", "zh-Hans"),
        ("en-GB,en;q=0.9", "en"),
        ("fr-FR,en;q=0.5,zh;q=0.3", "en"),
        ("fr-FR", "zh-Hans"),
        ("en;q=0.2,zh-TW;q=0.8", "zh-Hans"),
        ("en;q=0", "zh-Hans"),
        ("en;q=lots,;;,=", "zh-Hans"),
        ("x" * 5000, "zh-Hans"),
    ],
)
def test_the_first_language_is_the_browsers_else_chinese(client: Client, accepts: str, language: str) -> None:
    shown = page(client.get("/", headers={"accept-language": accepts}))
    assert shown.all("html")[0]["lang"] == language


def test_the_language_switch_is_kept_and_comes_back_to_the_page(client: Client) -> None:
    shown = page(client.get("/s/A7K2"))
    back = shown.all("input", name="back")[0]["value"]
    answer = send(client, "/preferences", language="en", back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/s/A7K2")
    assert "Outlet 1" in page(client.get("/s/A7K2")).text


def test_the_size_switch_makes_all_text_large_and_back(client: Client) -> None:
    send(client, "/preferences", size="large", back="/")
    assert page(client.get("/")).all("html")[0]["class"] == "large"
    send(client, "/preferences", size="normal", back="/")
    assert "class" not in page(client.get("/")).all("html")[0]


def test_a_preference_that_does_not_exist_changes_nothing(client: Client) -> None:
    answer = send(client, "/preferences", language="xx", size="huge")
    assert answer.status_code == 400
    assert "language" not in client.cookies


def test_the_chart_is_loaded_only_where_a_curve_is_shown(everybody: Client) -> None:
    def scripts(path: str) -> str:
        return " ".join(found["src"] for found in page(everybody.get(path)).all("script"))

    assert "chart" not in scripts("/s/A7K2") + scripts("/property") + scripts("/account")


def test_files_are_sent_compressed_to_those_who_take_it(client: Client) -> None:
    plain = client.get("/static/site.css", headers={"accept-encoding": "identity"})
    packed = client.get("/static/site.css", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    assert "immutable" not in plain.headers["cache-control"]  # without its hash it may change


def test_the_test_reader_finds_a_tag_that_is_not_closed() -> None:
    assert Page("<p><b>x</p>").mistakes
