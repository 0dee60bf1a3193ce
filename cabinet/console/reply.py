"""What the dialogue hands to whoever shows it, and what it hands to whoever writes it down."""

from typing import Protocol

import msgspec

from cabinet.console.declare import Mode


class Audit(Protocol):
    """Where every command is written down (`journal.Journal`)."""

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        """False where it could not be written down."""


class Reply(msgspec.Struct, frozen=True):
    """What the person sees next: `text` (lines, or nothing), then `prompt`. With `secret` do not echo the answer.

    With `live_s` the shell wants `tick` called that often, and any key ends what it shows; with `redraws` each text
    takes the place of the one before. With `asks` the next line answers a question. `mode` says that the line is to be
    used otherwise from now on.
    """

    text: str
    prompt: str
    secret: bool = False
    live_s: float | None = None
    redraws: bool = False
    asks: bool = False
    mode: Mode | None = None
