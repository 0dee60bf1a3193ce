"""Present state of the cabinet from the guard: `status`, `watch`, `outlet N`, `faults`."""

import platform
import shutil

from cabinet import __version__
from cabinet.clock import NS
from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET
from cabinet.console.command import Desk, Live, Outcome, Shown, command
from cabinet.console.commands.margins import nearness
from cabinet.errors import LinkError
from cabinet.model import Snapshot
from cabinet.texts import number_format

WATCH_PERIOD_S = 0.5


@command("status", Level.LOOK, reads=True)
def status(desk: Desk) -> Outcome:
    snapshot, machine = desk.guard.snapshot(), machine_of(desk)
    return Shown(_screen(desk, snapshot, machine), {"guard": snapshot, "machine": machine})


@command("watch", Level.LOOK, reads=True)
def watch(desk: Desk) -> Outcome:
    """Show the live status. If the guard is gone, the view reports that and continues once the guard is back."""

    def step() -> str:
        try:
            return _screen(desk, desk.guard.snapshot(), machine_of(desk))
        except LinkError:
            return desk.words("guard.gone")

    return Live(WATCH_PERIOD_S, step, lambda: desk.words("watch.over"), redraws=True)


@command("outlet", Level.LOOK, OUTLET, example="outlet 3", reads=True)
def outlet(desk: Desk, number: int) -> Outcome:
    state = desk.state(number)
    near = nearness(state, desk.config)
    return Shown(status_text.outlet(state, desk.config, desk.words, near), {"outlet": state, "nearness": near})


@command("faults", Level.LOOK, reads=True)
def faults(desk: Desk) -> Outcome:
    snapshot = desk.guard.snapshot()
    return Shown(status_text.faults(snapshot, desk.words), status_text.faults_data(snapshot))


def machine_of(desk: Desk) -> status_text.Machine:
    """Return the status data that does not come from the guard: clock, disk, versions, service."""
    wall = desk.clock.wall()
    try:
        free_bytes = shutil.disk_usage(desk.state_folder).free
    except OSError:
        free_bytes = None
    return status_text.Machine(
        clock=number_format.local(wall, desk.zone).isoformat(" ", "seconds")[:19],
        trusted=wall.trusted,
        disk_free_bytes=free_bytes,
        up_s=desk.clock.monotonic_ns() // NS,
        version=__version__,
        system=f"{platform.system()} {platform.release()}",
        service=desk.around.hindrance(),
        unkept=desk.around.unkept(),
        attacker=desk.around.attacker(),
    )


def _screen(desk: Desk, snapshot: Snapshot, machine: status_text.Machine) -> str:
    return status_text.status(snapshot, desk.words, desk.now_ns, machine)
