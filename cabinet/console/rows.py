"""One row of the audit log for every command line, with how it ended."""

from cabinet.console import commands
from cabinet.console.asked import Asked
from cabinet.console.reply import Audit
from cabinet.console.staff import Account


class Rows:
    """Writes them; remembers where one could not be written, for whoever is to be told."""

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit
        self._unwritten = False

    def note(self, account: Account | None, asked: Asked, outcome: str) -> None:
        """A line that is no command is not one to write down: it may be a PIN, typed at the wrong prompt."""
        if account is not None and commands.find(asked.line) is not None:
            self.write(account.name, account.level.name.lower(), asked.line, outcome)

    def write(self, account: str, level: str, line: str, outcome: str) -> None:
        if self._audit is not None and not self._audit.note(account, level, line, outcome):
            self._unwritten = True

    def take_unwritten(self) -> bool:
        """Whether a row could not be written since this was asked last."""
        unwritten, self._unwritten = self._unwritten, False
        return unwritten
