"""Interfaces of the dialogue: its reply to the line editor, and its audit log."""

from typing import Protocol

import msgspec

from cabinet.console.command import LineMode


class CommandAudit(Protocol):
    """Audit log of every command (`audit_file.AuditFile`)."""

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        """Add a row. Return False if it could not be written to the disk."""


class Reply(msgspec.Struct, frozen=True):
    """The next output: `text` (lines, or empty), then `prompt`. With `secret` the answer is not echoed.

    With `live_s` the shell requires a `tick` at this period, and any key ends the live view; with `redraws` each text
    replaces the previous one. With `asks` the next line answers a question. `mode` changes the line mode from now on.
    """

    text: str
    prompt: str
    secret: bool = False
    live_s: float | None = None
    redraws: bool = False
    asks: bool = False
    mode: LineMode | None = None
