"""Logins of a demonstration: random, because a default would end up on a real cabinet, and kept from run to run."""

import contextlib
import secrets
from pathlib import Path

import msgspec

from cabinet.clock import Clock
from cabinet.config import Config
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.errors import CabinetError
from cabinet.pin_codes import may_be_set, random_pin
from cabinet.service.accounts import admin, wallets
from cabinet.service.ports import SCOPES
from cabinet.store.database import Database
from cabinet.system.atomic_file import write_file

CARD_NAME = "Demo"
STAFF_NAME = "property"
TOKEN_NAME = "demo"
CONSOLE_NAME = "tech"

ENOUGH_FEN = 2_000  # a card with less is topped up, so there is always money to try things with
TOP_UP_FEN = 5_000


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    card: str
    pin: str
    staff_password: str
    api_token: str
    console_pin: str


def seed(config: Config, path: Path, clock: Clock) -> Logins:
    """Give every login stored in `path` (made the first time) to service and console of `config`.

    Existing logins are left alone. Raises CabinetError if the file is not a login file, StoreError if the database is
    not available.
    """
    kept = _load(path)
    logins = kept or Logins(
        card="".join(secrets.choice("0123456789") for _ in range(8)),
        pin=random_pin(),
        staff_password=secrets.token_urlsafe(9),
        api_token="",
        console_pin=random_pin(),
    )
    with contextlib.closing(admin.open_database(config)) as database:
        _seed_resident(database, clock, logins)
        staff, tokens = ({each.name for each in found} for found in admin.list_staff(database))
        if kept is None or STAFF_NAME not in staff:
            if STAFF_NAME in staff:
                admin.revoke(database, STAFF_NAME)
            admin.add_staff(database, clock, STAFF_NAME, logins.staff_password)
        if not logins.api_token or TOKEN_NAME not in tokens:
            if TOKEN_NAME in tokens:
                admin.revoke(database, TOKEN_NAME)
            token = admin.add_token(database, clock, TOKEN_NAME, SCOPES)
            logins = msgspec.structs.replace(logins, api_token=token)
    console = ConsoleAccounts(Path(config.paths.state) / "console-staff.json", clock)
    if kept is None or CONSOLE_NAME not in console.names():
        console.set_pin(CONSOLE_NAME, Level.SERVICE, logins.console_pin)
    if logins != kept:
        _save(path, logins)
    return logins


def _seed_resident(database: Database, clock: Clock, logins: Logins) -> None:
    balances = {resident.card: resident.balance_fen for resident in admin.list_residents(database)}
    if logins.card not in balances:
        admin.add_resident(database, clock, logins.card, name=CARD_NAME, pin=logins.pin, first_fen=TOP_UP_FEN)
    elif balances[logins.card] < ENOUGH_FEN:
        wallets.top_up(database, clock, logins.card, TOP_UP_FEN)


def _load(path: Path) -> Logins | None:
    try:
        logins = msgspec.json.decode(path.read_bytes(), type=Logins)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CabinetError(f"{path}: cannot be read ({error}); delete it to have new logins made") from error
    # an earlier version accepted shorter PINs
    return logins if may_be_set(logins.pin) and may_be_set(logins.console_pin) else None


def _save(path: Path, logins: Logins) -> None:
    """Save the logins, readable by the owner alone from the first byte on."""
    try:
        write_file(path, msgspec.json.format(msgspec.json.encode(logins)) + b"\n", 0o600)
    except OSError as error:
        raise CabinetError(f"{path}: cannot be written ({error.strerror})") from error
