"""Residents have priority: a command that would end their charges is refused without an authorised `force`."""

from collections.abc import Callable

from cabinet.console.accounts import Level
from cabinet.console.arguments import choice, optional
from cabinet.console.command import CommandContext, CommandResult, Confirmation
from cabinet.errors import Refused
from cabinet.model import OutletState

FORCE = optional(choice("force", "force"))


def charging(context: CommandContext, *outlets: int) -> list[OutletState]:
    """Return the outlets with a resident's charge, of those given or of all. Raises LinkError."""
    states = context.guard.snapshot().outlets
    return [s for s in states if (not outlets or s.outlet in outlets) and s.session_id is not None and not s.trial]


def ends_charges(context: CommandContext, force: str | None, *outlets: int, least: Level = Level.SERVICE) -> bool:
    """Return False if there is no charge, True if an account of level `least` typed `force` to end the charges.

    Raises Refused (`charging_there`, `force_not_for_you`) otherwise.
    """
    busy = charging(context, *outlets)
    if not busy:
        return False
    numbers = ", ".join(str(state.outlet) for state in busy)
    if force is None:
        raise Refused("charging_there", outlets=numbers)
    if context.account.level < least:
        raise Refused("force_not_for_you", outlets=numbers)
    return True


def require_no_charge(context: CommandContext, *outlets: int) -> None:
    """Raise Refused `charging_first` if there is a charge; for commands that cannot be forced."""
    if busy := charging(context, *outlets):
        raise Refused("charging_first", outlets=", ".join(str(state.outlet) for state in busy))


def confirmation(
    context: CommandContext, question: str, on_yes: Callable[[], CommandResult], ends: bool = False, *outlets: int
) -> Confirmation:
    """Ask before an action; if it `ends` charges, name their outlets first."""
    if ends:
        numbers = ", ".join(str(state.outlet) for state in charging(context, *outlets))
        question = f"{context.words('force.ends', outlets=numbers)}\n{question}"
    return Confirmation(question, on_yes)
