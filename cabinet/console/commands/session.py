"""Commands for the console itself: language, help, terminal mode, PIN, logout."""

from typing import Literal

from cabinet import normal_form
from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import LANGUAGE, choice, optional, text, whole
from cabinet.console.command import LOGOUT, Ask, Desk, Language, Mode, Notify, Outcome, Shown, command
from cabinet.console.terminal.columns import fold
from cabinet.errors import Refused
from cabinet.pins import may_be_set

TERMINAL = choice("terminal", "auto", "plain", "full")
ROWS = whole("rows", 0, 200)  # rows per page; 0: no paging


@command("language", Level.LOOK, LANGUAGE, example="language en")
def language(desk: Desk, code: str) -> Outcome:
    return Language(code)


@command("help", Level.LOOK, optional(text("command")), example="help outlet", reads=True)
def help_(desk: Desk, asked: str | None) -> Outcome:
    """Show the help of the commands that this account may run."""
    if asked is not None:
        return _about(desk, asked.lower())
    rows = [(plan.usage(desk.words), desk.words(f"help.{plan.key}")) for plan in desk.plans]
    return Shown(status_text.help_lines(rows, desk.words), [{"usage": usage, "help": text} for usage, text in rows])


def _about(desk: Desk, asked: str) -> Outcome:
    words = desk.words
    plans = [plan for plan in desk.plans if plan.name == asked or plan.name.split()[0] == asked]
    if not plans:
        raise Refused("unknown_command")
    lines, data = [], []
    for plan in plans:
        level = words(f"level.{plan.level.name.lower()}")
        lines += fold(words("about.usage", usage=plan.usage(words), level=level))
        lines += fold(words(f"help.{plan.key}"), "  ")
        lines += fold(plan.bounds(words, desk.config), "  ")
        lines += fold(words("about.example", example=plan.example), "  ")
        data.append({"usage": plan.usage(words), "level": plan.level.name.lower(), "example": plan.example})
    return Shown("\n".join(lines), data)


@command("terminal", Level.LOOK, TERMINAL, optional(ROWS), example="terminal plain 24")
def terminal(desk: Desk, kind: Literal["auto", "plain", "full"], rows: int | None) -> Outcome:
    """Set the line editing and paging of the account, stored with it; `auto` queries the terminal's features."""
    return Mode(kind, rows)


@command("notices", Level.LOOK, choice("switch", "on", "off"), example="notices on")
def notices(desk: Desk, switch: str) -> Outcome:
    return Notify(switch == "on")


@command("machine", Level.LOOK, example="machine")
def machine(desk: Desk) -> Outcome:
    """Switch to machine mode: one line of JSON per line, no echo, no prompt, until `terminal` or the logout."""
    return Mode("machine")


@command("pin", Level.LOOK, example="pin")
def pin(desk: Desk) -> Outcome:
    """Set a new PIN for the own account, typed twice and never shown."""
    words = desk.words

    def first(typed: str) -> Outcome:
        typed = normal_form.digits(typed)
        if not may_be_set(typed):
            raise Refused("bad_pin")
        return Ask("", words("pin.again"), lambda again: second(typed, again), secret=True)

    def second(typed: str, again: str) -> Outcome:
        if normal_form.digits(again) != typed:
            raise Refused("pins_differ")
        desk.set_own_pin(typed)
        return Shown(words("pin.done"))

    return Ask(words("pin.rules"), words("pin.new"), first, secret=True)


@command("logout", Level.LOOK)
def logout(desk: Desk) -> Outcome:
    return LOGOUT
