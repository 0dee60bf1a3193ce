"""`cabinet console`: serve the maintenance console on its port, and manage its accounts and PINs."""

import argparse
import logging
import os
import pwd
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from cabinet import config as configuration
from cabinet import normal_form, plain_text
from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.config.commissioning import load_or_commission
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.console.audit_file import AuditFile
from cabinet.console.command import Backends
from cabinet.console.guard_client import ReconnectingGuardClient
from cabinet.console.service_client import ServiceSocketClient
from cabinet.console.shell import Shell
from cabinet.console.terminal.pty_pair import PtyPair
from cabinet.console.terminal.serial_port import READ_TIMEOUT_S, SerialPort, SerialServer, open_port
from cabinet.console.terminal.session import TerminalSession
from cabinet.errors import CabinetError, os_error_at
from cabinet.link import service_status, uplink_protocol
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Role
from cabinet.link.service_protocol import StoreAudit, Stored, path_in
from cabinet.system import run_folder
from cabinet.system.sd_notify import Notifier
from cabinet.system.steward.client import StewardSocketClient
from cabinet.system.steward.protocol import SOCKET

log = logging.getLogger(__name__)

USER = "cabinet-console"  # the console's own account on an installed cabinet (systemd/cabinet.sysusers)
GUARD_TIMEOUT_S = 1.0  # short: the console soon reports a guard that hangs
SERVICE_TIMEOUT_S = 3.0  # sufficient for a service with a slow disk
CARRY_RETRY_S = 5.0  # retry interval for audit log rows if the service is not available


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--new-pin", metavar="NAME", help="make an account, or a new PIN for it, print the PIN once, and end"
    )
    parser.add_argument("--remove", metavar="NAME", help="take an account away, and end")
    parser.add_argument(
        "--commissioning", action="store_true", help="also where there is no configuration yet: on /dev/serial0"
    )
    parser.add_argument(
        "--level",
        choices=[level.name.lower() for level in Level],
        default="service",
        help="with --new-pin: what the account may do (default: service)",
    )


def main(args: argparse.Namespace) -> int:
    plain_text.set_up_logging()
    config = load_or_commission(args.config) if args.commissioning else configuration.load(args.config)
    staff = open_staff(config)
    if args.new_pin is not None:
        name = normal_form.label(args.new_pin)
        print(f"{name}: PIN {staff.new_pin(name, Level[args.level.upper()])}")
        return 0
    if args.remove is not None:
        name = normal_form.label(args.remove)
        staff.remove(name)
        print(f"{name}: removed")
        return 0
    if not config.console.port:
        raise CabinetError(f"{args.config}: console.port: is empty, so there is no console to serve")
    _first_account(staff)
    serve(config, staff, args.config)
    return 0


def _first_account(staff: ConsoleAccounts) -> None:
    """Create the first account. Its PIN is for the installer only: it is printed on a terminal, never in a service
    manager's log."""
    if sys.stdout.isatty():
        if (first := staff.create_first()) is not None:
            print(f"first console account: {first[0]}, PIN {first[1]} (change it there: pin)")
    elif not staff.names():
        log.warning("no console account yet: make one with: cabinet console --new-pin NAME")


def open_staff(config: Config) -> ConsoleAccounts:
    return ConsoleAccounts(Path(config.paths.state) / "console-staff.json", SystemClock(), owner=_owner())


def _owner() -> int | None:
    """Return the owner for the accounts file if root writes it: a file owned by root would lock the console out."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:
        return None


def serve(config: Config, staff: ConsoleAccounts, source: Path) -> None:
    """Serve the console until SIGTERM or SIGINT."""
    run = Path(config.paths.run)
    guard = ReconnectingGuardClient(lambda: BlockingGuard(run_folder.guard_socket(run), Role.CONSOLE, GUARD_TIMEOUT_S))
    clock, beat = SystemClock(), service_status.path_in(run)
    records = ServiceSocketClient(path_in(run), SERVICE_TIMEOUT_S)
    audit_file = AuditFile(Path(config.paths.state) / "console-audit.jsonl", clock)
    steward = StewardSocketClient(run_folder.steward_folder(run) / SOCKET, clock=clock)
    backends = Backends(
        hindrance=lambda: service_status.start_refusal(beat, clock.monotonic_ns()),
        attacker=lambda: service_status.attacking_address(beat, clock.monotonic_ns()),
        records=records,
        steward=steward,
        source=source,
        unclosed=lambda: service_status.unclosed_month(beat, clock.monotonic_ns()),
        unkept=lambda: audit_file.waiting,
        uplink=lambda: uplink_protocol.read_status(uplink_protocol.status_file(run), clock.monotonic_ns()),
    )
    shell = Shell(config, staff, guard, clock, backends, audit_file)
    conversation = TerminalSession(shell, clock, config.console.baud)
    stop = threading.Event()
    audit_file.start_sending(lambda entries: records.ask(StoreAudit(entries), Stored), CARRY_RETRY_S)
    notifier = Notifier()
    try:
        _serve_port(config, run, conversation, stop, notifier)
    finally:
        audit_file.close()


def _serve_port(
    config: Config, run: Path, conversation: TerminalSession, stop: threading.Event, notifier: Notifier
) -> None:
    port, baud = config.console.port, config.console.baud

    def serve_on(connect: Callable[[], SerialPort], where: str) -> None:
        line = SerialServer(connect, conversation, stop.wait, notifier.alive)
        _until_stopped(line, stop, notifier, f"on {where}")

    if port != "pty":
        serve_on(lambda: open_port(port, baud), f"{port} at {baud}")
        return
    cable = PtyPair()
    link = run_folder.console_terminal(run)
    _point(link, cable.terminal)
    try:
        serve_on(lambda: open_port(cable.device(READ_TIMEOUT_S), baud), cable.terminal)
    finally:
        link.unlink(missing_ok=True)
        cable.close()


def _until_stopped(line: SerialServer, stop: threading.Event, notifier: Notifier, where: str) -> None:
    def end(number: int, frame: object) -> None:
        line.stopping = True
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    notifier.ready(f"console {where}")
    line.serve()


def _point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, replacing one left by an earlier process."""
    beside = link.with_name(link.name + ".new")
    with os_error_at(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(link)
