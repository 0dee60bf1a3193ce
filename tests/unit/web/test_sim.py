"""The simulator's page: plays with a simulated cabinet, and does not exist on a real one."""

import asyncio
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from litestar.testing import TestClient

from cabinet import texts
from cabinet.clock import ManualClock
from cabinet.commands.playground import KINDS, THERMOMETERS, SimulatorClient
from cabinet.commands.serve import _simulator
from cabinet.config import check
from cabinet.config.keys import Config
from cabinet.errors import Refused
from cabinet.sim.faults import FAULTS
from cabinet.sim.journal import KINDS as RECORDS
from cabinet.web.sim import ACTIONS, DONE
from cabinet.web.site import create_app
from cabinet_testing.fake_service import FakeService
from cabinet_testing.fake_simulator import FakeSimulator
from cabinet_testing.html_page import page, send

Client = TestClient[Any]


@pytest.fixture
def simulator() -> FakeSimulator:
    return FakeSimulator()


@pytest.fixture
def client(config: Config, simulator: FakeSimulator) -> Iterator[Client]:
    service = FakeService()
    with TestClient(create_app(service, config, simulator), raise_server_exceptions=False) as client:
        client.follow_redirects = False
        client.headers["accept-language"] = "zh-CN"
        yield client


@pytest.fixture(scope="session")
def real_config() -> Config:
    return check.parse((resources.files("cabinet") / "examples" / "cabinet.toml").read_text(encoding="utf-8"))


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/sim", "/sim/live", "/sim/", "/sim?outlet=3"])
def test_a_cabinet_with_real_hardware_has_no_such_page(real_config: Config, path: str) -> None:
    assert _simulator(real_config) is None
    service = FakeService()
    app = create_app(service, real_config, _simulator(real_config))
    assert [route.path for route in app.routes if "sim" in route.path] == []
    with TestClient(app) as client:
        assert client.get(path).status_code == 404
        assert send(client, path.partition("?")[0], do="short", outlet="3", amount="60").status_code in (404, 405)


def test_a_cabinet_with_real_hardware_cannot_be_given_one(real_config: Config, simulator: FakeSimulator) -> None:
    service = FakeService()
    with pytest.raises(ValueError, match="real hardware"):
        create_app(service, real_config, simulator)


def test_one_with_simulated_hardware_has_it(config: Config) -> None:
    assert isinstance(_simulator(config), SimulatorClient)


# --- what it shows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_shows_every_outlet_as_it_really_is(client: Client, language: str) -> None:
    client.cookies.set("language", language)
    shown = page(client.get("/sim"))
    assert shown.mistakes == []
    assert [each["sse-swap"] for each in shown.all("a") if "sse-swap" in each] == [f"outlet-{n}" for n in range(1, 7)]
    for words in {
        "zh": ("玩具电池", "63 %", "152 瓦", "短路", "继电器粘连", "空气开关已跳"),
        "en": ("Toy battery", "63 %", "152 W", "short circuit", "relay welded", "Breaker tripped"),
    }[language]:
        assert words in shown.text


def test_the_last_events_say_how_many_milliseconds_the_guard_took(client: Client) -> None:
    shown = page(client.get("/sim")).text
    assert "+13.2 毫秒 3 号：控制器让继电器断开" in shown
    assert "+21.5 毫秒 3 号：电流归零" in shown


def test_every_action_says_what_to_expect_in_both_languages() -> None:
    for language in texts.LANGUAGES:
        known = texts.table("sim", language)
        wanted = {f"sim.{action}.{what}" for action in ACTIONS for what in ("name", "expect")}
        wanted |= {f"sim.done.{done}" for done in DONE}
        assert wanted - set(known) == set()


def test_everything_the_simulator_has_is_named_in_words(config: Config) -> None:
    known = texts.table("sim", "zh")
    loads = {f"sim.load.{load.replace(':', '-')}" for load in SimulatorClient(config, ManualClock()).loads()}
    records = {f"sim.event.{kind}" for kind in RECORDS} - {
        "sim.event.fault", "sim.event.alert", "sim.event.mux_reset", "sim.event.unmodelled"
    }  # fmt: skip
    faults = {f"sim.fault.{kind}" for kind in (*KINDS.values(), *THERMOMETERS.values())}
    assert (loads | records | faults) - set(known) == set()
    assert set(KINDS.values()) | set(THERMOMETERS.values()) <= set(FAULTS)


