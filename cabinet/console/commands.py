"""All commands of the console: collects what the modules of `see` and `do` declare, and runs a line typed.

A new topic is a module with declarations (see `declare`), added to `TOPICS`: its place there is its place in `help`.
"""

import difflib

import msgspec

from cabinet.console import arguments, own
from cabinet.console.commission import dialogue as commissioning
from cabinet.console.declare import DECLARED, CommandPlan, Desk, Live, Outcome
from cabinet.console.do import calibrating, machinery, service, switching, testing, updates, wearing
from cabinet.console.layout import fold
from cabinet.console.see import cabinet as seen_now
from cabinet.console.see import charges, history, settings, wiring
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.texts import Texts

TOPICS = (  # in the order of `help`
    seen_now, wiring, history, charges, settings, wearing, switching, testing, calibrating, service, commissioning,
    updates, machinery, own,
)  # fmt: skip

TABLE: dict[str, CommandPlan] = {
    name: plan for topic in TOPICS for name, plan in DECLARED.items() if plan.handler.__module__ == topic.__name__
}


class Typed(msgspec.Struct, frozen=True):
    """A line, understood as a command and what follows its name."""

    plan: CommandPlan
    rest: list[str]


def find(line: str) -> Typed | None:
    """The command the line begins with; the longest name counts (`usage tail` before `usage`)."""
    typed = line.split()
    for length in (2, 1):
        plan = TABLE.get(" ".join(typed[:length]).lower()) if len(typed) >= length else None
        if plan is not None:
            return Typed(plan, typed[length:])
    return None


def run(line: str, desk: Desk, as_json: bool = False) -> Outcome:
    """What the line asks for; `as_json`: to be read by a program, which is answered at once, without a view.

    Raises LinkError where the guard is gone; Refused where it says no, and for a line that is no command, is not for
    this account (`not_for_you`) or misses what it takes (`usage`): nothing is run then.
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
    """Why not, in words."""
    if isinstance(error, LinkError):
        return words("guard.gone")
    if isinstance(error, Refused):
        return refusal(words, error)
    said = words("failed", error=str(error))
    return "\n".join(line for part in said.split("\n") for line in fold(part))


def refusal(words: Texts, refused: Refused) -> str:
    """Why not, in words; a code without any is shown as it is."""
    params = dict(refused.params)
    if refused.code == "unknown_command":
        return words("unknown_command.near", **params) if params else words("unknown_command.plain")
    if refused.code == "not_for_you":
        params["level"] = words(f"level.{params['level']}")
    key = f"refusal.{refused.code}"
    return words(key, **params) if key in words else str(refused)
