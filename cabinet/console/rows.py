"""Audit log rows: one for every command line, with its outcome."""

from cabinet.console import registry
from cabinet.console.accounts import Account
from cabinet.console.command_line import CommandLine
from cabinet.console.reply import CommandAudit


class AuditRowWriter:
    """Writer of audit log rows; remembers if a row could not be written, for a warning to the user."""

    def __init__(self, audit: CommandAudit | None) -> None:
        self._audit = audit
        self._unwritten = False

    def note(self, account: Account | None, asked: CommandLine, outcome: str) -> None:
        """Write a row if the line is a command; any other line may be a PIN, typed at the wrong prompt."""
        if account is not None and registry.find(asked.line) is not None:
            self.write(account.name, account.level.name.lower(), asked.line, outcome)

    def write(self, account: str, level: str, line: str, outcome: str) -> None:
        if self._audit is not None and not self._audit.note(account, level, line, outcome):
            self._unwritten = True

    def take_unwritten(self) -> bool:
        """Return True if a row could not be written since the last call."""
        unwritten, self._unwritten = self._unwritten, False
        return unwritten
