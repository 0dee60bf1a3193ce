"""The cabinet as the guard sees it now: `status`, `outlet N`, `faults`."""

from cabinet.console import screens
from cabinet.console.arguments import OUTLET
from cabinet.console.declare import Desk, Outcome, Shown, command
from cabinet.console.staff import Level


@command("status", Level.LOOK, reads=True)
def status(desk: Desk) -> Outcome:
    snapshot, hindrance = desk.guard.snapshot(), desk.hindrance()
    return Shown(
        screens.status(snapshot, desk.words, desk.now_ns, hindrance), {"guard": snapshot, "service": hindrance}
    )


@command("outlet", Level.LOOK, OUTLET, example="outlet 3", reads=True)
def outlet(desk: Desk, number: int) -> Outcome:
    state = desk.state(number)
    return Shown(screens.outlet(state, desk.config, desk.words), state)


@command("faults", Level.LOOK, reads=True)
def faults(desk: Desk) -> Outcome:
    snapshot = desk.guard.snapshot()
    return Shown(screens.faults(snapshot, desk.words), screens.faults_data(snapshot))
