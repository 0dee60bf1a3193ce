"""Service commands: take outlets or the contactor out of service and back, and record a replaced relay."""

from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, choice, optional, text
from cabinet.console.command import CommandContext, CommandResult, Confirmation, Output, command
from cabinet.console.commands.force import FORCE, confirmation, ends_charges, require_no_charge
from cabinet.console.commands.relay_wear import kept
from cabinet.errors import Refused
from cabinet.link.guard_protocol import ReplaceRelay, SetContactorLockout, TakeOutOfService
from cabinet.maintenance import MAX_NOTE

BROKEN = "\ufffd"  # replaces a character that was received incomplete


@command("lock", Level.OPERATE, OUTLET, FORCE, optional(text("note")), example="lock 4 socket cover broken")
def lock(context: CommandContext, number: int, force: str | None, typed: str | None) -> CommandResult:
    """Take an outlet out of service. Residents read the note on the outlet's page."""
    note = typed or ""
    if len(note) > MAX_NOTE:
        raise Refused("long_note", most=MAX_NOTE)
    if BROKEN in note:
        raise Refused("broken_note")
    ends = ends_charges(context, force, number)
    context.state(number)  # raises Refused if there is no such outlet

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: TakeOutOfService(id, number, note, context.who, ends))
        return Output(kept(context, context.words("lock.done", outlet=number)), {"outlet": number, "note": note})

    question = context.words("lock.question" if note else "lock.question_plain", outlet=number, note=note)
    return confirmation(context, question, on_yes, ends, number)


@command("unlock", Level.OPERATE, OUTLET, example="unlock 4")
def unlock(context: CommandContext, number: int) -> CommandResult:
    state = context.state(number)
    if state.note is None:
        return Output(context.words("unlock.nothing", outlet=number), {"outlet": number, "unlocked": False})

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: TakeOutOfService(id, number, None, context.who))
        return Output(kept(context, context.words("unlock.done", outlet=number)), {"outlet": number, "unlocked": True})

    return Confirmation(context.words("unlock.question", outlet=number, note=state.note or "-"), on_yes)


@command("replace", Level.SERVICE, OUTLET, example="replace 4")
def replace(context: CommandContext, number: int) -> CommandResult:
    """Record a new relay: its wear count restarts from zero."""
    require_no_charge(context, number)
    if context.state(number).closed:
        raise Refused("outlet_closed", outlet=number)
    operations = context.outlet_maintenance(number).wear.operations

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: ReplaceRelay(id, number, context.who))
        return Output(kept(context, context.words("replace.done", outlet=number)), {"outlet": number})

    return Confirmation(context.words("replace.question", outlet=number, operations=operations), on_yes)


@command("contactor", Level.SERVICE, choice("contactor", "open", "close"), FORCE, example="contactor open")
def contactor(context: CommandContext, what: str, force: str | None) -> CommandResult:
    """Lock out or release the contactor.

    A lock-out survives restarts, until `contactor close`. No substitute for switching off and locking the breaker.
    """
    opens = what == "open"
    ends = opens and ends_charges(context, force)

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: SetContactorLockout(id, opens, context.who, ends))
        return Output(kept(context, context.words(f"contactor_do.{what}_done")), {"held_open": opens})

    return confirmation(context, context.words(f"contactor_do.{what}_question"), on_yes, ends)
