"""Commands of `see` if something is missing, and their data for programs."""

import re

import msgspec
import pytest

from cabinet.clock import NS, WallTime
from cabinet.config.reference import example
from cabinet.console.commands.chart import chart
from cabinet.console.commands.margins import nearness
from cabinet.console.registry import COMMANDS
from cabinet.console.terminal.columns import cut, fold, table, width
from cabinet.link.service_protocol import AuditAnswer, AuditLine, DayEnergy, Energy
from cabinet.model import Event, EventKind, Fault, Quality, Reading
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import (
    BUS,
    CHARGING,
    CONFIG,
    SHORTED,
    FakeServiceClient,
    ok,
    outlet,
    snapshot,
)
from cabinet_testing.fake_guard import FakeGuard


def harness(folder, language: str, records: FakeServiceClient) -> ConsoleHarness:
    source = folder / "cabinet.toml"
    source.write_text(example().replace("# baud = 115200", "baud = 9600"), encoding="utf-8")
    fake = FakeGuard.showing(snapshot(CHARGING, SHORTED))
    return ConsoleHarness(fake, folder, language=language, records=records, source=source)


def json_of(terminal: ConsoleHarness, line: str):
    return msgspec.json.decode(terminal.say(f"{line} --json"))


@pytest.fixture
def terminal(tmp_path):
    return harness(tmp_path, "en", FakeServiceClient())


def test_nearest_limit_comes_first_and_unknown_last():
    state = outlet(3, current_ma=ok(5_000), temperature_mc=ok(70_000), peak_ma=Reading(None, NS, Quality.FAULT))
    near = nearness(state, CONFIG)
    assert [(each.name, each.percent) for each in near][:2] == [("temperature_mc", 93), ("current_ma", 62)]
    assert near[-1].percent is None


def test_voltage_is_near_the_bound_it_is_nearer_to():
    low = next(n for n in nearness(outlet(3, voltage_mv=ok(180_000)), CONFIG) if n.name == "voltage_mv")
    high = next(n for n in nearness(outlet(3, voltage_mv=ok(260_000)), CONFIG) if n.name == "voltage_mv")
    assert (low.limit, low.percent) == (176_000, 90)
    assert (high.limit, high.percent) == (264_000, 90)


def test_config_says_file_and_line_or_default(terminal):
    rows = {row["key"]: row for row in json_of(terminal, "config")["data"]}
    assert rows["site.site_id"]["file"].endswith("cabinet.toml")
    line = rows["outlet[3].relay"]["line"]
    assert 'relay = "expander:0x20/2"' in example().splitlines()[line - 1]
    assert rows["guard.scan_period_s"]["line"] is None
    assert "default" in terminal.say("config guard")
    shown = terminal.say("config")
    assert any(
        re.fullmatch(rf"outlet\[3\]\.relay +line {line} +\"expander:0x20/2\"", each) for each in shown.splitlines()
    )
    assert "…" not in shown, "nothing is cut"
    assert "10000000" in terminal.say("config hardware.relay_mechanical_operations")
    assert terminal.say("config nonsense") == "No key of the configuration begins like that; config lists them all."


def test_bus_shows_what_failed_and_a_stranger(terminal):
    sick = msgspec.structs.replace(
        BUS.segments[1], up=False, errors={"ETIMEDOUT": 3}, last_error="ADE7953 at 0x38: ETIMEDOUT", last_error_ns=NS
    )
    terminal.guard.cabinet.bus = msgspec.structs.replace(BUS, segments=[BUS.segments[0], sick], errors=3)
    shown = terminal.say("bus")
    assert "DOWN" in shown
    assert "ETIMEDOUT:3" in shown
    assert "segment 0x70/1, 1 s ago: ADE7953 at 0x38: ETIMEDOUT" in shown
    assert terminal.guard.cabinet.scans == 0
    terminal.say("bus scan")
    assert terminal.guard.cabinet.scans == 1


def test_sensors_give_the_raw_registers_by_name(terminal):
    data = json_of(terminal, "sensors 1")["data"]["outlets"]
    assert [row["outlet"] for row in data] == [1]
    assert data[0]["raw"] == {"IRMSA": 1200, "AWATT": 140, "VRMS": 5_621_000, "T@0x48": 0x1970}


