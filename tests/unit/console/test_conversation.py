"""The console at a terminal: plain lines, edited lines, pages, live pictures, requests of a program, fuzz."""

import gc
import random
import re
import tracemalloc

import msgspec
import pytest

from cabinet.console.terminal.session import QUERY_DEVICE, QUERY_SIZE
from cabinet.link.guard_protocol import ClearLatch, Open
from cabinet.model import EndReason, Fault
from cabinet_testing.console_line import IT_IS_A_TERMINAL, LOGIN, OF_24_BY_80, ConsoleLine
from cabinet_testing.console_snapshots import CHARGING, CONFIG, SHORTED, outlet, snapshot

QUICK = 20_000  # random bytes in a quick test; the campaign sends a million


def seen(shown: str) -> str:
    """Return the text without cursor movements and colours."""
    return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])", "", shown)


# --- what the terminal is --------------------------------------------------------------------------------------------


def test_terminal_is_asked_after_the_login_only_and_answers_are_followed(tmp_path):
    line = ConsoleLine(tmp_path, terminal="auto")
    assert b"\x1b" not in line.talk.greet()
    assert line.type(LOGIN).encode().endswith(b"SG-1> " + QUERY_DEVICE)
    assert line.type(IT_IS_A_TERMINAL).encode() == QUERY_SIZE
    assert seen(line.type(OF_24_BY_80)).strip() == "SG-1>"
    assert "\x1b[1;31mShort circuit" in line.type(b"faults\r"), "colours"


def test_terminal_that_does_not_answer_stays_plain(tmp_path):
    line = ConsoleLine(tmp_path, terminal="auto")
    line.type(LOGIN)
    line.tick(10)
    assert line.type(IT_IS_A_TERMINAL + OF_24_BY_80) == "", "an answer nobody waits for"
    assert "\x1b" not in line.type(b"faults\r")


def test_dumb_terminal_of_a_choice_is_never_asked(line):
    assert "\x1b" not in line.type(LOGIN + b"status\rfaults\rhelp\r")


def test_what_was_typed_before_the_answer_stays(tmp_path):
    line = ConsoleLine(tmp_path, terminal="auto")
    line.type(LOGIN)
    line.type(b"fau" + IT_IS_A_TERMINAL + b"l")
    assert "Short circuit" in line.type(OF_24_BY_80 + b"ts\r")


def test_choice_is_kept_for_the_account(line):
    line.type(LOGIN)
    assert "Line editing" in seen(line.type(b"terminal full\r"))
    line.type(b"logout\r")
    assert "\x1b[" in line.type(LOGIN)
    line.type(b"terminal plain\r")
    line.type(b"logout\r")
    assert "\x1b" not in line.type(LOGIN)


# --- edited lines ----------------------------------------------------------------------------------------------------


def test_cursor_keys_edit_the_line(full):
    full.type(b"ouxtlet 3\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x7f\x1b[F")
    assert "session        S-1" in seen(full.type(b"\r"))


@pytest.mark.parametrize(("failing", "typed"), [("session.complete", b"outl\t"), ("line_editor._fitting", b"x" * 100)])
def test_defect_of_line_editing_costs_the_line_and_neither_login_nor_console(full, monkeypatch, caplog, failing, typed):
    def fail(*_):
        raise IndexError("a defect")

    monkeypatch.setattr(f"cabinet.console.terminal.{failing}", fail)
    assert full.type(typed).endswith("\r\nSG-1> ")
    assert "a defect" in caplog.text
    assert "session        S-1" in full.type(b"outlet 3\r")
    assert "\x1b" not in full.type(typed + b"\r"), "plain lines"


def test_history_brings_back_what_was_typed_also_after_another_login(full):
    full.type(b"outlet 3\r")
    full.type(b"logout\r")
    full.type(LOGIN)
    full.type(IT_IS_A_TERMINAL)
    full.type(OF_24_BY_80)
    full.type(b"\x1b[A\x1b[A")  # past `logout`
    assert "session        S-1" in seen(full.type(b"\r"))


def test_screen_is_cleared_and_the_line_stays(full):
    assert full.type(b"fau\x0c").endswith("\x1b[H\x1b[2J\x1b[1mSG-1> \x1b[0mfau")
    assert "Short circuit" in seen(full.type(b"lts\r"))


