"""Console without a terminal: the real shell over a simulated cabinet, or over a fake guard, in one process."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2

from cabinet.clock import MS, NS, ManualClock
from cabinet.config import Config
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.console.command import Backends
from cabinet.console.reply import CommandAudit, Reply
from cabinet.console.shell import Shell
from cabinet.errors import LinkError, Refused
from cabinet.guard.guard import Guard
from cabinet.link.guard_protocol import ALLOWED, BusView, Command, Recent, Refusal, Role
from cabinet.maintenance import MaintenanceState
from cabinet.model import Snapshot
from cabinet_testing.console_snapshots import CONFIG
from cabinet_testing.fake_guard import FakeGuard
from cabinet_testing.sim_cabinet import SimCabinet

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ACCOUNTS = {"tech": Level.SERVICE, "night": Level.OPERATE, "guest": Level.LOOK}
DANGEROUS = {"off 3 force": Level.OPERATE, "clear 5": Level.SERVICE}  # lines, and the level that each needs


@functools.cache
def _accounts_file(language: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "staff.json")
        accounts = ConsoleAccounts(path, ManualClock(), CHEAP)
        for name, level in ACCOUNTS.items():
            accounts.set_pin(name, level, f"pin-{name}")
            accounts.remember(name, language=language)
        return path.read_bytes()


class DirectGuardClient:
    """The console's guard client, connected directly to the guard of a simulated cabinet, or to a fake one."""

    def __init__(self, cabinet: SimCabinet | FakeGuard, scan_ns: int = 0) -> None:
        """`scan_ns` is the time that a search for chips is given before its answer."""
        self.cabinet = cabinet
        self.clock = cabinet.clock
        self._scan_ns = scan_ns
        self.gone = False
        self.asked: list[Command] = []

    def snapshot(self) -> Snapshot:
        return self._guard().snapshot()

    def maintenance_state(self) -> MaintenanceState:
        return self._guard().maintenance_state()

    def bus(self, scan: bool = False) -> BusView:
        view = self._guard().bus_view(scan)
        if not scan or not self._scan_ns:
            return view
        self.run(self._scan_ns)
        return self._guard().bus_view()

    def recent(self) -> Recent:
        return Recent(self.clock.monotonic_ns(), list(self._guard().events.recent))

    def request(self, make: Callable[[int], Command]) -> None:
        guard = self._guard()
        command = make(7)
        self.asked.append(command)
        assert Role.CONSOLE in ALLOWED[type(command)]
        answer = guard.handle(command)
        if isinstance(answer, Refusal):
            raise Refused(answer.code, **answer.params)

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def run(self, duration_ns: int) -> None:
        """Let time pass in the cabinet."""
        if isinstance(self.cabinet, SimCabinet):
            self.cabinet.run(duration_ns)
        else:
            self.clock.advance_ns(duration_ns)

    def _guard(self) -> Guard | FakeGuard:
        if self.gone:
            raise LinkError("guard.sock: no guard answers (Connection refused)")
        return self.cabinet.guard if isinstance(self.cabinet, SimCabinet) else self.cabinet


class ConsoleHarness:
    """Types lines as a person at the console and returns the answers; live views run on the cabinet's clock."""

    def __init__(
        self,
        cabinet: SimCabinet | FakeGuard,
        folder: Path,
        name: str = "tech",
        audit: CommandAudit | None = None,
        config: Config | None = None,
        scan_ns: int = 0,
        language: str = "en",
        **backends: Any,
    ) -> None:
        """Log in as `name`, unless it is empty.

        The accounts are `ACCOUNTS`, each with the PIN "pin-" and its name. `audit` is by default `rows`; `config` is
        the console's configuration if it differs; `scan_ns`: see `DirectGuardClient`.
        """
        self.guard = DirectGuardClient(cabinet, scan_ns)
        self.clock = cabinet.clock
        self.hindrance: str | None = None
        self.attacker: str | None = None
        self.rows: list[tuple[str, str, str, str]] = []  # of the audit log
        (folder / "staff.json").write_bytes(_accounts_file(language))
        self.staff = ConsoleAccounts(folder / "staff.json", self.clock, CHEAP)
        backends = {"hindrance": lambda: self.hindrance, "attacker": lambda: self.attacker} | backends
        config = config or (cabinet.config if isinstance(cabinet, SimCabinet) else CONFIG)
        self.shell = Shell(config, self.staff, self.guard, self.clock, Backends(**backends), audit or self)
        self.read: list[str] = []
        self.reply = self.shell.greet()  # the last one
        if name:
            self.log_in(name)

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        self.rows.append((account, level, line, outcome))
        return True

    def log_in(self, name: str = "tech") -> str:
        self.shell.end()
        self.say(name)
        return self.say(f"pin-{name}")

    def say(self, line: str) -> str:
        """Type a line. Return the answer, with everything that follows by itself."""
        return self.follow(self.shell.line(line))

    def begin(self, line: str) -> Reply:
        """Type a line. Return the answer without waiting for live views."""
        return self.shell.line(line)

    def follow(self, reply: Reply) -> str:
        texts = [reply.text]
        while reply.live_s is not None:
            self.guard.run(round(reply.live_s * 1000) * MS)
            again = self.shell.tick()
            if again is not None:
                reply = again
                texts.append(reply.text)
        self.reply = reply
        said = "\n".join(text for text in texts if text)
        self.read.append(said)
        return said

    def wait(self, seconds: float) -> None:
        self.guard.run(round(seconds * NS))
