"""Commands for the console itself: language, help, terminal mode, PIN, logout."""

from typing import Literal

from cabinet import normal_form
from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import LANGUAGE, choice, optional, text, whole
from cabinet.console.command import LOGOUT, CommandContext, CommandResult, LineMode, Output, Prompt, command
from cabinet.console.terminal.columns import fold
from cabinet.console.wording import wording
from cabinet.errors import Refused
from cabinet.pin_codes import may_be_set

TERMINAL = choice("terminal", "auto", "plain", "full")
ROWS = whole("rows", 0, 200)  # rows per page; 0: no paging


@command("language", Level.LOOK, LANGUAGE, example="language en")
def language(context: CommandContext, code: str) -> CommandResult:
    context.set_language(code)
    return Output(wording(code)("language.done"), {"language": code})


@command("help", Level.LOOK, optional(text("command")), example="help outlet", reads=True)
def help_(context: CommandContext, asked: str | None) -> CommandResult:
    """Show the help of the commands that this account may run."""
    if asked is not None:
        return _about(context, asked.lower())
    rows = [(spec.usage(context.words), context.words(f"help.{spec.key}")) for spec in context.commands]
    return Output(status_text.help_lines(rows, context.words), [{"usage": usage, "help": text} for usage, text in rows])


def _about(context: CommandContext, asked: str) -> CommandResult:
    words = context.words
    commands = [spec for spec in context.commands if spec.name == asked or spec.name.split()[0] == asked]
    if not commands:
        raise Refused("unknown_command")
    lines, data = [], []
    for spec in commands:
        level = words(f"level.{spec.level.name.lower()}")
        lines += fold(words("about.usage", usage=spec.usage(words), level=level))
        lines += fold(words(f"help.{spec.key}"), "  ")
        lines += fold(spec.bounds(words, context.config), "  ")
        lines += fold(words("about.example", example=spec.example), "  ")
        data.append({"usage": spec.usage(words), "level": spec.level.name.lower(), "example": spec.example})
    return Output("\n".join(lines), data)


@command("terminal", Level.LOOK, TERMINAL, optional(ROWS), example="terminal plain 24")
def terminal(context: CommandContext, kind: Literal["auto", "plain", "full"], rows: int | None) -> CommandResult:
    """Set the line editing and paging of the account, stored with it; `auto` queries the terminal's features."""
    return LineMode(kind, rows)


@command("notices", Level.LOOK, choice("switch", "on", "off"), example="notices on")
def notices(context: CommandContext, switch: str) -> CommandResult:
    context.set_notices(switch == "on")
    return Output(context.words(f"notices.{switch}"), {"notices": switch == "on"})


@command("machine", Level.LOOK, example="machine")
def machine(context: CommandContext) -> CommandResult:
    """Switch to machine mode: one line of JSON per line, no echo, no prompt, until `terminal` or the logout."""
    return LineMode("machine")


@command("pin", Level.LOOK, example="pin")
def pin(context: CommandContext) -> CommandResult:
    """Set a new PIN for the own account, typed twice and never shown."""
    words = context.words

    def first(typed: str) -> CommandResult:
        typed = normal_form.digits(typed)
        if not may_be_set(typed):
            raise Refused("bad_pin")
        return Prompt("", words("pin.again"), lambda again: second(typed, again), secret=True)

    def second(typed: str, again: str) -> CommandResult:
        if normal_form.digits(again) != typed:
            raise Refused("pins_differ")
        context.set_own_pin(typed)
        return Output(words("pin.done"))

    return Prompt(words("pin.rules"), words("pin.new"), first, secret=True)


@command("logout", Level.LOOK)
def logout(context: CommandContext) -> CommandResult:
    return LOGOUT
