"""`cabinet steward`: do the console's tasks that need root. Of the configuration it needs only the folders."""

import argparse
import os
import pwd
import signal
from pathlib import Path

from cabinet import config as configuration
from cabinet import plain_text
from cabinet.clock import SystemClock, boot_id
from cabinet.commands.options import add_config
from cabinet.config.commissioning import load_or_commission
from cabinet.errors import CabinetError
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Role
from cabinet.system import run_folder
from cabinet.system.sd_notify import Notifier
from cabinet.system.steward import usb_drives
from cabinet.system.steward.protocol import SOCKET
from cabinet.system.steward.requests import StewardRequests, this_machine
from cabinet.system.steward.server import Server
from cabinet.system.steward.updates import InspectionContext
from cabinet.system.update.computer import Computer
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.survey import KEYS

CONSOLE_USER = "cabinet-console"
POLL_S = 5.0  # systemd's watchdog waits 60


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--commissioning", action="store_true", help="also where there is no configuration yet, as the console does"
    )
    parser.add_argument("--user", default=CONSOLE_USER, help=f"account that may ask (default: {CONSOLE_USER})")


def main(args: argparse.Namespace) -> int:
    plain_text.set_up_logging()
    config = load_or_commission(args.config) if args.commissioning else configuration.load(args.config)
    try:
        uid = pwd.getpwnam(args.user).pw_uid
    except KeyError:
        raise CabinetError(
            f"there is no account {args.user}: systemd-sysusers makes it, or name another: --user"
        ) from None
    run = Path(config.paths.run)
    machine = this_machine(Path(config.paths.state) / "backups")
    usb_drives.unmount_leftover(machine)
    context = InspectionContext(machine, Computer(args.config), UpdateFolder(), KEYS, boot_id(), SystemClock())
    steward = StewardRequests(context, lambda: charging(run_folder.guard_socket(run)))
    server = Server(run_folder.steward_folder(run) / SOCKET, frozenset({uid, os.geteuid()}), steward)
    stopping: list[int] = []

    def stop(number: int, _: object) -> None:
        stopping.append(number)
        server.wake()

    signal.signal(signal.SIGTERM, stop)
    notifier = Notifier()
    notifier.ready("the console's steward")
    while not stopping:
        server.serve_one(POLL_S)
        steward.poll()
        notifier.alive()
    server.close()
    return 0


def charging(path: Path) -> bool:
    """Return whether a resident's charge is in progress. Raises LinkError if the guard does not answer."""
    with BlockingGuard(path, Role.VIEWER) as guard:
        return any(state.session_id is not None and not state.trial for state in guard.snapshot().outlets)
