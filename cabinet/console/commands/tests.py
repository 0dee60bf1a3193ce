"""Test commands: an outlet closed for a limited time, self-test, relay cycling, alert line, RCD, siren, lamps."""

from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, PLACE, optional, whole, word
from cabinet.console.command import Desk, Outcome, Question, Shown, command
from cabinet.console.commands import running_test
from cabinet.console.commands.force import FORCE, forced, warning
from cabinet.errors import Refused
from cabinet.link.protocol import (
    MAX_CYCLES,
    MAX_SIREN_S,
    MAX_TRIAL_S,
    CycleRelay,
    SelfTest,
    SoundSiren,
    TestAlertLine,
    TestResidual,
    Try,
)
from cabinet.model import CABINET

SIREN_S = 2


@command("on", Level.OPERATE, OUTLET, whole("seconds", 1, MAX_TRIAL_S), FORCE, example="on 4 60")
def on(desk: Desk, number: int, seconds: int, force: str | None) -> Outcome:
    """Close the outlet for a test charge; the guard opens it after that time, even if the console is gone."""
    ends = forced(desk, force, number)
    state = desk.state(number)
    if not ends and state.refusal not in (None, "outlet_busy", "out_of_service"):
        raise Refused(state.refusal)

    def on_yes() -> Outcome:
        desk.guard.request(lambda id: Try(id, number, seconds, desk.who, ends))
        return Shown(desk.words("on.done", outlet=number, seconds=seconds), {"outlet": number, "seconds": seconds})

    lines = [*warning(desk, ends, number), desk.words("on.question", outlet=number, seconds=seconds)]
    return Question("\n".join(lines), on_yes)


@command("selftest", Level.SERVICE, optional(PLACE), FORCE, example="selftest 4")
def selftest(desk: Desk, place: int | None, force: str | None) -> Outcome:
    """Run the self-test. It opens the contactor and leaves every outlet without power, so any charge blocks it."""
    number = CABINET if place is None else place
    ends = forced(desk, force)

    def on_yes() -> Outcome:
        return running_test.begin(desk, lambda id: SelfTest(id, number, desk.who, ends))

    key = "selftest.question_all" if number == CABINET else "selftest.question"
    return Question("\n".join([*warning(desk, ends), desk.words(key, outlet=number)]), on_yes)


@command("relay", Level.SERVICE, OUTLET, word("cycle"), whole("times", 1, MAX_CYCLES), FORCE, example="relay 4 cycle 5")
def relay(desk: Desk, number: int, times: int, force: str | None) -> Outcome:
    ends = forced(desk, force, number)

    def on_yes() -> Outcome:
        return running_test.begin(desk, lambda id: CycleRelay(id, number, times, desk.who, ends))

    lines = [*warning(desk, ends, number), desk.words("relay_cycle.question", outlet=number, times=times)]
    return Question("\n".join(lines), on_yes)


@command("alert test", Level.SERVICE, OUTLET, FORCE, example="alert test 4")
def alert_test(desk: Desk, number: int, force: str | None) -> Outcome:
    neighbours = _on_chip_of(desk, number)
    ends = forced(desk, force, *neighbours)

    def on_yes() -> Outcome:
        return running_test.begin(desk, lambda id: TestAlertLine(id, number, desk.who, ends))

    lines = [*warning(desk, ends, *neighbours), desk.words("alert_test.question", outlet=number)]
    return Question("\n".join(lines), on_yes)


def _on_chip_of(desk: Desk, number: int) -> list[int]:
    places = {outlet.number: (outlet.meter.mux, outlet.meter.channel) for outlet in desk.config.outlet}
    return [other for other, place in places.items() if place == places[number]]


@command("rcd test", Level.SERVICE, FORCE)
def rcd_test(desk: Desk, force: str | None) -> Outcome:
    if not desk.guard.upkeep().residual_test_fitted:
        raise Refused("no_residual_test")
    ends = forced(desk, force)

    def on_yes() -> Outcome:
        return running_test.begin(desk, lambda id: TestResidual(id, desk.who, ends))

    return Question("\n".join([*warning(desk, ends), desk.words("rcd_test.question")]), on_yes)


@command("siren test", Level.OPERATE, optional(whole("seconds", 1, MAX_SIREN_S)))
def siren_test(desk: Desk, seconds: int | None) -> Outcome:
    if not desk.guard.upkeep().siren_fitted:
        raise Refused("no_siren")

    def on_yes() -> Outcome:
        return running_test.begin(desk, lambda id: SoundSiren(id, seconds or SIREN_S, desk.who))

    return Question(desk.words("siren_test.question", seconds=seconds or SIREN_S), on_yes)


@command("lamp", Level.OPERATE)
def lamp(desk: Desk) -> Outcome:
    """Refuse: no output for lamps can be configured, and the command does not pretend otherwise."""
    raise Refused("no_lamps")


@command("job", Level.LOOK, reads=True)
def job(desk: Desk) -> Outcome:
    return running_test.shown(desk)
