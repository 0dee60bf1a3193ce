"""`cabinet console`: serves the maintenance console on its port, and makes PINs for it."""

import argparse
import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from cabinet import config as configuration
from cabinet import pulse
from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.config.commissioning import load_or_commission
from cabinet.console.cable import Cable
from cabinet.console.guard_line import GuardLine
from cabinet.console.line import READ_TIMEOUT_S, Conversation, Line, Port, open_port
from cabinet.console.shell import Shell
from cabinet.console.staff import Level, Staff
from cabinet.errors import CabinetError
from cabinet.link.client import BlockingGuard
from cabinet.link.protocol import Role
from cabinet.notify import Notifier

GUARD_TIMEOUT_S = 1.0  # a technician is told soon that the guard hangs


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--new-pin", metavar="NAME", help="make an account, or a new PIN for it, print the PIN once, and end"
    )
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
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = load_or_commission(args.config) if args.commissioning else configuration.load(args.config)
    staff = open_staff(config)
    if args.new_pin is not None:
        print(f"{args.new_pin}: PIN {staff.new_pin(args.new_pin, Level[args.level.upper()])}")
        return 0
    if not config.console.port:
        raise CabinetError(f"{args.config}: console.port: is empty, so there is no console to serve")
    if (first := staff.create_first()) is not None:
        print(f"first console account: {first[0]}, PIN {first[1]} (change it: cabinet console --new-pin {first[0]})")
    serve(config, staff)
    return 0


def open_staff(config: Config) -> Staff:
    return Staff(Path(config.paths.state) / "console-staff.json", SystemClock())


def serve(config: Config, staff: Staff) -> None:
    """Until SIGTERM or SIGINT."""
    run = Path(config.paths.run)
    guard = GuardLine(lambda: BlockingGuard(run / "guard.sock", Role.CONSOLE, GUARD_TIMEOUT_S))
    clock, beat = SystemClock(), pulse.path_in(run)
    shell = Shell(config, staff, guard, clock, lambda: pulse.hindrance(beat, clock.monotonic_ns()))
    conversation = Conversation(shell)
    stop = threading.Event()
    notifier = Notifier()
    if config.console.port == "pty":
        cable = Cable()
        link = run / "console.pty"
        _point(link, cable.terminal)
        try:
            line = Line(_from_cable(cable, config.console.baud), conversation, _waiter(stop), notifier.alive)
            _until_stopped(line, stop, notifier, f"on {cable.terminal}")
        finally:
            link.unlink(missing_ok=True)
            cable.close()
    else:
        port, baud = config.console.port, config.console.baud
        line = Line(lambda: open_port(port, baud), conversation, _waiter(stop), notifier.alive)
        _until_stopped(line, stop, notifier, f"on {port} at {baud}")


def _from_cable(cable: Cable, baud: int) -> Callable[[], Port]:
    return lambda: open_port(cable.device(READ_TIMEOUT_S), baud)


def _waiter(stop: threading.Event) -> Callable[[float], None]:
    def wait(seconds: float) -> None:
        stop.wait(seconds)

    return wait


def _until_stopped(line: Line, stop: threading.Event, notifier: Notifier, where: str) -> None:
    def end(number: int, frame: object) -> None:
        line.stopping = True
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    notifier.ready(f"console {where}")
    line.serve()


def _point(link: Path, target: str) -> None:
    """`link` leads to `target`, also where an earlier process left one behind."""
    beside = link.with_name(link.name + ".new")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(link)
    except OSError as error:
        raise CabinetError(f"{link}: {error.strerror}") from error