def test_line_wider_than_the_terminal_scrolls_sideways(full):
    note = "".join(f"{n:04}" for n in range(20))
    full.type(f"lock 1 {note}".encode())
    assert seen(full.type(b"\x0c")).strip().endswith("0019")
    full.type(b"\x01")
    assert seen(full.type(b"\x0c")).replace("\b", "").strip().startswith("SG-1> lock 1 0000")
    full.type(b"\r")
    full.type(b"yes\r")
    assert [command.note for command in full.guard.asked] == [note], "entered whole"


def test_completion_offers_commands_and_outlets(full):
    assert "sensors" in seen(full.type(b"sen\t"))
    full.type(b"\x15")
    offered = seen(full.type(b"outlet \t\t"))
    assert "10" in offered


def test_pin_is_never_in_the_history_nor_echoed(full):
    full.type(b"logout\r")
    shown = full.type(LOGIN)
    full.type(IT_IS_A_TERMINAL)
    full.type(OF_24_BY_80)
    for _ in range(5):
        shown += full.type(b"\x1b[A")
    assert "pin-tech" not in shown


def test_question_in_edited_lines_does_nothing_without_a_yes(full):
    full.type(b"clear 5\r")
    full.type(b"no\r")
    assert full.guard.asked == []
    full.type(b"clear 5\r")
    full.type(b"yes\r")
    assert full.guard.asked == [ClearLatch(7, 5, "console:tech")]


@pytest.mark.parametrize("question", [b"clear 5\r", b"status\rclear 5\r"])
def test_yes_from_before_the_question_is_no_answer(line, question):
    line.type(LOGIN)
    assert line.type(question + b"yes\r").endswith("Type yes to go on: ")
    assert line.guard.asked == []
    line.type(b"yes\r")
    assert line.guard.asked == [ClearLatch(7, 5, "console:tech")]


def test_yes_from_before_the_question_is_no_answer_in_edited_lines(full):
    full.type(b"clear 5\ryes\r")
    assert full.guard.asked == []


def test_paste_of_many_lines_runs_each_as_if_typed(full):
    full.type(b"off 1\roff 4\r")
    assert full.guard.asked == [Open(7, n, EndReason.STOPPED_BY_STAFF, who="console:tech") for n in (1, 4)]


def test_bracketed_paste_is_not_swallowed_until_its_end(full):
    full.type(b"\x1b[200~off ")
    full.type(b"\x15")
    assert "Short circuit" in seen(full.type(b"faults\r"))


# --- pages -----------------------------------------------------------------------------------------------------------


def test_long_text_comes_in_pages_and_ends_when_told(full):
    first = seen(full.type(b"limits\r"))
    assert "-- more" in first
    assert first.count("\r\n") <= 25
    second = seen(full.type(b" "))
    assert "-- more" in second
    assert "SG-1>" in seen(full.type(b"q"))
    assert "Short circuit" in seen(full.type(b"faults\r"))


def test_keys_typed_at_a_page_are_no_command(full):
    full.type(b"limits\r")
    full.type(b"off 3")
    full.type(b"q")
    full.type(b"\r")
    assert full.guard.asked == []


def test_every_line_of_a_text_is_on_some_page_once(full):
    shown = seen(full.type(b"limits\r"))
    while "-- more" in shown[-60:]:
        shown = shown[: shown.rindex("-- more")] + seen(full.type(b" "))
    assert [shown.count(f"outlet {n} max_power_w") for n in range(1, 11)] == [1] * 10


def test_plain_lines_have_no_pages_unless_asked_for(line):
    line.type(LOGIN)
    assert "-- more" not in line.type(b"limits\r")
    line.type(b"terminal plain 10\r")
    assert line.type(b"limits\r").count("\r\n") == 10


# --- live ------------------------------------------------------------------------------------------------------------


def test_watch_sends_only_what_changed_and_any_key_ends_it(full):
    first = full.type(b"watch\r")
    assert "Charging" in first
    assert len(full.tick(0.9)) < 120, "the clock at most"
    warmer = msgspec.structs.replace(CHARGING, power_mw=msgspec.structs.replace(CHARGING.power_mw, value=200_000))
    full.guard.cabinet.shown = snapshot(warmer, SHORTED)
    changed = full.tick(0.9)
    assert "200" in changed
    assert "Short circuit" not in changed
    assert len(changed) < 250
    assert "Not watching any more." in seen(full.type(b"x"))
    assert full.tick(0.9) == ""


def test_watch_waits_for_a_slow_line(full):
    picture = full.type(b"watch\r")
    assert len(picture) * 10 / 9600 > 0.5, "longer than the half second between two pictures"
    full.guard.cabinet.shown = snapshot()
    assert full.tick(0.5) == "", "the line is still busy"
    assert full.tick(2) != ""


