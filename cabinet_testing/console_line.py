"""A console at the far end of a serial line."""

from pathlib import Path
from typing import Literal

from cabinet.clock import NS, ManualClock
from cabinet.console.terminal.session import TerminalSession
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import CHARGING, SHORTED, snapshot
from cabinet_testing.fake_guard import FakeGuard

LOGIN = b"tech\rpin-tech\r"
IT_IS_A_TERMINAL = b"\x1b[?62;22c"
OF_24_BY_80 = b"\x1b[24;80R"


class ConsoleLine(ConsoleHarness):
    """A console and the text that a person sees of it. No login is made."""

    def __init__(
        self, folder: Path, language: str = "en", terminal: Literal["auto", "plain", "full"] = "plain"
    ) -> None:
        super().__init__(
            FakeGuard.showing(snapshot(CHARGING, SHORTED), ManualClock()), folder, name="", language=language
        )
        self.staff.remember("tech", terminal=terminal)
        self.talk = TerminalSession(self.shell, self.clock, baud=9600)
        self.talk.greet()

    def type(self, data: bytes) -> str:
        return self.talk.take(data).decode()

    def tick(self, seconds: float = 0.5) -> str:
        self.clock.advance_ns(int(seconds * NS))
        return self.talk.tick().decode()
