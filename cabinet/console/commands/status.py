"""Present state of the cabinet from the guard: `status`, `watch`, `outlet N`, `faults`."""

import platform
import shutil

from cabinet import __version__
from cabinet.clock import NS
from cabinet.console import status_text
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET
from cabinet.console.command import CommandContext, CommandResult, LiveView, Output, command
from cabinet.console.commands.margins import nearness
from cabinet.console.commands.uplink import link_state
from cabinet.errors import LinkError
from cabinet.model import Snapshot
from cabinet.system.computer_state import all_problems
from cabinet.texts import number_format

WATCH_PERIOD_S = 0.5


@command("status", Level.LOOK, reads=True)
def status(context: CommandContext) -> CommandResult:
    snapshot = context.guard.snapshot()
    machine = machine_of(context, snapshot)
    return Output(_screen(context, snapshot, machine), {"guard": snapshot, "machine": machine})


@command("watch", Level.LOOK, reads=True)
def watch(context: CommandContext) -> CommandResult:
    """Show the live status. If the guard is gone, the view reports that and continues once the guard is back."""

    def step() -> str:
        try:
            snapshot = context.guard.snapshot()
            return _screen(context, snapshot, machine_of(context, snapshot))
        except LinkError:
            return context.words("guard.gone")

    return LiveView(WATCH_PERIOD_S, step, lambda: context.words("watch.over"), redraws=True)


@command("outlet", Level.LOOK, OUTLET, example="outlet 3", reads=True)
def outlet(context: CommandContext, number: int) -> CommandResult:
    state = context.state(number)
    near = nearness(state, context.config)
    return Output(status_text.outlet(state, context.config, context.words, near), {"outlet": state, "nearness": near})


@command("faults", Level.LOOK, reads=True)
def faults(context: CommandContext) -> CommandResult:
    snapshot = context.guard.snapshot()
    return Output(status_text.faults(snapshot, context.words), status_text.faults_data(snapshot))


def machine_of(context: CommandContext, snapshot: Snapshot) -> status_text.ComputerStatus:
    """Return the status data of the computer: clock, disk, versions, service, and problems found by it or the guard."""
    wall = context.clock.wall()
    try:
        free_bytes = shutil.disk_usage(context.state_folder).free
    except OSError:
        free_bytes = None
    return status_text.ComputerStatus(
        clock=number_format.local(wall, context.zone).isoformat(" ", "seconds")[:19],
        trusted=wall.trusted,
        disk_free_bytes=free_bytes,
        up_s=context.clock.monotonic_ns() // NS,
        version=__version__,
        system=f"{platform.system()} {platform.release()}",
        service=context.backends.hindrance(),
        unkept=context.backends.unkept(),
        attacker=context.backends.attacker(),
        problems=all_problems(context.config, snapshot.health),
        uplink=link_state(context),
    )


def _screen(context: CommandContext, snapshot: Snapshot, machine: status_text.ComputerStatus) -> str:
    return status_text.status(snapshot, context.words, context.now_ns, machine)
