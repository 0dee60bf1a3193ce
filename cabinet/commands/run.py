"""`cabinet run`: run all processes of the cabinet from one terminal, with a log of events, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import datetime
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from cabinet import config as configuration
from cabinet.clock import NS, SystemClock
from cabinet.commands.options import DEFAULT_CONFIG, FALLBACK_CONFIG
from cabinet.config import Config
from cabinet.demo import folder
from cabinet.demo.banner import banner_lines
from cabinet.demo.children import ChildGroup, ChildPlan
from cabinet.demo.event_log import event_lines
from cabinet.demo.logins import Logins, seed
from cabinet.demo.receipts import Receipts
from cabinet.errors import CabinetError, os_error_at
from cabinet.link.guard_link import GuardLink
from cabinet.link.guard_protocol import Role
from cabinet.model import Event, Snapshot
from cabinet.service.accounts import admin
from cabinet.system import run_folder
from cabinet.system.sd_notify import Notifier
from cabinet.texts import Texts

RECEIPT_WITHIN_NS = 20 * NS


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="run this cabinet (default: a simulated one, made in --state)"
    )
    parser.add_argument(
        "--state", type=Path, default=Path("var"), metavar="DIR", help="folder of the simulated one (default: ./var)"
    )
    parser.add_argument("--port", type=port, metavar="N", help="web port of the simulated one (default: 8080)")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="simulated hardware: run it and the guard at real-time priority and at the full scan rate, as on a "
        "real cabinet (default: without either, which takes a fraction of the processor's time)",
    )
    parser.add_argument("--verbose", action="store_true", help="show everything the processes say, not only warnings")


def port(text: str) -> int:
    """Return a port, checked before it is written into the configuration. Raises ValueError, which argparse reports."""
    if not 0 <= (number := int(text)) <= 65_535:
        raise ValueError(text)
    return number


def main(args: argparse.Namespace) -> int:
    if args.config is not None and args.port is not None:
        raise CabinetError("--port is for the simulated cabinet of --state; in your own file set service.port")
    path = args.config.absolute() if args.config is not None else folder.prepare(args.state, args.port)
    config = configuration.load(path)
    logging.getLogger("cabinet.link").setLevel(logging.ERROR)  # `_on_link` reports a lost guard
    with lock_run_folder(Path(config.paths.run)):
        folder.check_port_is_free(config.service.host, config.service.port)
        logins = seed(config, args.state / "demo-secrets.json", SystemClock()) if args.config is None else None
        return asyncio.run(CabinetProcesses(path, config, logins, args.verbose, args.realtime).until_stopped())


@contextlib.contextmanager
def lock_run_folder(run_folder: Path) -> Iterator[None]:
    """Lock the folder of sockets. Raises CabinetError if another `cabinet run` uses it."""
    with os_error_at(run_folder):
        run_folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(run_folder / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise CabinetError(
            f"{run_folder}: another cabinet run is at work there; stop it, or give --state DIR"
        ) from error
    try:
        yield
    finally:
        os.close(lock)


class CabinetProcesses:
    """Processes of one cabinet, and their log on the terminal."""

    def __init__(
        self, path: Path, config: Config, logins: Logins | None, verbose: bool, realtime: bool = False
    ) -> None:
        """Prepare the processes. Simulated ones run in demonstration mode unless `realtime` is set."""
        self._path = path
        self._config = config
        self._logins = logins
        self._verbose = verbose
        self._mode = ["--demo"] if config.simulated and not realtime else []
        self._run = Path(config.paths.run)
        self._clock = SystemClock()
        self._words = Texts("common", "en")
        self._stop = asyncio.Event()
        self._seen: Snapshot | None = None
        self._receipts = Receipts(admin.database_path(config), self._clock.wall().unix_ms, self._words)
        self._look_until_ns = 0  # for receipts of ended charges

    async def until_stopped(self) -> int:
        """Start all processes, wait for a signal or a fatal error, then stop all processes in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        group = ChildGroup(self._plans(), self._pass_on, self._clock, self._still_valid)
        work, stop = asyncio.create_task(self._work(group)), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            work.cancel()
            stop.cancel()
            await asyncio.wait({work})
            self._say("run", "stopping: console, service, guard, simulator")
            await group.stop()
            self._say("run", "stopped")
        return 0

    async def _work(self, group: ChildGroup) -> None:
        await group.start()
        for line in self._greeting():
            self._print(line)
        Notifier().ready("every process is up")
        link = GuardLink(run_folder.guard_socket(self._run), Role.VIEWER, self._on_snapshot, _no_event, self._on_link)
        await asyncio.gather(group.failed(), link.run(), self._show_receipts())

    def _greeting(self) -> list[str]:
        url = run_folder.service_address(self._run).read_text(encoding="utf-8").strip()
        terminal = None
        if self._config.console.port:
            port = self._config.console.port
            device = os.readlink(run_folder.console_terminal(self._run)) if port == "pty" else port
            python = _as_typed(Path(sys.executable))
            terminal = f"{python} -m serial.tools.miniterm --raw {device} {self._config.console.baud}"
        return banner_lines(self._config, self._cabinet(), url, self._logins, terminal)

    def _cabinet(self) -> str:
        """Return the `cabinet` command line for this configuration, as typed in the terminal of this process."""
        command = _as_typed(Path(sys.argv[0])) if Path(sys.argv[0]).name == "cabinet" else "cabinet"
        found_by_itself = self._path == (Path.cwd() / FALLBACK_CONFIG) and not Path(DEFAULT_CONFIG).exists()
        return command if found_by_itself else f"CABINET_CONFIG={self._path} {command}"

    async def _show_receipts(self) -> None:
        """Print receipts. The database is read only for a short time after a charge has ended."""
        while True:
            if self._clock.monotonic_ns() < self._look_until_ns:
                for line in await asyncio.to_thread(self._receipts.new):
                    self._say("service", line)
            await asyncio.sleep(1)

    def _plans(self) -> list[ChildPlan]:
        def plan(name: str, *words: str) -> ChildPlan:
            return ChildPlan(name, [sys.executable, "-m", "cabinet.main", *words, "--config", str(self._path)])

        plans = [plan("guard", "guard", *self._mode), plan("service", "serve")]
        if self._config.simulated:
            plans.insert(0, plan("sim", "sim", "serve", *self._mode))
        if self._config.uplink.enabled:
            plans.append(plan("uplink", "uplink"))
        if self._config.console.port:
            plans.append(plan("console", "console"))
        return plans

    def _still_valid(self) -> None:
        """Check the configuration before a child restarts. If it is broken, CabinetError prevents endless restarts."""
        configuration.load(self._path)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        for line in event_lines(self._seen, snapshot, self._words):
            self._say("guard", line)
        if self._seen is not None and _charges(self._seen) - _charges(snapshot):
            self._look_until_ns = snapshot.at_ns + RECEIPT_WITHIN_NS
        self._seen = snapshot

    def _on_link(self, connected: bool) -> None:
        if not connected and not self._stop.is_set():
            self._say("guard", "gone: its keeper opens every outlet")

    def _pass_on(self, who: str, line: str) -> None:
        """Print a line from a process: its warnings and errors, and with --verbose everything."""
        if self._verbose or who == "run" or not line.startswith(("INFO ", "serving ", "simulating ")):
            self._say(who, line)

    def _say(self, who: str, line: str) -> None:
        now = datetime.datetime.fromtimestamp(self._clock.wall().unix_ms / 1000)  # of this terminal, not of the site
        self._print(f"{now:%H:%M:%S} {who:<8} {line}")

    def _print(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # the terminal is gone: stop as for Ctrl-C, and print nothing more
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            self._stop.set()


def _charges(snapshot: Snapshot) -> set[str]:
    """Return the IDs of sessions on the guard's outlets."""
    return {state.session_id for state in snapshot.outlets if state.session_id is not None}


def _as_typed(path: Path) -> str:
    """Return the shortest path that works from here; links are kept: a virtual environment's python is one."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


async def _no_event(event: Event) -> None:
    raise AssertionError(f"a viewer got {event}")  # the guard sends events to the service only
