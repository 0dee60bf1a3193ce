"""Who may log in on the console: accounts with hashed PINs in one small file, and a lock after wrong PINs.

The file is read at every login, so that a PIN made by `cabinet console --new-pin` counts at once. Wrong PINs are
counted in it: switching the cabinet off and on does not give a thief new attempts, it starts the wait over.
"""

import enum
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Literal

import argon2
import msgspec

from cabinet.clock import NS, Clock, WallTime
from cabinet.errors import CabinetError, Refused
from cabinet.pins import random_pin

log = logging.getLogger(__name__)

FIRST_ACCOUNT = "tech"
FREE_ATTEMPTS = 5  # wrong PINs in a row before the first wait
SHORTEST_LOCK_S = 60
LONGEST_LOCK_S = 3600

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")

# OWASP's argon2id setting for little memory: 12 MiB, 3 passes, one lane; about 50 ms on a Pi 4 (estimated).
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=12 * 1024, parallelism=1)


class Level(enum.IntEnum):
    """What an account may do; each level may do everything of those below."""

    LOOK = 1
    OPERATE = 2
    SERVICE = 3


class Account(msgspec.Struct, kw_only=True):
    name: str
    level: Level
    pin_hash: str
    language: str = ""  # chosen by its owner; empty: the configuration's
    failures: int = 0  # wrong PINs since the last right one
    terminal: Literal["auto", "plain", "full"] = "auto"
    rows: int | None = None  # of a page; 0: no pages; None: as the terminal says
    last_unix_ms: int | None = None  # of the last login; None: never
    last_trusted: bool = True
    wrong_since: int = 0  # wrong PINs since the last login, for its owner to know


class Login(msgspec.Struct, frozen=True):
    """Who has logged in; when the same account did so before, and how many wrong PINs there were in between."""

    account: Account
    last: WallTime | None
    wrong: int


class _File(msgspec.Struct):
    accounts: list[Account]


class Staff:
    """The accounts in `path`."""

    def __init__(
        self, path: Path, clock: Clock, hasher: argon2.PasswordHasher = _HASHER, owner: int | None = None
    ) -> None:
        """`owner`: user id that the file is given to, where root writes it for somebody else; None: whoever runs."""
        self._path = path
        self._owner = owner
        self._clock = clock
        self._hasher = hasher
        self._locked_until_ns: dict[str, int] = {}
        self._failures: dict[str, int] = {}  # as in the file, and right also where the file cannot be written
        self._tried: dict[str, str] = {}  # hash of the PIN that these were wrong for
        self._nobody = hasher.hash(secrets.token_hex(8))

    def create_first(self) -> tuple[str, str] | None:
        """Where there is no account yet, make one of level SERVICE with a random PIN: its name and that PIN."""
        return None if self._read() else (FIRST_ACCOUNT, self.new_pin(FIRST_ACCOUNT, Level.SERVICE))

    def new_pin(self, name: str, level: Level) -> str:
        """Make the account, or give it another PIN and level; the PIN is returned once and kept nowhere."""
        pin = random_pin()
        self.set_pin(name, level, pin)
        return pin

    def set_pin(self, name: str, level: Level, pin: str) -> None:
        """Raises CabinetError for a name that is none."""
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
        """Whoever is logged in by it is logged out at the next line. Raises CabinetError where there is none."""
        accounts = self._read()
        left = [account for account in accounts if account.name != name]
        if len(left) == len(accounts):
            raise CabinetError(f"{name!r}: there is no such account; there are: {', '.join(self.names()) or '-'}")
        self._write(left)

    def names(self) -> list[str]:
        return [account.name for account in self._read()]

    def check(self, name: str, pin: str) -> Account:
        """The account, where `pin` is its own.

        Refuses `wrong_card_or_pin` (the same, and as slowly, for a name that does not exist) and
        `locked_out(retry_after_s)`, whatever the PIN. Every wrong PIN is counted on disk; where the disk takes no
        more, in memory.
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
        """As `check`; the login is remembered, so that the next one can be told of it."""
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

    def stands(self, account: Account | None) -> bool:
        """Whether it is still there, with the level it had; nobody can lose nothing. A file that cannot be read takes
        it from nobody."""
        try:
            accounts = self._read() if account is not None else []
        except CabinetError:
            return True
        return account is None or any((each.name, each.level) == (account.name, account.level) for each in accounts)

    def knows(self, name: str) -> bool:
        """Whether there is such an account. Only for the audit log: whoever types must not learn it."""
        return name in self.names()

    def remember(
        self,
        name: str,
        *,
        language: str | None = None,
        terminal: Literal["auto", "plain", "full"] | None = None,
        rows: int | None = None,
    ) -> None:
        """What the account's owner has chosen; None: as before. `rows` goes with `terminal`."""
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
            self._forgive(name)  # a new PIN, made by another process
        if account is not None and account.failures >= FREE_ATTEMPTS and name not in self._locked_until_ns:
            self._lock(account)  # counted by an earlier process: the wait starts over
        left_ns = self._locked_until_ns.get(name, 0) - self._clock.monotonic_ns()
        if left_ns > 0:
            raise Refused("locked_out", retry_after_s=-(-left_ns // NS))

    def _lock(self, account: Account) -> None:
        beyond = account.failures - FREE_ATTEMPTS
        if beyond >= 0:
            wait_s = min(SHORTEST_LOCK_S * 2 ** min(beyond, 10), LONGEST_LOCK_S)
            self._locked_until_ns[account.name] = self._clock.monotonic_ns() + wait_s * NS

    def _fits(self, pin_hash: str, pin: str) -> bool:
        try:
            return self._hasher.verify(pin_hash, pin)
        except argon2.exceptions.VerificationError:
            return False
        except argon2.exceptions.InvalidHashError as error:
            raise CabinetError(f"{self._path}: holds a PIN hash that is none; make a new one: {MEND}") from error

    def _read(self) -> list[Account]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File).accounts
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise CabinetError(
                f"{self._path}: cannot be read ({error}); move it away and start over: {MEND}"
            ) from error

    def _remember(self, accounts: list[Account]) -> None:
        """Staff must be able to log in on a full or read-only disk: then what was to be kept is only said."""
        try:
            self._write(accounts)
        except CabinetError as error:
            log.warning("%s", error)

    def _write(self, accounts: list[Account]) -> None:
        """The whole file or nothing of it, and never readable by anybody else."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                if self._owner is not None:
                    os.fchown(descriptor, self._owner, -1)
                file.write(msgspec.json.format(msgspec.json.encode(_File(accounts))) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise CabinetError(f"{self._path}: cannot be written ({error.strerror})") from error


MEND = "cabinet console --new-pin NAME"
