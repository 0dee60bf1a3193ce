"""The audit log of the dialogue, wrong PINs, and accounts taken away during a login."""

import pytest

from cabinet.console.accounts import Level
from cabinet.console.notices import Notice, WatchedState, changes, notice_text
from cabinet.console.reply import Reply
from cabinet.link.guard_protocol import ClearLatch
from cabinet.texts import Texts
from cabinet_testing.console_harness import DANGEROUS, ConsoleHarness


def commands_of(terminal: ConsoleHarness) -> list[tuple[str, str, str, str]]:
    return [row for row in terminal.rows if row[2] != "login"]


def test_every_command_is_one_row_with_what_came_of_it(terminal, guard):
    terminal.log_in()
    terminal.say("off 3")
    terminal.say("off 3 force")
    terminal.say("clear 5")
    terminal.say("no")
    guard.cabinet.refuse[ClearLatch] = ["fault_present"]
    terminal.say("clear 5")
    terminal.say("yes")
    guard.gone = True
    terminal.say("status")
    terminal.say("off 99")
    assert commands_of(terminal) == [
        ("tech", "service", "off 3", "charging_there"),
        ("tech", "service", "off 3 force", "ok"),
        ("tech", "service", "clear 5", "not_confirmed"),
        ("tech", "service", "clear 5", "fault_present"),
        ("tech", "service", "status", "guard_gone"),
        ("tech", "service", "off 99", "usage"),
    ]


@pytest.mark.parametrize("line", DANGEROUS)
def test_dangerous_command_of_somebody_who_may_not_is_one_row_and_no_switching(terminal, guard, line):
    terminal.log_in("guest")
    terminal.say(line)
    terminal.say("yes")
    assert commands_of(terminal) == [("guest", "look", line, "not_for_you")]
    assert guard.asked == []


def test_question_that_is_left_is_a_row_too(terminal):
    terminal.log_in()
    for leave in (terminal.shell.interrupt, terminal.shell.hang_up):
        terminal.say("clear 5")
        leave()
    assert [row[3] for row in commands_of(terminal)] == ["not_confirmed", "not_confirmed"]


def test_pin_typed_at_the_wrong_prompt_is_written_nowhere(terminal):
    terminal.log_in()
    terminal.say("pin-tech")
    terminal.say("123456")
    assert commands_of(terminal) == []


def test_logins_are_rows_and_unknown_names_are_not(terminal):
    terminal.log_in()
    terminal.say("logout")
    for name in ("tech", "nobody"):
        terminal.say(name)
        terminal.say("nonsense")
    logins = [row for row in terminal.rows if row[2] == "login"]
    assert logins == [("tech", "service", "login", "ok"), ("tech", "", "login", "wrong_card_or_pin")]


def test_last_login_is_told_with_wrong_pins_since(terminal):
    assert "This is the first login" in terminal.log_in()
    terminal.say("logout")
    for _ in range(2):
        terminal.say("tech")
        terminal.say("nonsense")
    told = terminal.log_in().splitlines()[1]
    assert told.startswith("Last login 2026-")
    assert told.endswith("Wrong PINs before this login: 2.")
    terminal.say("logout")
    assert "Wrong" not in terminal.log_in()


def test_wrong_pins_before_the_first_login_are_told_too(terminal):
    terminal.say("tech")
    terminal.say("nonsense")
    told = terminal.log_in().splitlines()[1]
    assert told == "This is the first login of this account. Wrong PINs before this login: 1."


@pytest.mark.parametrize("how", ["removed", "demoted"])
@pytest.mark.parametrize("line", ["clear 5", "yes"])
def test_account_that_is_taken_away_ends_its_login_and_does_nothing_more(terminal, guard, how, line):
    terminal.log_in()
    if line == "yes":
        terminal.say("clear 5")
    if how == "removed":
        terminal.staff.remove("tech")
    else:
        terminal.staff.set_pin("tech", Level.LOOK, "123456")
    assert terminal.say(line) == "Logged out: this account, or its level, was taken away."
    assert not terminal.shell.logged_in
    assert guard.asked == []


def test_account_that_is_taken_away_ends_a_programs_login(terminal, guard):
    terminal.log_in()
    terminal.staff.remove("tech")
    assert isinstance(terminal.shell.machine_line("off 5"), Reply)
    assert not terminal.shell.logged_in
    assert guard.asked == []


def test_staff_file_that_cannot_be_read_ends_no_login(terminal, tmp_path):
    terminal.log_in()
    (tmp_path / "console-staff.json").write_text("damaged")
    assert terminal.say("off 5") == "Outlet 5 is open."


def test_audit_log_that_cannot_be_written_is_said_and_nobody_is_kept_from_working(terminal, guard):
    terminal.log_in()
    terminal.note = lambda *row: False
    assert terminal.say("off 3 force").splitlines() == [
        "Outlet 3 is open; the charge there has ended.",
        "The audit log could not be written to the disk; it is in memory only.",
    ]
    assert len(guard.asked) == 1


def test_status_and_notices_tell_of_somebody_who_guesses_at_pins(terminal):
    terminal.log_in()
    terminal.say("notices on")
    assert "guesses" not in terminal.say("status")
    terminal.attacker = "203.0.113.9"
    assert "Many wrong PINs or passwords, last from 203.0.113.9" in terminal.say("status")
    before = WatchedState(None, None)
    assert changes(before, WatchedState(None, None, "203.0.113.9")) == [Notice("attack", address="203.0.113.9")]
    assert changes(WatchedState(None, None, "203.0.113.9"), before) == []
    words = Texts("console", "en", "console_see")
    said = notice_text(Notice("attack", address="203.0.113.9"), words)
    assert said == "* Many wrong PINs or passwords, from 203.0.113.9: sign-ins are locked."


def test_own_pin_is_changed_when_typed_twice(terminal):
    terminal.log_in()
    for typed, said in (
        (("1234", ""), "6 to 12 digits"),
        (("123456", ""), "not in a row"),
        (("471108", "471109"), "two different"),
    ):
        terminal.say("pin")
        answers = [terminal.say(each) for each in typed if each]
        assert said in answers[-1]
    terminal.say("pin")
    assert terminal.shell.line("471108").secret
    assert terminal.say("471108") == "Your PIN is changed."
    terminal.say("logout")
    terminal.say("tech")
    assert terminal.say("471108").startswith("Logged in as tech (service).")