def test_no_simulator_is_said_and_not_a_bug(client: Client, simulator: FakeSimulator) -> None:
    simulator.gone = True
    answer = client.get("/sim")
    assert answer.status_code == 503
    assert "模拟器没有响应" in page(answer).text


def test_the_drawing_goes_on_by_events_until_the_simulator_is_gone(client: Client, simulator: FakeSimulator) -> None:
    simulator.looks_left = 1
    answer = client.get("/sim/live")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert {"event: feed", "event: events", "event: outlet-1", "event: outlet-6"} <= set(answer.text.splitlines())


# --- what it does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        ({"do": "plug", "load": "demo", "charge": "40", "speed": "10"}, ("plug", 1, "demo", 40.0, 10.0)),
        ({"do": "short", "amount": "60"}, ("short", 1, 60.0, "silent")),
        ({"do": "overload", "amount": "9"}, ("overload", 1, 9.0, "silent")),
        ({"do": "weld"}, ("weld", 1, 0.0, "silent")),
        ({"do": "thermometer", "thermometer": "stuck"}, ("thermometer", 1, 0.0, "stuck")),
        ({"do": "mains_cut", "amount": "5"}, ("mains_cut", 1, 5.0, "silent")),
        ({"do": "smoke"}, ("smoke", 1, 0.0, "silent")),
        ({"do": "clear"}, ("clear", 1)),
        ({"do": "clear_all"}, ("clear", None)),
    ],
)
def test_a_form_does_it_and_comes_back_to_say_what_to_look_for(
    client: Client, simulator: FakeSimulator, fields: dict[str, str], call: tuple[object, ...]
) -> None:
    answer = send(client, "/sim", outlet="1", **fields)
    assert simulator.calls == [call]
    assert answer.headers["location"] == f"/sim?outlet=1&did={fields['do']}"
    said = page(client.get(answer.headers["location"]))
    assert said.all("p", role="status", **{"class": "notice done"})


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"do": "plug", "outlet": "3", "load": "demo", "charge": "40", "speed": "1"}, 409, "已经插着充电器"),
        ({"do": "unplug", "outlet": "1"}, 409, "没有插充电器"),
        ({"do": "plug", "outlet": "1", "load": "replay:/etc/passwd", "charge": "4", "speed": "1"}, 400, "没有看懂"),
        ({"do": "plug", "outlet": "1", "load": "demo", "charge": "101", "speed": "1"}, 400, "没有看懂"),
        ({"do": "short", "outlet": "1", "amount": "2001"}, 400, "没有看懂"),
        ({"do": "short", "outlet": "1", "amount": "-1"}, 400, "没有看懂"),
        ({"do": "short", "outlet": "1"}, 400, "没有看懂"),
        ({"do": "thermometer", "outlet": "1", "thermometer": "x"}, 400, "没有看懂"),
        ({"do": "explode", "outlet": "1"}, 400, "没有看懂"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page_and_nothing_is_done(
    client: Client, simulator: FakeSimulator, fields: dict[str, str], status: int, words: str
) -> None:
    answer = send(client, "/sim", **fields)
    assert answer.status_code == status
    assert words in page(answer).text
    assert simulator.calls == []


def test_a_form_that_is_not_ours_does_nothing(client: Client, simulator: FakeSimulator) -> None:
    client.get("/sim")
    assert client.post("/sim", data={"do": "short", "outlet": "1", "amount": "60"}).status_code == 403
    assert simulator.calls == []


def test_what_was_done_is_one_of_our_words(client: Client) -> None:
    assert "alert(1)" not in client.get("/sim", params={"did": "<script>alert(1)</script>"}).text


# --- the port over the simulator's socket -----------------------------------------------------------------------------


@pytest.mark.parametrize("load", ["replay:/etc/passwd", "random:1", "nothing", "", "resistor:99999"])
def test_no_file_and_no_load_of_its_own_making_can_be_plugged_in(config: Config, load: str) -> None:
    with pytest.raises(Refused, match="bad_request"):
        asyncio.run(SimulatorClient(config, ManualClock()).plug(1, load, 40.0, 1.0))