def test_log_tells_events_with_their_moment(terminal):
    happened = Event("run", 1, NS, EventKind.TRIPPED, outlet=5, fault=Fault.SHORT_CIRCUIT, latched=True)
    terminal.guard.cabinet.events.add(happened)
    assert terminal.say("log").endswith("Outlet 5  tripped  Short circuit, latched")


def test_sessions_are_the_guards_where_the_service_is_dead(terminal):
    shown = terminal.say("sessions")
    assert shown.splitlines()[0] == "The service does not answer; these are the guard's charges:"
    assert " 3  S-1 " in shown
    assert json_of(terminal, "sessions")["data"]["guard"][0]["session_id"] == "S-1"


def test_energy_shows_what_either_knows(tmp_path):
    days = Energy([DayEnergy("2026-11-25", {3: 1_500_000})])
    terminal = harness(tmp_path, "en", FakeServiceClient(days))
    assert "1.123" in terminal.say("energy")
    terminal.guard.gone = True
    shown = terminal.say("energy")
    assert "1.500" in shown
    assert "The guard does not answer: no counters." in shown


@pytest.mark.parametrize("line", ["usage tail", "audit"])
def test_what_only_the_service_knows_is_said_to_be_away(terminal, line):
    assert terminal.say(line).startswith("The service does not answer; only it knows that.")


def test_trip_that_does_not_exist(terminal):
    assert terminal.say("trip 7") == "There is no such recording; trips lists them."


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "line",
    [*(spec.example for spec in COMMANDS.values() if spec.reads),
     "outlet 5", "sensors", "config", "config site", "config protections", "help"],
)  # fmt: skip
def test_every_screen_keeps_to_80_columns(tmp_path, language, line):
    terminal = harness(tmp_path, language, FakeServiceClient())
    too_wide = [shown for shown in terminal.say(line).splitlines() if width(shown) > 80]
    assert too_wide == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_audit_shows_what_others_typed_as_text(tmp_path, language):
    """Text that an older version, or an editor of the file, may have left in the store."""
    hostile = "\x1b]0;x\x07\x1b[2J\u202e\nforged\x9b"
    at = WallTime(1_780_000_000_000, True)
    line = AuditLine(1, at, hostile, "operator", "console", "top_up", hostile, hostile)
    terminal = harness(tmp_path, language, FakeServiceClient(AuditAnswer([line])))
    shown = terminal.say("audit")
    assert len(shown.splitlines()) == 2
    assert "\ufffd]0;x\ufffd\ufffd[2J\ufffd\ufffdforged\ufffd" in shown
    assert re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown + terminal.say("audit --json")) == []
    assert json_of(terminal, "audit")["data"][0]["detail"] == hostile, "a program gets every character"


@pytest.mark.parametrize("line", ["status", "outlet 3", "unlock 3", "outlet 3 --json"])
def test_note_of_an_outlet_is_text_in_every_answer(terminal, line):
    terminal.guard.cabinet.shown = snapshot(outlet(3, note="socket \x1b[2J\u202ebroken\x9b"))
    shown = terminal.say(line)
    assert re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown) == []
    assert "broken" in shown or line == "status"


def test_full_width_letters_of_a_program_are_understood(terminal):
    assert msgspec.json.decode(terminal.shell.machine_line("ＯＵＴＬＥＴ　３"))["ok"] is True


def test_layout():
    assert cut("充电柜", 5) == "充电…"
    assert fold("a " * 60, "  ") == [("  " + "a " * 39).rstrip(), ("  " + "a " * 21).rstrip()]
    assert table(["n", "name"], [["1", "充电"], ["10", "x"]], right=[0]) == [" n  name", " 1  充电", "10  x"]


def test_chart_shows_the_highest_of_each_column_and_the_limit():
    lines = chart([(-90.0, 1.0), (0.0, 60.0), (0.5, 20.0), (90.0, 2.0)], -100, 100, "A", "ms", 30.0)
    assert max(map(len, lines)) <= 80
    top = lines[0]
    assert top.count("#") == 1
    assert [line.split("|")[0].strip() for line in lines if "|" in line] == ["60", "", "", "40", "", "", "20", "", ""]
    assert top.startswith("    60 |")
    assert sum("-" * 20 in line for line in lines) == 1
    assert "^" in lines[-2]
