"""All console commands: collects the declarations of the modules in `TOPICS`, and runs a typed line."""

import difflib
import importlib

import msgspec

from cabinet.console import arguments
from cabinet.console.accounts import Level
from cabinet.console.command import DECLARED, CommandContext, CommandResult, CommandSpec, LiveView
from cabinet.console.terminal.columns import fold
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.texts import Texts

TOPICS = (  # modules with declarations (see `command`), in the order of `help`
    "commands.status",
    "commands.sensors",
    "commands.history",
    "commands.charges",
    "commands.uplink",
    "commands.settings",
    "commands.relay_wear",
    "commands.switching",
    "commands.tests",
    "commands.calibrate",
    "commands.out_of_service",
    "commission.dialogue",
    "commands.updates",
    "commands.machine",
    "commands.session",
)


def _collect() -> dict[str, CommandSpec]:
    modules = [importlib.import_module(f"cabinet.console.{topic}").__name__ for topic in TOPICS]
    found = [spec for module in modules for spec in DECLARED.values() if spec.handler.__module__ == module]
    return {spec.name: spec for spec in found}


COMMANDS = _collect()
"""Every command by name, in the order of `help`."""


def allowed(level: Level) -> tuple[CommandSpec, ...]:
    """Return the commands that an account of this level may run."""
    return tuple(spec for spec in COMMANDS.values() if spec.level <= level)


class ParsedCommand(msgspec.Struct, frozen=True):
    """A parsed line: the command, and the words after its name."""

    spec: CommandSpec
    rest: list[str]


def find(line: str) -> ParsedCommand | None:
    """Return the command that the line begins with, else None; the longest name wins (`usage tail` before `usage`)."""
    typed = line.split()
    for length in (2, 1):
        spec = COMMANDS.get(" ".join(typed[:length]).lower()) if len(typed) >= length else None
        if spec is not None:
            return ParsedCommand(spec, typed[length:])
    return None


def run(line: str, context: CommandContext, as_json: bool = False) -> CommandResult:
    """Run the line and return its result; `as_json`: for a program, which gets the reply at once, without a live view.

    Raises LinkError if the guard is gone, and Refused if the guard refuses. Raises Refused without running anything if
    the line is no command, is not for this account (`not_for_you`) or has the wrong arguments (`usage`).
    """
    typed = find(line)
    if typed is None:
        name = line.split()[0].lower()
        near = difflib.get_close_matches(name, {spec.split()[0] for spec in COMMANDS}, 1)
        raise Refused("unknown_command", **({"near": near[0]} if near else {}))
    spec = typed.spec
    if context.account.level < spec.level:
        raise Refused("not_for_you", name=spec.name, level=spec.level.name.lower())
    found = arguments.values(spec.takes, typed.rest, context.config)
    if found is None:
        bounds = spec.bounds(context.words, context.config)
        raise Refused("usage", usage=spec.usage(context.words) + (f"   ({bounds})" if bounds else ""))
    outcome = spec.handler(context, *found)
    return outcome.answer() if as_json and isinstance(outcome, LiveView) and outcome.answer is not None else outcome


def error_text(words: Texts, error: CabinetError) -> str:
    """Return the reason of an error as text."""
    if isinstance(error, LinkError):
        return words("guard.gone")
    if isinstance(error, Refused):
        return refusal_text(words, error)
    said = words("failed", error=str(error))
    return "\n".join(line for part in said.split("\n") for line in fold(part))


def refusal_text(words: Texts, refused: Refused) -> str:
    """Return the reason of a refusal as text; a code without a text is returned as it is."""
    params = dict(refused.params)
    if refused.code == "unknown_command":
        return words("unknown_command.near", **params) if params else words("unknown_command.plain")
    if refused.code == "not_for_you":
        params["level"] = words(f"level.{params['level']}")
    key = f"refusal.{refused.code}"
    return words(key, **params) if key in words else str(refused)
