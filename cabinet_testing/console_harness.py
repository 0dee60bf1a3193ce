"""Console over a simulated cabinet: the real shell and guard over the simulator, in one process."""

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
from cabinet.link.guard_protocol import ALLOWED, BusView, Command, Recent, Refusal, Role
from cabinet.maintenance import MaintenanceState
from cabinet.model import Snapshot
from cabinet_testing.sim_cabinet import SimCabinet

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ACCOUNTS = {"tech": Level.SERVICE, "night": Level.OPERATE, "guest": Level.LOOK}


def made_accounts(path: Path, clock: ManualClock) -> ConsoleAccounts:
    """Write a file with `ACCOUNTS`, each with the PIN "pin-" and its name. Return the accounts."""
    accounts = ConsoleAccounts(path, clock, CHEAP)
    for name, level in ACCOUNTS.items():
        accounts.set_pin(name, level, f"pin-{name}")
        accounts.remember(name, language="en")
    return accounts


class SimGuardClient:
    """The console's guard client, connected directly to the guard of a simulated cabinet."""

    def __init__(self, sim: SimCabinet, scan_ns: int = 0) -> None:
        """`scan_ns` is the time that a search for chips is given before its answer."""
        self.sim = sim
        self._scan_ns = scan_ns
        self.gone = False
        self.asked: list[Command] = []

    def snapshot(self) -> Snapshot:
        self._there()
        return self.sim.guard.snapshot()

    def maintenance_state(self) -> MaintenanceState:
        self._there()
        return self.sim.guard.maintenance_state()

    def bus(self, scan: bool = False) -> BusView:
        self._there()
        view = self.sim.guard.bus_view(scan)
        if not scan or not self._scan_ns:
            return view
        self.sim.run(self._scan_ns)
        return self.sim.guard.bus_view()

    def recent(self) -> Recent:
        self._there()
        return Recent(self.sim.clock.monotonic_ns(), list(self.sim.guard.events.recent))

    def request(self, make: Callable[[int], Command]) -> None:
        self._there()
        command = make(7)
        self.asked.append(command)
        assert Role.CONSOLE in ALLOWED[type(command)]
        answer = self.sim.guard.handle(command)
        if isinstance(answer, Refusal):
            raise Refused(answer.code, **answer.params)

    def _there(self) -> None:
        if self.gone:
            raise LinkError("guard.sock: no guard answers")


class ConsoleHarness:
    """Types lines as a technician and returns the answers; live views run on the simulated cabinet's clock."""

    def __init__(
        self,
        sim: SimCabinet,
        folder: Path,
        name: str = "tech",
        audit: CommandAudit | None = None,
        config: Config | None = None,
        scan_ns: int = 0,
        **backends: Any,
    ) -> None:
        """Log in as `name`. `config` is the console's configuration if it differs; `scan_ns`: see `SimGuardClient`."""
        self.sim = sim
        self.guard = SimGuardClient(sim, scan_ns)
        staff = made_accounts(folder / "staff.json", sim.clock)
        self.shell = Shell(config or sim.config, staff, self.guard, sim.clock, Backends(**backends), audit)
        self.read: list[str] = []
        self.reply: Reply  # the last one
        self.shell.greet()
        self.log_in(name)

    def log_in(self, name: str) -> None:
        self.shell.end()
        self.say(name)
        self.say(f"pin-{name}")

    def say(self, line: str) -> str:
        """Type a line. Return the answer, with everything that follows by itself."""
        return self.follow(self.shell.line(line))

    def begin(self, line: str) -> Reply:
        """Type a line. Return the answer without waiting for live views."""
        return self.shell.line(line)

    def follow(self, reply: Reply) -> str:
        texts = [reply.text]
        while reply.live_s is not None:
            self.sim.run(round(reply.live_s * 1000) * MS)
            again = self.shell.tick()
            if again is not None:
                reply = again
                texts.append(reply.text)
        self.reply = reply
        said = "\n".join(text for text in texts if text)
        self.read.append(said)
        return said

    def wait(self, seconds: float) -> None:
        self.sim.run(round(seconds * NS))
