"""Test commands: an outlet closed for a limited time, self-test, relay cycling, alert line, RCD, siren, lamps."""

from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, PLACE, optional, whole, word
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.commands import running_test
from cabinet.console.commands.force import FORCE, confirmation, ends_charges
from cabinet.errors import Refused
from cabinet.link.guard_protocol import (
    MAX_CYCLES,
    MAX_SIREN_S,
    MAX_TRIAL_S,
    CycleRelay,
    SoundSiren,
    StartSelfTest,
    StartTestCharge,
    TestAlertLine,
    TestResidual,
)
from cabinet.model import CABINET

SIREN_S = 2


@command("on", Level.OPERATE, OUTLET, whole("seconds", 1, MAX_TRIAL_S), FORCE, example="on 4 60")
def on(context: CommandContext, number: int, seconds: int, force: str | None) -> CommandResult:
    """Close the outlet for a test charge; the guard opens it after that time, even if the console is gone."""
    ends = ends_charges(context, force, number)
    state = context.state(number)
    if not ends and state.refusal not in (None, "outlet_busy", "out_of_service"):
        raise Refused(state.refusal)

    def on_yes() -> CommandResult:
        context.guard.request(lambda id: StartTestCharge(id, number, seconds, context.who, ends))
        return Output(context.words("on.done", outlet=number, seconds=seconds), {"outlet": number, "seconds": seconds})

    question = context.words("on.question", outlet=number, seconds=seconds)
    return confirmation(context, question, on_yes, ends, number)


@command("selftest", Level.SERVICE, optional(PLACE), FORCE, example="selftest 4")
def selftest(context: CommandContext, place: int | None, force: str | None) -> CommandResult:
    """Run the self-test. It opens the contactor and leaves every outlet without power, so any charge blocks it."""
    number = CABINET if place is None else place
    ends = ends_charges(context, force)
    key = "selftest.question_all" if number == CABINET else "selftest.question"
    return running_test.ask(
        context, context.words(key, outlet=number), lambda id: StartSelfTest(id, number, context.who, ends), ends
    )


@command("relay", Level.SERVICE, OUTLET, word("cycle"), whole("times", 1, MAX_CYCLES), FORCE, example="relay 4 cycle 5")
def relay(context: CommandContext, number: int, times: int, force: str | None) -> CommandResult:
    ends = ends_charges(context, force, number)
    question = context.words("relay_cycle.question", outlet=number, times=times)
    return running_test.ask(
        context, question, lambda id: CycleRelay(id, number, times, context.who, ends), ends, number
    )


@command("alert test", Level.SERVICE, OUTLET, FORCE, example="alert test 4")
def alert_test(context: CommandContext, number: int, force: str | None) -> CommandResult:
    chips = {outlet.number: (outlet.meter.mux, outlet.meter.channel) for outlet in context.config.outlet}
    neighbours = [other for other, chip in chips.items() if chip == chips[number]]
    ends = ends_charges(context, force, *neighbours)
    question = context.words("alert_test.question", outlet=number)
    return running_test.ask(
        context, question, lambda id: TestAlertLine(id, number, context.who, ends), ends, *neighbours
    )


@command("rcd test", Level.SERVICE, FORCE)
def rcd_test(context: CommandContext, force: str | None) -> CommandResult:
    if not context.guard.maintenance_state().residual_test_fitted:
        raise Refused("no_residual_test")
    ends = ends_charges(context, force)
    question = context.words("rcd_test.question")
    return running_test.ask(context, question, lambda id: TestResidual(id, context.who, ends), ends)


@command("siren test", Level.OPERATE, optional(whole("seconds", 1, MAX_SIREN_S)))
def siren_test(context: CommandContext, seconds: int | None) -> CommandResult:
    if not context.guard.maintenance_state().siren_fitted:
        raise Refused("no_siren")
    sounds_s = seconds or SIREN_S
    question = context.words("siren_test.question", seconds=sounds_s)
    return running_test.ask(context, question, lambda id: SoundSiren(id, sounds_s, context.who))


@command("lamp", Level.OPERATE)
def lamp(context: CommandContext) -> CommandResult:
    """Refuse: no output for lamps can be configured, and the command does not pretend otherwise."""
    raise Refused("no_lamps")


@command("job", Level.LOOK, reads=True)
def job(context: CommandContext) -> CommandResult:
    return running_test.shown(context)
