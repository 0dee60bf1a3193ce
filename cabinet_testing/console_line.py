"""A console at the far end of a serial line."""

from pathlib import Path
from typing import Literal

import argon2

from cabinet.clock import NS, ManualClock
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.console.command import Backends
from cabinet.console.shell import Shell
from cabinet.console.terminal.session import TerminalSession
from cabinet_testing.console_snapshots import CHARGING, CONFIG, SHORTED, FakeGuardClient, snapshot

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


LOGIN = b"tech\r123456\r"
IT_IS_A_TERMINAL = b"\x1b[?62;22c"
OF_24_BY_80 = b"\x1b[24;80R"


class ConsoleLine:
    """A console and the text that a person sees of it."""

    def __init__(
        self, folder: Path, language: str = "en", terminal: Literal["auto", "plain", "full"] = "plain"
    ) -> None:
        self.clock = ManualClock()
        self.guard = FakeGuardClient(snapshot(CHARGING, SHORTED))
        self.staff = ConsoleAccounts(folder / "staff.json", self.clock, CHEAP)
        self.staff.set_pin("tech", Level.SERVICE, "123456")
        self.staff.remember("tech", language=language, terminal=terminal)
        self.rows: list[tuple[str, str]] = []
        self.hindrance: str | None = None
        shell = Shell(CONFIG, self.staff, self.guard, self.clock, Backends(lambda: self.hindrance), self)
        self.talk = TerminalSession(shell, self.clock, baud=9600)
        self.talk.greet()

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        self.rows.append((line, outcome))
        return True

    def type(self, data: bytes) -> str:
        return self.talk.take(data).decode()

    def tick(self, seconds: float = 0.5) -> str:
        self.clock.advance_ns(int(seconds * NS))
        return self.talk.tick().decode()
