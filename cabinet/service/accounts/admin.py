"""Administration of residents, staff and tokens from the command line, one transaction each.

Secrets are generated here if none is given, returned once, and stored as hashes only.
"""

import re
import secrets
import sqlite3
from pathlib import Path

import msgspec

from cabinet import normal_form, plain_text
from cabinet.billing import ledger
from cabinet.clock import Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError, os_error_at
from cabinet.pin_codes import may_be_set, random_pin
from cabinet.records import Actor, Role, StaffView
from cabinet.secret_hash import hash_secret
from cabinet.service.ports import SCOPES
from cabinet.store import audit, backup, residents, second_factors, sessions, staff, tokens
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks, balance_fen

TOKEN_DAYS, MAX_TOKEN_DAYS = 365, 1830

_CARD = re.compile(r"[0-9A-Za-z-]{4,32}")
_GROUP = re.compile(r"[a-z0-9-]{0,20}")
_MAX_NAME = 40


class ResidentSummary(msgspec.Struct, frozen=True):
    card: str
    name: str
    balance_fen: int
    held_fen: int
    blocked: bool
    group: str


def database_path(config: Config) -> Path:
    return Path(config.paths.state) / "cabinet.db"


def key_path(config: Config) -> Path:
    """Return the path of the key that signs closings of the usage log."""
    return Path(config.paths.state) / "keys" / "usage.key"


def make_state_folder(config: Config) -> None:
    """Create the folder of the database if it is missing. Raises CabinetError if it cannot be created."""
    folder = database_path(config).parent
    with os_error_at(folder, ": check paths.state"):
        folder.mkdir(parents=True, exist_ok=True)


def open_database(config: Config) -> Database:
    """Open the database; create folder and file if missing.

    Raises StoreError; CabinetError if the folder cannot be created.
    """
    make_state_folder(config)
    path = database_path(config)
    backup.check_not_half_restored(path)
    return Database(path)


def add_resident(
    database: Database,
    clock: Clock,
    card: str,
    *,
    name: str = "",
    pin: str | None = None,
    first_fen: int = 0,
    group: str = "",
) -> str:
    """Add a resident with `first_fen` in the wallet; return the PIN. Raises CabinetError; then nothing was added."""
    card, name, group = normal_form.card(card), normal_form.text(name), normal_form.group(group)
    pin = random_pin() if pin is None else normal_form.digits(pin)
    check_resident(card, group, pin, name)
    pin_hash = hash_secret(pin)
    with database.transaction() as connection:
        if residents.all_by_card(connection, card):
            raise CabinetError(f"card {card} is there already")
        wall = clock.wall()
        resident_id = residents.add(connection, card, name, pin_hash, wall.unix_ms, group)
        if first_fen:
            ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"first:{resident_id}", resident_id, first_fen))
    return pin


def block_resident(database: Database, card: str, blocked: bool) -> None:
    """Block or unblock a card. A blocked card is signed out and starts nothing; a running charge goes on."""
    with database.transaction() as connection:
        residents.set_blocked(connection, resident_of(connection, card).id, blocked)


def erase_resident(database: Database, card: str) -> None:
    """Erase all personal data from the database; usage records stay, but no longer identify the resident.

    Raises CabinetError while a charge runs or money is in the wallet. Old backups keep the data until replaced.
    """
    database.connection.execute("PRAGMA secure_delete = ON")
    with database.transaction() as connection:
        resident = resident_of(connection, card)
        left_fen = balance_fen(connection, ledger.wallet(resident.id)) + residents.held_fen(connection, resident.id)
        if sessions.unfinished_of_resident(connection, resident.id) is not None:
            raise CabinetError(f"card {card}: a charge is running")
        if left_fen:
            raise CabinetError(f"card {card}: {left_fen / 100:.2f} yuan are in the wallet: pay them out first")
        residents.erase(connection, resident.id)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def set_group(database: Database, card: str, group: str) -> None:
    """Set the group that selects the tariff; empty for none. Running charges keep their terms."""
    group = normal_form.group(group)
    check_group(group)
    with database.transaction() as connection:
        residents.set_group(connection, resident_of(connection, card).card, group)


def check_resident(card: str, group: str, pin: str, name: str = "") -> None:
    """Check the fields of a resident. Raises CabinetError if one of them is not valid."""
    check_card(card)
    check_pin(pin)
    check_name(name)
    check_group(group)


def check_card(card: str) -> None:
    if not _CARD.fullmatch(card):
        raise CabinetError(f"card {card!r}: 4 to 32 letters, digits or hyphens")


def check_pin(pin: str) -> None:
    if not may_be_set(pin):
        raise CabinetError("a PIN has 6 to 12 digits, not all the same and not in a row such as 123456")


def check_name(name: str) -> None:
    if len(name) > _MAX_NAME or plain_text.REPLACED in name:
        raise CabinetError(f"a name has at most {_MAX_NAME} characters, and all of them can be printed")


