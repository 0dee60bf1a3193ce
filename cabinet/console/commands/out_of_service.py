"""Service commands: take outlets or the contactor out of service and back, and record a replaced relay."""

from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, choice, optional, text
from cabinet.console.command import Desk, Outcome, Question, Shown, command
from cabinet.console.commands.force import FORCE, forced, unforced, warning
from cabinet.console.commands.relay_wear import kept
from cabinet.errors import Refused
from cabinet.link.protocol import HoldContactor, Lock, ReplaceRelay
from cabinet.maintenance import MAX_NOTE

BROKEN = "\ufffd"  # replaces a character that was received incomplete


@command("lock", Level.OPERATE, OUTLET, FORCE, optional(text("note")), example="lock 4 socket cover broken")
def lock(desk: Desk, number: int, force: str | None, typed: str | None) -> Outcome:
    """Take an outlet out of service. Residents read the note on the outlet's page."""
    note = typed or ""
    if len(note) > MAX_NOTE:
        raise Refused("long_note", most=MAX_NOTE)
    if BROKEN in note:
        raise Refused("broken_note")
    ends = forced(desk, force, number)
    desk.state(number)  # raises Refused if there is no such outlet

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: Lock(id, number, note, desk.who, ends))
        return Shown(kept(desk, desk.words("lock.done", outlet=number)), {"outlet": number, "note": note})

    key = "lock.question" if note else "lock.question_plain"
    return Question("\n".join([*warning(desk, ends, number), desk.words(key, outlet=number, note=note)]), on_yes)


@command("unlock", Level.OPERATE, OUTLET, example="unlock 4")
def unlock(desk: Desk, number: int) -> Outcome:
    state = desk.state(number)
    if state.note is None:
        return Shown(desk.words("unlock.nothing", outlet=number), {"outlet": number, "unlocked": False})

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: Lock(id, number, None, desk.who))
        return Shown(kept(desk, desk.words("unlock.done", outlet=number)), {"outlet": number, "unlocked": True})

    return Question(desk.words("unlock.question", outlet=number, note=state.note or "-"), on_yes)


@command("replace", Level.SERVICE, OUTLET, example="replace 4")
def replace(desk: Desk, number: int) -> Outcome:
    """Record a new relay: its wear count restarts from zero."""
    unforced(desk, number)
    if desk.state(number).closed:
        raise Refused("outlet_closed", outlet=number)
    before = next((page.wear for page in desk.guard.upkeep().outlets if page.outlet == number), None)

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: ReplaceRelay(id, number, desk.who))
        return Shown(kept(desk, desk.words("replace.done", outlet=number)), {"outlet": number})

    operations = 0 if before is None else before.operations
    return Question(desk.words("replace.question", outlet=number, operations=operations), on_yes)


@command("contactor", Level.SERVICE, choice("contactor", "open", "close"), FORCE, example="contactor open")
def contactor(desk: Desk, what: str, force: str | None) -> Outcome:
    """Lock out or release the contactor.

    A lock-out survives restarts, until `contactor close`. No substitute for switching off and locking the breaker.
    """
    opens = what == "open"
    ends = opens and forced(desk, force)

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: HoldContactor(id, opens, desk.who, ends))
        return Shown(kept(desk, desk.words(f"contactor_do.{what}_done")), {"held_open": opens})

    return Question("\n".join([*warning(desk, ends), desk.words(f"contactor_do.{what}_question")]), on_yes)
