"""Staff's money commands: top up, pay out, give back, write off, list. One transaction each, with a key.

A repeated key moves nothing, so staff can repeat a command if its answer was lost.
"""

import secrets
import sqlite3
from collections.abc import Callable

import msgspec

from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.billing.ledger import Transaction
from cabinet.billing.session import State
from cabinet.clock import Clock
from cabinet.errors import CabinetError
from cabinet.service.accounts.admin import resident_of
from cabinet.store import ledger_books
from cabinet.store import sessions as table
from cabinet.store.database import Database
from cabinet.store.ledger_books import LedgerEntry, SqliteBooks, balance_fen

MAX_KEY, MAX_NOTE = 100, 200  # characters


class Balances(msgspec.Struct, frozen=True):
    """Balances of all accounts. They add up to 0, as `cash_fen` is negative."""

    wallets_fen: int
    holds_fen: int
    electricity_fen: int
    service_fen: int
    written_off_fen: int
    cash_fen: int


def fen_of_yuan(text: str) -> int:
    """Convert yuan to fen, exactly. Raises CabinetError if `text` is not yuan with at most two decimals."""
    fen = normal_form.fen(text)
    if fen is None:
        raise CabinetError(f"{text!r} is no amount in yuan, such as 20 or 12.50")
    return fen


def top_up(database: Database, clock: Clock, card: str, amount_fen: int, key: str | None = None) -> int:
    """Put money into a wallet; return the new balance."""
    _check_amount(amount_fen, "a top-up")
    return _post(database, clock, card, "top-up:", key, lambda key, who: ledger.top_up(key, who, amount_fen))


def pay_out(database: Database, clock: Clock, card: str, amount_fen: int, key: str | None, note: str = "") -> int:
    """Pay money out of a wallet to its resident; return the new balance. Raises Overdrawn."""
    _check_amount(amount_fen, "a pay-out")
    note = _note(note)
    return _post(database, clock, card, "pay-out:", key, lambda key, who: ledger.pay_out(key, who, amount_fen, note))


def write_off(database: Database, clock: Clock, card: str, amount_fen: int, key: str | None, note: str) -> int:
    """Write off the rest of a wallet that will not be claimed; return the new balance. Raises Overdrawn."""
    note = _note(note)
    if not note:
        raise CabinetError("a write-off needs its reason: --note")
    _check_amount(amount_fen, "a write-off")
    return _post(
        database, clock, card, "write-off:", key, lambda key, who: ledger.write_off(key, who, amount_fen, note)
    )


def give_back(database: Database, clock: Clock, order_number: str, amount_fen: int, key: str | None, note: str) -> int:
    """Refund part of a charge's cost into its resident's wallet, service first; return the new balance.

    Repeated refunds together never exceed the cost.
    """
    note = _note(note)
    if not note:
        raise CabinetError("money that is given back needs its reason: --note")
    with database.transaction() as connection:
        row = table.by_order_number(connection, normal_form.order_number(order_number))
        if row is None or row.state is not State.SETTLED or row.cost_fen is None or row.electricity_fen is None:
            raise CabinetError(f"there is no settled charge with order number {order_number}")
        if row.fleet_order is not None:
            raise CabinetError(f"{order_number} was paid by order {row.fleet_order} of the fleet: give it back there")
        prefix = f"give-back:{row.session_id}:"
        wallet = ledger.wallet(row.resident_id)
        books = SqliteBooks(connection, clock.wall())
        full_key = posted_key(books, prefix, key)
        if books.postings(full_key) is None:
            _check_amount(amount_fen, "what is given back")
            left_fen = row.cost_fen - ledger_books.moved_fen(connection, prefix, wallet)
            if amount_fen > left_fen:
                raise CabinetError(
                    f"{order_number} cost {row.cost_fen / 100:.2f} yuan, of which {left_fen / 100:.2f} were kept"
                )
            given_back_fen = -ledger_books.moved_fen(connection, prefix, ledger.SERVICE)
            service_fen = min(amount_fen, row.cost_fen - row.electricity_fen - given_back_fen)
            electricity_fen = amount_fen - service_fen
            ledger.post(books, ledger.give_back(full_key, row.resident_id, electricity_fen, service_fen, note))
        return balance_fen(connection, wallet)


def balances(database: Database) -> Balances:
    with database.reading() as connection:
        found = ledger_books.balances(connection)
    return Balances(
        wallets_fen=sum(fen for name, fen in found.items() if name.startswith("wallet:")),
        holds_fen=sum(fen for name, fen in found.items() if name.startswith("hold:")),
        electricity_fen=found.get(ledger.ELECTRICITY, 0),
        service_fen=found.get(ledger.SERVICE, 0),
        written_off_fen=found.get(ledger.WRITTEN_OFF, 0),
        cash_fen=found.get(ledger.CASH, 0),
    )


def statement(
    connection: sqlite3.Connection, card: str, from_unix_ms: int | None = None, to_unix_ms: int | None = None
) -> list[tuple[LedgerEntry, int]]:
    """Return every movement of a wallet in [from, to), the oldest first, with the balance after it."""
    lines = ledger_books.newest(connection, ledger.wallet(resident_of(connection, card).id))
    return [
        (entry, balance_fen)
        for entry, balance_fen in reversed(lines)
        if (from_unix_ms or 0) <= entry.unix_ms and (to_unix_ms is None or entry.unix_ms < to_unix_ms)
    ]


def _post(
    database: Database, clock: Clock, card: str, prefix: str, key: str | None, make: Callable[[str, int], Transaction]
) -> int:
    """Post the transaction that `make` returns for the ledger's key and the resident; return the new balance."""
    with database.transaction() as connection:
        resident_id = resident_of(connection, card).id
        books = SqliteBooks(connection, clock.wall())
        ledger.post(books, make(posted_key(books, prefix, key), resident_id))
        return balance_fen(connection, ledger.wallet(resident_id))


def posted_key(books: SqliteBooks, prefix: str, key: str | None) -> str:
    """Return the key as in the ledger: in normal form, or as written if it was posted before keys had one form.

    Return a random key if none is given.
    """
    as_written = f"{prefix}{key or ''}"
    if key and books.postings(as_written) is not None:
        return as_written
    if len(form := normal_form.label(key or "")) > MAX_KEY:
        raise CabinetError(f"a key has at most {MAX_KEY} characters")
    return prefix + (form or secrets.token_hex(16))


def _note(typed: str) -> str:
    """Return the note in normal form. Raises CabinetError if it is too long."""
    if len(note := normal_form.text(typed)) > MAX_NOTE:
        raise CabinetError(f"a note has at most {MAX_NOTE} characters")
    return note


def _check_amount(amount_fen: int, what: str) -> None:
    if amount_fen <= 0:
        raise CabinetError(f"{what} is above 0 yuan")