def check_group(group: str) -> None:
    if not _GROUP.fullmatch(group):
        raise CabinetError(f"group {group!r}: at most 20 small letters, digits or hyphens")


def set_pin(database: Database, card: str, pin: str | None = None) -> str:
    """Set and return a new PIN, random if none is given. All sign-ins of the card end."""
    pin = random_pin() if pin is None else normal_form.digits(pin)
    check_pin(pin)
    pin_hash = hash_secret(pin)
    with database.transaction() as connection:
        residents.set_pin(connection, resident_of(connection, card).id, pin_hash)
    return pin


def list_residents(database: Database) -> list[ResidentSummary]:
    with database.reading() as connection:
        return [
            ResidentSummary(
                row.card, row.name, balance_fen(connection, ledger.wallet(row.id)), held, row.blocked, row.group
            )
            for row in residents.all_residents(connection)
            for held in [residents.held_fen(connection, row.id)]
        ]


def resident_of(connection: sqlite3.Connection, card: str) -> residents.ResidentRow:
    """Return the resident of `card`.

    Raises CabinetError if there is no such card, or if old cards match it only apart from capital letters.
    """
    resident = residents.by_card(connection, card)
    if resident is None:
        alike = [row.card for row in residents.all_by_card(connection, card)]
        if alike:
            raise CabinetError(f"card {normal_form.spelling(card)}: there are {' and '.join(alike)}: spell it as one")
        raise CabinetError(f"there is no card {normal_form.spelling(card)}")
    return resident


def add_staff(database: Database, clock: Clock, name: str, password: str | None = None, role: Role = "operator") -> str:
    """Add a login for the property pages; return the password, random if none is given."""
    name = normal_form.text(name)
    _check_name(name)
    if password is not None and len(password) < 10:
        raise CabinetError("a password has at least 10 characters")
    password = secrets.token_urlsafe(12) if password is None else password
    password_hash = hash_secret(password)
    with database.transaction() as connection:
        if staff.by_name(connection, name) is not None:
            raise CabinetError(f"there is a login {name} already")
        staff.add(connection, name, password_hash, clock.wall().unix_ms, role)
    return password


def add_token(database: Database, clock: Clock, name: str, scopes: tuple[str, ...], days: int = TOKEN_DAYS) -> str:
    """Add and return a token for the program `name`, valid for `days`; only its hash is stored."""
    name = normal_form.text(name)
    _check_name(name)
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise CabinetError(f"a token is good for 1 to {MAX_TOKEN_DAYS} days")
    for scope in scopes:
        if scope not in SCOPES:
            raise CabinetError(f"there is no scope {scope!r}; there are {', '.join(SCOPES)}")
    token = secrets.token_urlsafe(32)
    with database.transaction() as connection:
        if tokens.token_by_name(connection, name) is not None:
            raise CabinetError(f"there is a token for {name} already: revoke it first")
        now_ms = clock.wall().unix_ms
        tokens.add_token(connection, name, scopes, token, now_ms, now_ms + days * 86_400_000)
    return token


def revoke(database: Database, name: str) -> list[str]:
    """Remove the login and the token called `name`; return the kinds removed ("login", "token")."""
    with database.transaction() as connection:
        login, token = staff.by_name(connection, name), tokens.token_by_name(connection, name)
        removed = ["login"] * (login is not None and staff.remove(connection, login.name))
        removed += ["token"] * (token is not None and tokens.remove_token(connection, token.name))
        if not removed:
            raise CabinetError(f"there is no login and no token called {name}")
    return removed


def switch_off_second_factor(database: Database, clock: Clock, name: str) -> None:
    """Switch off the second factor of a login, if the phone is lost; the audit log names this command as the actor."""
    with database.transaction() as connection:
        row = staff.by_name(connection, name)
        if row is None:
            raise CabinetError(f"there is no login {name}")
        if not second_factors.is_on(connection, row.id):
            raise CabinetError(f"login {name} signs in without a second factor already")
        second_factors.remove(connection, row.id)
        here = Actor(StaffView(0, "cabinet staff", "operator"), "")
        audit.add(connection, clock.wall(), here, "second_factor_off", subject=row.name)


def list_staff(database: Database) -> tuple[list[staff.StaffRow], list[tokens.TokenRow]]:
    """Return the logins and the tokens."""
    with database.reading() as connection:
        return staff.all_staff(connection), tokens.api_tokens(connection)


def is_name(name: str) -> bool:
    """Return whether `name` is valid for a login or a token: 1 to 40 printable characters."""
    return 0 < len(name) <= _MAX_NAME and plain_text.REPLACED not in name


def _check_name(name: str) -> None:
    if not is_name(name):
        raise CabinetError(f"{name!r} is no name: 1 to 40 characters, and all of them can be printed")
