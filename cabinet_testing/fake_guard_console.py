"""Console over a fake guard: the real shell without a terminal."""

from pathlib import Path

from cabinet.clock import NS, ManualClock
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.console.command import Backends
from cabinet.console.reply import Reply
from cabinet.console.shell import Shell
from cabinet_testing.console_harness import CHEAP
from cabinet_testing.console_snapshots import CONFIG, FakeGuardClient

DANGEROUS = {"off 3 force": Level.OPERATE, "clear 5": Level.SERVICE}


class Terminal:
    """A person at the console; `rows` holds the audit log."""

    def __init__(self, path: Path, guard: FakeGuardClient) -> None:
        self.clock = ManualClock(start_ns=2 * NS)
        self.guard = guard
        self.hindrance: str | None = None
        self.attacker: str | None = None
        self.staff = staff = ConsoleAccounts(path, self.clock, CHEAP)
        self.rows: list[tuple[str, str, str, str]] = []
        self.shell = Shell(
            CONFIG, staff, guard, self.clock, Backends(lambda: self.hindrance, lambda: self.attacker), self
        )
        self.prompt = self.shell.greet().prompt

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        self.rows.append((account, level, line, outcome))
        return True

    def say(self, line: str) -> str:
        return self.show(self.shell.line(line))

    def show(self, reply: Reply) -> str:
        self.prompt = reply.prompt
        return reply.text

    def log_in(self, name: str = "tech") -> str:
        self.say(name)
        return self.say(f"pin-{name}")
