"""Requests of a program on the serial line, and their replies."""

import msgspec
import pytest

from cabinet.link.guard_protocol import ClearLatch
from cabinet.model import Fault
from cabinet_testing.console_line import LOGIN
from cabinet_testing.console_snapshots import outlet, snapshot


def test_one_request_is_one_line_of_reply_without_echo_or_prompt(program):
    shown = program.type(b"outlet 3\r")
    assert shown.endswith("\r\n")
    assert shown.count("\r\n") == 1
    answer = msgspec.json.decode(shown)
    assert (answer["ok"], answer["data"]["outlet"]["session_id"]) == (True, "S-1")


def test_noise_in_a_request_is_a_refusal_and_in_a_reply_no_json(program):
    """There is no checksum: a broken request names no command, and a broken line of a reply is no JSON."""
    assert msgspec.json.decode(program.type(b"off\xff 3\r"))["code"] == "unknown_command"
    assert program.guard.asked == []
    reply = program.type(b"faults\r").strip()
    for cut in range(1, len(reply)):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(reply[:cut])


def test_what_needs_a_yes_needs_it_in_the_request(program):
    assert msgspec.json.decode(program.type(b"clear 5\r"))["code"] == "confirm"
    assert program.guard.asked == []
    assert msgspec.json.decode(program.type(b"clear 5 --yes\r"))["ok"] is True
    assert program.guard.asked == [ClearLatch(7, 5, "console:tech")]


def test_dialogues_and_live_pictures_are_for_people(program):
    for asked in (b"watch\r", b"pin\r"):
        assert msgspec.json.decode(program.type(asked))["code"] == "for_people"


@pytest.mark.parametrize("asked", [b"xyzzy\r", b"outlet 99\r", b"off\r", b"x" * 300 + b"\r", b"--json --json\r"])
def test_what_cannot_be_done_is_a_line_with_a_code(program, asked):
    (shown,) = program.type(asked).splitlines()
    assert msgspec.json.decode(shown)["ok"] is False


def test_options_without_a_command_are_no_command_and_end_no_login(line):
    line.type(LOGIN)
    assert '"code":"unknown_command"' in line.type(b"--json --json\r")
    assert "Outlet 3" in line.type(b"outlet 3\r")


def test_guard_gone_is_a_code(program):
    program.guard.gone = True
    assert msgspec.json.decode(program.type(b"status\r"))["code"] == "guard_gone"


def test_notices_to_a_program_are_lines_of_their_own(program):
    program.type(b"notices on\r")
    program.guard.cabinet.shown = snapshot(outlet(7, fault=Fault.OUTLET_HOT, latched=True))
    told = [msgspec.json.decode(told[1:]) for told in program.tick(2).splitlines()]
    assert {"code": "fault", "outlet": 7, "fault": "outlet_hot", "latched": True} in [each["notice"] for each in told]


def test_program_at_a_terminal_with_line_editing_recalls_and_completes_nothing(full):
    full.type(b"off 1\r")
    assert full.type(b"machine\r").endswith('{"ok":true,"data":"machine"}\r\n')
    full.guard.asked.clear()
    assert full.type(b"\x1b[A\r") == ""
    assert msgspec.json.decode(full.type(b"fau\t\r"))["code"] == "unknown_command"
    assert full.guard.asked == []


def test_terminal_plain_ends_the_machine_mode(program):
    assert "SG-1> " in program.type(b"terminal plain\r")


def test_json_on_every_reading_command_is_one_line(line):
    from cabinet.console.registry import COMMANDS

    line.type(LOGIN)
    for plan in COMMANDS.values():
        if plan.reads and plan.name != "watch":
            shown = line.type(f"{plan.example} --json\r".encode()).split("\r\n")
            answer = msgspec.json.decode(shown[1])
            assert answer["ok"] or answer["code"] in ("service_gone", "steward_gone", "unknown_trip", "guard_gone"), (
                plan.name
            )
