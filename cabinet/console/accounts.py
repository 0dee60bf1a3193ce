"""Console accounts: hashed PINs in one small file, and a lock-out after wrong PINs.

The file is read at every login, so a PIN set by `cabinet console --new-pin` is valid at once. The file also counts
wrong PINs: a power cycle of the cabinet gives a thief no new attempts, it restarts the lock-out time.
"""

import enum
import logging
import re
import secrets
from pathlib import Path
from typing import Literal

import argon2
import msgspec

from cabinet.clock import NS, Clock, WallTime
from cabinet.errors import CabinetError, Refused
from cabinet.pin_codes import random_pin
from cabinet.system.atomic_file import write_file

log = logging.getLogger(__name__)

FIRST_ACCOUNT = "tech"
FREE_ATTEMPTS = 5  # consecutive wrong PINs before the first lock-out
MIN_LOCK_S = 60
MAX_LOCK_S = 3600

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")

# OWASP's argon2id setting for little memory: 12 MiB, 3 passes, one lane; about 50 ms on a Pi 4 (estimated).
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=12 * 1024, parallelism=1)


class Level(enum.IntEnum):
    """Permission level of an account; each level includes the ones below it."""

    LOOK = 1
    OPERATE = 2
    SERVICE = 3


class Account(msgspec.Struct, kw_only=True):
    name: str
    level: Level
    pin_hash: str
    language: str = ""  # chosen by the account's owner; empty: as configured
    failures: int = 0  # wrong PINs since the last correct one
    terminal: Literal["auto", "plain", "full"] = "auto"
    rows: int | None = None  # rows per page; 0: no paging; None: as the terminal reports
    last_unix_ms: int | None = None  # time of the last login; None: never
    last_trusted: bool = True
    wrong_since: int = 0  # wrong PINs since the last login, shown at the next login


class Login(msgspec.Struct, frozen=True):
    """One login: the account, the time of its previous login, and the number of wrong PINs since then."""

    account: Account
    last: WallTime | None
    wrong: int


class _File(msgspec.Struct):
    accounts: list[Account]


