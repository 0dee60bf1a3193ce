"""Commands that open an outlet, and that clear a latched fault."""

from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, PLACE
from cabinet.console.command import CommandContext, CommandResult, Confirmation, Output, command
from cabinet.console.commands.force import FORCE, ends_charges
from cabinet.link.guard_protocol import ClearLatch, Open
from cabinet.model import CABINET, EndReason, Phase


@command("off", Level.OPERATE, OUTLET, FORCE, example="off 3 force")
def off(context: CommandContext, number: int, force: str | None) -> CommandResult:
    """Open an outlet without a question: opening is the safe direction.

    A resident's charge ends only with `force`, not by a typing error.
    """
    ends_charges(context, force, number, least=Level.OPERATE)
    was = context.state(number)
    context.guard.request(lambda id: Open(id, number, EndReason.STOPPED_BY_STAFF, who=context.who))
    charge_ended = was.phase is not Phase.IDLE and not was.trial
    key = "off.done_charge_ended" if charge_ended else "off.done"
    return Output(context.words(key, outlet=number), {"outlet": number, "charge_ended": charge_ended})


@command("clear", Level.SERVICE, PLACE, example="clear 5")
def clear(context: CommandContext, number: int) -> CommandResult:
    if number == CABINET:
        return _clear_cabinet(context)
    state = context.state(number)
    if not state.latched or state.fault is None:
        return Output(context.words("clear.nothing", outlet=number), {"outlet": number, "cleared": False})

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: ClearLatch(id, number, context.who))
        return Output(context.words("clear.done", outlet=number), {"outlet": number, "cleared": True})

    fault = status_text.fault_lines(state, context.words)
    return Confirmation("\n".join([*fault, context.words("clear.question", outlet=number)]), on_yes)


def _clear_cabinet(context: CommandContext) -> CommandResult:
    snapshot = context.guard.snapshot()
    if snapshot.fault is None and not snapshot.siren:
        return Output(context.words("clear.cabinet_nothing"), {"outlet": CABINET, "cleared": False})

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: ClearLatch(id, CABINET, context.who))
        return Output(context.words("clear.cabinet_done"), {"outlet": CABINET, "cleared": True})

    fault = status_text.cabinet_fault_lines(snapshot, context.words)
    return Confirmation("\n".join([*fault, context.words("clear.cabinet_question")]), on_yes)
