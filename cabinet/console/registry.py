"""All console commands: collects the declarations of the modules in `see` and `do`, and runs a typed line.

A new topic is a module with declarations (see `declare`), added to `TOPICS`; its position there is its position in
`help`.
"""

import difflib

import msgspec

from cabinet.console import arguments
from cabinet.console.command import DECLARED, CommandPlan, Desk, Live, Outcome
from cabinet.console.commands import (
    calibrate,
    charges,
    history,
    machine,
    out_of_service,
    relay_wear,
    sensors,
    session,
    settings,
    switching,
    tests,
    updates,
)
from cabinet.console.commands import status as seen_now
from cabinet.console.commission import dialogue as commissioning
from cabinet.console.terminal.columns import fold
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.texts import Texts

TOPICS = (  # in the order of `help`
    seen_now, sensors, history, charges, settings, relay_wear, switching, tests, calibrate, out_of_service,
    commissioning, updates, machine, session,
)  # fmt: skip

TABLE: dict[str, CommandPlan] = {
    name: plan for topic in TOPICS for name, plan in DECLARED.items() if plan.handler.__module__ == topic.__name__
}


class Typed(msgspec.Struct, frozen=True):
    """A parsed line: the command, and the words after its name."""

    plan: CommandPlan
    rest: list[str]


def find(line: str) -> Typed | None:
    """Return the command that the line begins with, else None; the longest name wins (`usage tail` before `usage`)."""
    typed = line.split()
    for length in (2, 1):
        plan = TABLE.get(" ".join(typed[:length]).lower()) if len(typed) >= length else None
        if plan is not None:
            return Typed(plan, typed[length:])
    return None


def run(line: str, desk: Desk, as_json: bool = False) -> Outcome:
    """Run the line and return its result; `as_json`: for a program, which gets the reply at once, without a live view.

    Raises LinkError if the guard is gone, and Refused if the guard refuses. Raises Refused without running anything if
    the line is no command, is not for this account (`not_for_you`) or has the wrong arguments (`usage`).
    """
    typed = find(line)
    if typed is None:
        name = line.split()[0].lower()
        near = difflib.get_close_matches(name, {plan.split()[0] for plan in TABLE}, 1)
        raise Refused("unknown_command", **({"near": near[0]} if near else {}))
    plan = typed.plan
    if desk.account.level < plan.level:
        raise Refused("not_for_you", name=plan.name, level=plan.level.name.lower())
    found = arguments.values(plan.takes, typed.rest, desk.config)
    if found is None:
        bounds = plan.bounds(desk.words, desk.config)
        raise Refused("usage", usage=plan.usage(desk.words) + (f"   ({bounds})" if bounds else ""))
    outcome = plan.handler(desk, *found)
    return outcome.answer() if as_json and isinstance(outcome, Live) and outcome.answer is not None else outcome


def excuse(words: Texts, error: CabinetError) -> str:
    """Return the reason of an error as text."""
    if isinstance(error, LinkError):
        return words("guard.gone")
    if isinstance(error, Refused):
        return refusal(words, error)
    said = words("failed", error=str(error))
    return "\n".join(line for part in said.split("\n") for line in fold(part))


def refusal(words: Texts, refused: Refused) -> str:
    """Return the reason of a refusal as text; a code without a text is returned as it is."""
    params = dict(refused.params)
    if refused.code == "unknown_command":
        return words("unknown_command.near", **params) if params else words("unknown_command.plain")
    if refused.code == "not_for_you":
        params["level"] = words(f"level.{params['level']}")
    key = f"refusal.{refused.code}"
    return words(key, **params) if key in words else str(refused)
