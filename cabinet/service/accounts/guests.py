"""Guests: people without a card, who get a code and some money for charging from the property.

A guest is a resident without a PIN, with the same kind of wallet and charges; the code signs in once.
"""

import secrets
from collections.abc import Callable

import msgspec

from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.clock import Clock
from cabinet.errors import CabinetError
from cabinet.pin_codes import random_pin
from cabinet.secret_hash import hash_secret
from cabinet.service.accounts import admin
from cabinet.service.accounts.sign_in import GUEST_NUMBER_DIGITS
from cabinet.store import guests, residents
from cabinet.store.database import Database
from cabinet.store.ledger_books import SqliteBooks

HOURS, MAX_HOURS = 24, 168
HOUR_MS = 3_600_000
NUMBERS = 10**GUEST_NUMBER_DIGITS
MAX_TRIES = 50


class Issued(msgspec.Struct, frozen=True):
    """A new guest: `code` is shown once; the property refers to the guest by `card`, such as to pay out the rest."""

    code: str
    card: str
    expires_unix_ms: int


def issue(database: Database, clock: Clock, balance_fen: int, hours: int = HOURS, name: str = "") -> Issued:
    """Add a guest with `balance_fen` in the wallet, and a code that signs in once within `hours`.

    Raises CabinetError; then no guest was added.
    """
    name = normal_form.text(name)
    admin.check_name(name)
    if balance_fen <= 0:
        raise CabinetError("a guest charges with money: the balance is above 0 yuan")
    if not 1 <= hours <= MAX_HOURS:
        raise CabinetError(f"a guest code is good for 1 to {MAX_HOURS} hours")
    secret = random_pin()
    secret_hash = hash_secret(secret)
    card = f"guest-{secrets.token_hex(4)}"
    wall = clock.wall()
    expires_ms = wall.unix_ms + hours * HOUR_MS
    with database.transaction() as connection:
        guests.remove_expired(connection, wall.unix_ms)
        number = _free_number(lambda number: guests.by_number(connection, number, wall.unix_ms) is None)
        resident_id = residents.add(connection, card, name, "", wall.unix_ms, guest=True)
        ledger.post(SqliteBooks(connection, wall), ledger.top_up(f"first:{resident_id}", resident_id, balance_fen))
        guests.add(connection, guests.GuestCodeRow(number, resident_id, secret_hash), expires_ms)
    return Issued(number + secret, card, expires_ms)


def spoken(code: str) -> str:
    """Format `code` in groups for reading out: 4821 730 915."""
    return f"{code[:4]} {code[4:7]} {code[7:]}"


def _free_number(is_free: Callable[[str], bool]) -> str:
    for _ in range(MAX_TRIES):
        number = f"{secrets.randbelow(NUMBERS):0{GUEST_NUMBER_DIGITS}}"
        if is_free(number):
            return number
    raise CabinetError("too many guest codes are waiting to be used")