def test_watch_on_plain_lines_shows_changed_lines(line):
    line.type(LOGIN)
    line.type(b"watch\r")
    line.guard.cabinet.shown = snapshot(CHARGING, SHORTED, outlet(7, fault=Fault.OUTLET_HOT, latched=True))
    changed = line.tick(3)
    assert "  7  open" in changed
    assert "  3  closed" not in changed
    assert "\x1b" not in changed


def test_watch_goes_on_while_the_guard_is_away(line):
    line.type(LOGIN)
    line.type(b"watch\r")
    line.guard.gone = True
    assert "The guard does not answer" in line.tick(3)
    line.guard.gone = False
    assert "Charging" in line.tick(5)


def test_watch_left_alone_ends_with_the_login(line):
    line.type(LOGIN)
    line.type(b"watch\r")
    assert "no input for too long" in line.tick(CONFIG.console.idle_logout_s + 1)
    line.type(b"off 3\r")
    assert line.guard.asked == []


# --- notices ---------------------------------------------------------------------------------------------------------


def test_nothing_is_told_unasked(line):
    line.type(LOGIN)
    line.guard.cabinet.shown = snapshot(outlet(7, fault=Fault.OUTLET_HOT, latched=True))
    assert line.tick(5) == ""


@pytest.mark.parametrize("name", ["line", "full"])
def test_notice_comes_above_the_line_that_is_being_typed(name, request):
    line = request.getfixturevalue(name)
    line.type(LOGIN if name == "line" else b"")
    line.type(b"notices on\r")
    line.type(b"outlet ")
    line.guard.cabinet.shown = snapshot(CHARGING, SHORTED, outlet(7, fault=Fault.OUTLET_HOT, latched=True))
    told = seen(line.tick(2))
    assert "* Outlet 7: Outlet too hot, latched" in told
    assert told.rstrip().endswith("SG-1> outlet")
    assert "session        S-1" in seen(line.type(b"3\r"))


def test_guard_and_service_going_and_coming_are_told(line):
    line.type(LOGIN + b"notices on\r")
    line.guard.gone = True
    assert "The guard does not answer any more." in line.tick(2)
    line.guard.gone = False
    line.hindrance = "gone"
    told = line.tick(2)
    assert "The guard answers again." in told
    assert "The service does not run any more." in told


# --- fuzz ------------------------------------------------------------------------------------------------------------


def noise(seed: int, kind: str) -> bytes:
    rng = random.Random(seed)
    if kind == "random":
        return rng.randbytes(QUICK)
    if kind == "control":
        return b"".join(
            b"\x1b[" + bytes(rng.choices(b"0123456789;?ABCDHJKRcmnr~", k=rng.randrange(1, 9)))
            for _ in range(QUICK // 8)
        )
    if kind == "utf8":
        text = "充电 off 3 é \u202e".encode()
        return b"".join(text[rng.randrange(len(text)) :][: rng.randrange(1, 9)] + b"\xff" for _ in range(QUICK // 8))
    return b"x" * QUICK


@pytest.mark.parametrize("kind", ["random", "control", "utf8", "endless"])
@pytest.mark.parametrize("name", ["line", "full", "program"])
def test_noise_runs_no_command_and_leaves_a_line_that_works(name, kind, request):
    line = request.getfixturevalue(name)
    if name == "line":
        line.type(LOGIN)
    before = len(line.rows)
    data = noise(7, kind)
    for start in range(0, len(data), 1000):
        line.type(data[start : start + 1000])
        line.tick(0.01)
    assert line.guard.asked == []
    assert [row for row in line.rows[before:] if row[0] != "login"] == [], "no command of any kind"
    line.type(b"\x03\r")
    line.talk.hang_up()
    line.type(LOGIN + b"terminal plain\r")
    assert "Short circuit" in line.type(b"faults\r")


def test_disconnect_in_mid_command_leaves_nothing_and_memory_stays_flat(line):
    def cut(times: int) -> None:
        for number in range(times):
            line.type(LOGIN)
            line.type((b"off 3", b"clear 5\rye", b"watch\r", b"terminal full\rou", b"pin\r12", b"\x1b[")[number % 6])
            line.talk.hang_up()

    cut(60)
    gc.collect()
    tracemalloc.start()
    cut(60)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert line.guard.asked == []
    assert kept < 200_000, "bytes that 60 disconnects left behind"