class ConsoleAccounts:
    """The accounts in the file `path`."""

    def __init__(
        self, path: Path, clock: Clock, hasher: argon2.PasswordHasher = _HASHER, owner: int | None = None
    ) -> None:
        """`owner`: user id that receives the file if root writes it for another user; None: the running user."""
        self._path = path
        self._owner = owner
        self._clock = clock
        self._hasher = hasher
        self._locked_until_ns: dict[str, int] = {}
        self._failures: dict[str, int] = {}  # as in the file; still correct if the file cannot be written
        self._tried: dict[str, str] = {}  # PIN hash that these failures belong to
        self._nobody = hasher.hash(secrets.token_hex(8))

    def create_first(self) -> tuple[str, str] | None:
        """Create a SERVICE account with a random PIN and return its name and PIN; return None if any account exists."""
        return None if self._read() else (FIRST_ACCOUNT, self.new_pin(FIRST_ACCOUNT, Level.SERVICE))

    def new_pin(self, name: str, level: Level) -> str:
        """Create the account, or change its PIN and level. Return the PIN, which is stored nowhere in clear text."""
        pin = random_pin()
        self.set_pin(name, level, pin)
        return pin

    def set_pin(self, name: str, level: Level, pin: str) -> None:
        """Create or change the account. Raises CabinetError if the name is not valid."""
        if not NAME.fullmatch(name):
            raise CabinetError(f"{name!r} is no account name: a letter, then letters, digits, - or _ (lower case)")
        accounts = self._read()
        account = next((account for account in accounts if account.name == name), None)
        if account is None:
            account = Account(name=name, level=level, pin_hash="")
            accounts.append(account)
        account.level, account.pin_hash, account.failures = level, self._hasher.hash(pin), 0
        self._forgive(name)
        self._write(accounts)

    def remove(self, name: str) -> None:
        """Remove the account; its open logins end at their next line. Raises CabinetError if it does not exist."""
        accounts = self._read()
        left = [account for account in accounts if account.name != name]
        if len(left) == len(accounts):
            raise CabinetError(f"{name!r}: there is no such account; there are: {', '.join(self.names()) or '-'}")
        self._write(left)

    def names(self) -> list[str]:
        return [account.name for account in self._read()]

    def check(self, name: str, pin: str) -> Account:
        """Return the account if `pin` is correct.

        Raises Refused `wrong_card_or_pin` (with the same code and delay for a name that does not exist) and
        `locked_out(retry_after_s)`, even if the PIN is correct. Every wrong PIN is counted on disk, or in memory if
        the disk is full.
        """
        accounts = self._read()
        account = next((account for account in accounts if account.name == name), None)
        self._refuse_locked(name, account)
        if not self._fits(self._nobody if account is None else account.pin_hash, pin) or account is None:
            if account is not None:
                account.failures = max(account.failures, self._failures.get(name, 0)) + 1
                account.wrong_since += 1
                self._failures[name] = account.failures
                self._tried[name] = account.pin_hash
                self._lock(account)
                self._remember(accounts)
            raise Refused("wrong_card_or_pin")
        self._failures.pop(name, None)
        if account.failures:
            account.failures = 0
            self._remember(accounts)
        return account

    def log_in(self, name: str, pin: str) -> Login:
        """Check the PIN as `check` does, and record the login for display at the next one."""
        account = self.check(name, pin)
        last = None if account.last_unix_ms is None else WallTime(account.last_unix_ms, account.last_trusted)
        login = Login(account, last, account.wrong_since)
        wall = self._clock.wall()
        accounts = self._read()
        for each in accounts:
            if each.name == name:
                each.last_unix_ms, each.last_trusted, each.wrong_since = wall.unix_ms, wall.trusted, 0
        self._remember(accounts)
        return login

    def is_current(self, account: Account | None) -> bool:
        """Return True if the account still exists with the same level, or if `account` is None (no login to revoke).

        If the file cannot be read, it also returns True: an unreadable file ends no login.
        """
        try:
            accounts = self._read() if account is not None else []
        except CabinetError:
            return True
        return account is None or any((each.name, each.level) == (account.name, account.level) for each in accounts)

    def knows(self, name: str) -> bool:
        """Return True if the account exists. For the audit log only: the person at the line must not learn it."""
        return name in self.names()

    def remember(
        self,
        name: str,
        *,
        language: str | None = None,
        terminal: Literal["auto", "plain", "full"] | None = None,
        rows: int | None = None,
    ) -> None:
        """Store the owner's choices; None: unchanged. `rows` applies only together with `terminal`."""
        accounts = self._read()
        for account in accounts:
            if account.name == name:
                account.language = account.language if language is None else language
                if terminal is not None:
                    account.terminal, account.rows = terminal, rows
        self._remember(accounts)

    def _forgive(self, name: str) -> None:
        for kept in (self._failures, self._locked_until_ns, self._tried):
            kept.pop(name, None)

    def _refuse_locked(self, name: str, account: Account | None) -> None:
        if account is not None and self._tried.get(name, account.pin_hash) != account.pin_hash:
            self._forgive(name)  # another process has set a new PIN
        if account is not None and account.failures >= FREE_ATTEMPTS and name not in self._locked_until_ns:
            self._lock(account)  # counted by an earlier process: the lock-out time restarts
        left_ns = self._locked_until_ns.get(name, 0) - self._clock.monotonic_ns()
        if left_ns > 0:
            raise Refused("locked_out", retry_after_s=-(-left_ns // NS))

    def _lock(self, account: Account) -> None:
        beyond = account.failures - FREE_ATTEMPTS
        if beyond >= 0:
            wait_s = min(MIN_LOCK_S * 2 ** min(beyond, 10), MAX_LOCK_S)
            self._locked_until_ns[account.name] = self._clock.monotonic_ns() + wait_s * NS

    def _fits(self, pin_hash: str, pin: str) -> bool:
        try:
            return self._hasher.verify(pin_hash, pin)
        except argon2.exceptions.VerificationError:
            return False
        except argon2.exceptions.InvalidHashError as error:
            raise CabinetError(f"{self._path}: holds a PIN hash that is none; make a new one: {REPAIR_HINT}") from error

    def _read(self) -> list[Account]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).accounts
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise CabinetError(
                f"{self._path}: cannot be read ({error}); move it away and start over: {REPAIR_HINT}"
            ) from error

    def _remember(self, accounts: list[Account]) -> None:
        """Write the accounts; if that fails, only log it: staff must be able to log in on a full or read-only disk."""
        try:
            self._write(accounts)
        except CabinetError as error:
            log.warning("%s", error)

    def _write(self, accounts: list[Account]) -> None:
        """Replace the file atomically; it is readable by its owner only, at all times."""
        content = msgspec.json.format(msgspec.json.encode(_File(accounts))) + b"\n"
        try:
            write_file(self._path, content, 0o600, owner=self._owner)
        except OSError as error:
            raise CabinetError(f"{self._path}: cannot be written ({error.strerror})") from error


REPAIR_HINT = "cabinet console --new-pin NAME"
