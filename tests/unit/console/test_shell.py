"""The dialogue with a technician, line by line, without a terminal."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.clock import NS
from cabinet.console import registry
from cabinet.console.accounts import FREE_ATTEMPTS
from cabinet.console.command import LineMode
from cabinet.console.reply import Reply
from cabinet.console.shell import ANSWER_WITHIN_S
from cabinet.console.terminal.columns import width
from cabinet.link.guard_protocol import ClearLatch, Open
from cabinet.model import EndReason, Fault
from cabinet_testing.console_harness import ACCOUNTS, DANGEROUS, ConsoleHarness
from cabinet_testing.console_snapshots import CONFIG, SHORTED, snapshot
from cabinet_testing.fake_guard import FakeGuard

# --- login -----------------------------------------------------------------------------------------------------------


def test_login_asks_for_name_and_pin_and_hides_the_pin(terminal):
    assert terminal.shell.greet() == Reply(
        "阳光花园一号充电柜 (SG-1)：维护控制台。language en = English（登录后）", "账号 login: "
    )
    assert terminal.shell.line("tech") == Reply("", "密码 PIN: ", secret=True)
    reply = terminal.shell.line("pin-tech")
    assert reply.text.splitlines() == [
        "Logged in as tech (service). help lists the commands.",
        "This is the first login of this account.",
    ]
    assert (reply.prompt, reply.mode) == ("SG-1> ", LineMode("auto"))
    assert terminal.shell.logged_in


def test_nothing_runs_without_login(terminal, guard):
    for line in ("off 3", "clear 5", "status", "yes"):
        terminal.say(line)
        terminal.say(line)
    assert guard.asked == []
    assert not terminal.shell.logged_in


def test_wrong_pin_and_unknown_name_get_the_same_answer(terminal):
    terminal.say("tech")
    wrong_pin = terminal.say("nonsense")
    terminal.say("nobody")
    assert terminal.say("nonsense") == wrong_pin == "账号或密码不对。"
    assert not terminal.shell.logged_in


def test_lock_is_said_with_its_time(terminal):
    for _ in range(FREE_ATTEMPTS):
        terminal.say("tech")
        terminal.say("nonsense")
    assert terminal.log_in() == "密码错误次数太多，请在 60 秒后再试。"
    terminal.clock.advance_ns(60 * NS)
    assert terminal.log_in().startswith("Logged in as tech")


def test_noise_at_the_login_is_not_worth_a_hash(terminal):
    assert terminal.say("\x00��*&^") == "这不是账号名。"
    assert terminal.reply.prompt == "账号 login: "


def test_damaged_staff_file_is_said_and_survived(terminal, tmp_path):
    (tmp_path / "staff.json").write_bytes(b"{")
    terminal.say("tech")
    assert "staff.json:cannotberead" in "".join(terminal.say("pin-tech").split())  # wherever it is folded
    assert terminal.reply.prompt == "账号 login: "


def test_logout_and_control_d_end_the_login(terminal):
    for leave in (lambda: terminal.say("logout"), lambda: terminal.follow(terminal.shell.end())):
        terminal.log_in()
        assert leave() == "Logged out."
        assert (terminal.shell.logged_in, terminal.reply.prompt) == (False, "账号 login: ")


def test_idle_login_ends_by_itself_and_typing_keeps_it(terminal):
    terminal.log_in()
    idle_ns = int(CONFIG.console.idle_logout_s * NS)
    terminal.clock.advance_ns(idle_ns - 1)
    assert terminal.shell.tick() is None
    terminal.say("help")
    terminal.clock.advance_ns(idle_ns - 1)
    assert terminal.shell.tick() is None
    terminal.clock.advance_ns(1)
    assert terminal.follow(terminal.shell.tick()) == "Logged out: no input for too long."
    assert not terminal.shell.logged_in
    assert terminal.shell.tick() is None


def test_half_a_login_left_alone_goes_back_to_the_name(terminal):
    terminal.say("tech")
    terminal.clock.advance_ns(ANSWER_WITHIN_S * NS)
    assert terminal.shell.tick() == Reply("", "账号 login: ")
    assert terminal.say("pin-tech") == ""
    assert not terminal.shell.logged_in


def test_hang_up_ends_the_login(terminal, guard):
    terminal.log_in()
    terminal.say("clear 5")
    terminal.shell.hang_up()
    assert not terminal.shell.logged_in
    terminal.say("yes")
    assert guard.asked == []


# --- switching -------------------------------------------------------------------------------------------------------


def test_off_opens_at_once_and_says_that_a_charge_ended(terminal, guard):
    terminal.log_in()
    assert terminal.say("off 3") == "A resident is charging (outlet 3); only force ends that."
    assert terminal.say("off 3 force") == "Outlet 3 is open; the charge there has ended."
    assert terminal.say("off 4") == "Outlet 4 is open."
    assert guard.asked == [Open(7, outlet, EndReason.STOPPED_BY_STAFF, who="console:tech") for outlet in (3, 4)]


def test_clear_shows_the_fault_and_asks_first(terminal, guard):
    terminal.log_in()
    question = terminal.say("clear 5")
    assert question.splitlines()[:2] == ["Outlet 5: Short circuit, latched", "  peak 61.2 A, limit 30 A"]
    assert terminal.reply.prompt == "Type yes to go on: "
    assert guard.asked == []
    assert terminal.say("yes") == "The latch of outlet 5 is cleared."
    assert guard.asked == [ClearLatch(7, 5, "console:tech")]
    assert terminal.say("faults").startswith("Outlet 8")


@pytest.mark.parametrize("answer", ["", "y", "no", "yes please", "clear 5", "off 3", "5"])
def test_anything_but_yes_does_nothing(terminal, guard, answer):
    terminal.log_in()
    terminal.say("clear 5")
    assert terminal.say(answer) == "Nothing was done."
    assert guard.asked == []
    assert terminal.reply.prompt == "SG-1> "


def test_chinese_yes_is_a_yes(terminal, guard):
    terminal.log_in()
    terminal.say("clear 5")
    terminal.say("是")
    assert guard.asked == [ClearLatch(7, 5, "console:tech")]


def test_interrupted_or_forgotten_or_overlong_question_is_answered_no(terminal, guard):
    terminal.log_in()
    for leave in (terminal.shell.interrupt, terminal.shell.too_long, lambda: _forgotten(terminal)):
        terminal.say("clear 5")
        assert leave().prompt == "SG-1> "
        terminal.say("yes")
    assert guard.asked == []


def _forgotten(terminal: ConsoleHarness) -> Reply:
    terminal.clock.advance_ns(ANSWER_WITHIN_S * NS)
    reply = terminal.shell.tick()
    assert reply is not None
    return reply


def test_clear_of_an_outlet_without_a_latch_asks_nothing(terminal, guard):
    terminal.log_in()
    assert terminal.say("clear 8") == "Outlet 8 is not latched: there is nothing to clear."
    assert terminal.reply.prompt == "SG-1> "
    assert guard.asked == []


def test_refusal_of_the_guard_is_said_in_words(terminal, guard):
    terminal.log_in()
    guard.cabinet.refuse[ClearLatch] = ["fault_present"]
    terminal.say("clear 5")
    assert terminal.say("yes") == "The cause is still there; the latch stays."
    guard.cabinet.refuse[Open] = ["something_new"]
    assert terminal.say("off 5") == "something_new outlet=5"


# --- who may, and what is understood ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("line", DANGEROUS)
def test_every_account_may_only_what_its_level_says(terminal, guard, name, line):
    terminal.log_in(name)
    answer = terminal.say(line)
    terminal.say("yes")
    allowed = ACCOUNTS[name] >= DANGEROUS[line]
    assert (len(guard.asked) == 1) == allowed
    assert answer.startswith(f"{line.split()[0]} needs an account of level") == (not allowed)


def test_help_lists_exactly_what_the_account_may_run(terminal):
    for name, level in ACCOUNTS.items():
        terminal.log_in(name)
        answer = msgspec.json.decode(terminal.say("help --json"))
        plans = [plan for plan in registry.COMMANDS.values() if plan.level <= level]
        assert [row["usage"] for row in answer["data"]] == [plan.usage(terminal.shell._words) for plan in plans]
        shown = terminal.say("help").splitlines()
        assert [line for line in shown if width(line) > 80] == []
        assert all(any(line.startswith(f"  {plan.name}") for line in shown) for plan in plans)
        terminal.say("logout")


@pytest.mark.parametrize(
    "line", ["off", "off 0", "off 11", "off 3 4", "off three", "off -3", "off 3.0", "off 03", "clear", "clear all"]
)
def test_dangerous_command_with_anything_but_one_known_outlet_does_nothing(terminal, guard, line):
    terminal.log_in()
    usage = {"off": "Usage: off N [force]   (N: 1-10)", "clear": "Usage: clear N|0   (N: 1-10)"}
    assert terminal.say(line) == usage[line.split()[0]]
    terminal.say("yes")
    assert guard.asked == []


def test_number_out_of_bounds_is_told_the_bounds(terminal):
    terminal.log_in()
    assert terminal.say("on 4 900") == "Usage: on N SECONDS [force]   (N: 1-10, SECONDS: 1-600)"
    assert terminal.say("siren test 60").endswith("(SECONDS: 1-10)")
    assert "N: 1-10, SECONDS: 1-600" in terminal.say("help on")


def test_unknown_command_names_the_nearest(terminal):
    terminal.log_in()
    assert terminal.say("statsu") == "There is no such command. Did you mean status? help lists all."
    assert terminal.say("xyzzy 3") == "There is no such command. help lists all."
    assert terminal.say("status now") == "Usage: status"


def test_full_width_letters_of_an_input_method_are_understood(terminal, guard):
    terminal.log_in()
    assert terminal.say("ＯＦＦ　３　ＦＯＲＣＥ") == "Outlet 3 is open; the charge there has ended."


def test_language_changes_and_is_kept_for_the_account(terminal):
    terminal.log_in()
    assert terminal.say("language zh") == "现在使用中文。"
    assert terminal.say("off 4") == "插座 4 已断开。"
    terminal.say("logout")
    assert terminal.log_in().splitlines()[0] == "已登录：tech（维修）。输入 help 查看命令。"
    assert terminal.say("language fr") == "用法：language zh|en"


# --- guard gone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["status", "outlet 3", "faults", "off 3", "clear 5"])
def test_guard_gone_is_said_with_what_remains(terminal, guard, line):
    terminal.log_in()
    guard.gone = True
    first, *_, remains, _ = terminal.say(line).splitlines()
    assert first == "The guard does not answer: nothing can be seen or switched from here."
    assert remains.startswith("What remains: sessions, usage tail, trips, config, limits, help.")
    assert terminal.reply.prompt == "SG-1> "


def test_guard_gone_between_question_and_yes(terminal, guard):
    terminal.log_in()
    terminal.say("clear 5")
    guard.gone = True
    assert terminal.say("yes").startswith("The guard does not answer")
    guard.gone = False
    assert terminal.say("faults").startswith("Outlet 5: Short circuit, latched")


def test_what_remains_without_guard_works(terminal, guard):
    terminal.log_in()
    guard.gone = True
    assert "status" in terminal.say("help")
    assert terminal.say("language zh") == "现在使用中文。"
    assert terminal.say("logout") == "已退出登录。"


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.text(max_size=30), max_size=12))
def test_no_line_makes_it_raise_or_switch_anything(tmp_path_factory, lines):
    terminal = ConsoleHarness(FakeGuard.showing(snapshot(SHORTED)), tmp_path_factory.mktemp("fuzz"))
    for line in lines:
        terminal.say(line)
    assert terminal.guard.asked == []


def test_clear_of_the_cabinet_shows_the_fault_and_asks_first(terminal, guard):
    guard.cabinet.shown = snapshot(fault=Fault.SMOKE, latched=True, why={"alarm_ms": 102}, siren=True)
    terminal.log_in()
    question = terminal.say("clear 0")
    assert "Smoke" in question
    assert "siren" in question.lower()
    assert guard.asked == []
    terminal.say("yes")
    assert [(type(command).__name__, command.outlet) for command in guard.asked] == [("ClearLatch", 0)]


def test_clear_of_a_cabinet_without_a_fault_asks_nothing(terminal, guard):
    terminal.log_in()
    terminal.say("clear cabinet")
    terminal.say("yes")
    assert guard.asked == []


@pytest.mark.parametrize(
    ("hindrance", "said"),
    [
        ("storage_full", "disk is full or takes no writes: no new charges"),
        ("storage_damaged", "cabinet store restore newest"),
        ("gone", "The service does not run"),
    ],
)
def test_status_says_what_keeps_the_service_from_new_charges(terminal, hindrance, said):
    terminal.log_in()
    assert said not in terminal.say("status")
    terminal.hindrance = hindrance
    shown = terminal.say("status")
    assert said in shown
    assert "Charging" in shown, "the guard's part is there as ever"
    assert max(map(width, shown.splitlines())) <= 80
