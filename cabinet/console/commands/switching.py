"""Commands that open an outlet, and that clear a latched fault."""

from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, PLACE
from cabinet.console.command import Desk, Outcome, Question, Shown, command
from cabinet.console.commands.force import FORCE, forced
from cabinet.link.protocol import ClearLatch, Open
from cabinet.model import CABINET, EndReason, Phase


@command("off", Level.OPERATE, OUTLET, FORCE, example="off 3 force")
def off(desk: Desk, number: int, force: str | None) -> Outcome:
    """Open an outlet without a question: opening is the safe direction.

    A resident's charge ends only with `force`, not by a typing error.
    """
    forced(desk, force, number, least=Level.OPERATE)
    was = desk.state(number)
    desk.guard.request(lambda id: Open(id, number, EndReason.STOPPED_BY_STAFF, who=desk.who))
    charge_ended = was.phase is not Phase.IDLE and not was.trial
    key = "off.done_charge_ended" if charge_ended else "off.done"
    return Shown(desk.words(key, outlet=number), {"outlet": number, "charge_ended": charge_ended})


@command("clear", Level.SERVICE, PLACE, example="clear 5")
def clear(desk: Desk, number: int) -> Outcome:
    if number == CABINET:
        return _clear_cabinet(desk)
    state = desk.state(number)
    if not state.latched or state.fault is None:
        return Shown(desk.words("clear.nothing", outlet=number), {"outlet": number, "cleared": False})

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: ClearLatch(id, number, desk.who))
        return Shown(desk.words("clear.done", outlet=number), {"outlet": number, "cleared": True})

    fault = status_text.fault_lines(state, desk.words)
    return Question("\n".join([*fault, desk.words("clear.question", outlet=number)]), on_yes)


def _clear_cabinet(desk: Desk) -> Outcome:
    snapshot = desk.guard.snapshot()
    if snapshot.fault is None and not snapshot.siren:
        return Shown(desk.words("clear.cabinet_nothing"), {"outlet": CABINET, "cleared": False})

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: ClearLatch(id, CABINET, desk.who))
        return Shown(desk.words("clear.cabinet_done"), {"outlet": CABINET, "cleared": True})

    fault = status_text.cabinet_fault_lines(snapshot, desk.words)
    return Question("\n".join([*fault, desk.words("clear.cabinet_question")]), on_yes)
