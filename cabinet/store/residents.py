"""Residents in the database, and the searchable list of them. Runs inside the caller's transaction.

A PIN is stored as its argon2 hash only.
"""

import secrets
import sqlite3

import msgspec

from cabinet import normal_form
from cabinet.store import rows, tokens


class ResidentRow(msgspec.Struct, frozen=True):
    id: int
    card: str
    name: str
    pin_hash: str
    blocked: bool
    group: str = ""
    guest: bool = False


class ListRow(msgspec.Struct, frozen=True):
    id: int
    card: str
    name: str
    blocked: bool
    group: str
    guest: bool
    balance_fen: int
    held_fen: int


FLEET_CARD = "erased-fleet"  # of the row that charges of the fleet's orders refer to: a card that nobody can have

_RESIDENT = 'SELECT *, tariff_group AS "group" FROM resident'

_LIST = (
    'SELECT id, card, resident.name AS name, blocked, tariff_group AS "group", guest,'
    " coalesce(balance_fen, 0) AS balance_fen,"
    " (SELECT coalesce(sum(held_fen), 0) FROM session WHERE resident_id = id AND state != 'settled') AS held_fen"
    " FROM resident LEFT JOIN account ON account.name = 'wallet:' || id WHERE holder IS NOT NULL"
)
"""Erased residents have no holder and are left out."""


def add(
    connection: sqlite3.Connection,
    card: str,
    name: str,
    pin_hash: str,
    unix_ms: int,
    group: str = "",
    guest: bool = False,
) -> int:
    cursor = connection.execute(
        "INSERT INTO resident (card, name, pin_hash, added_unix_ms, tariff_group, holder, guest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (card, name, pin_hash, unix_ms, group, secrets.token_hex(8), guest),
    )
    assert cursor.lastrowid is not None  # an INSERT that did not raise has one
    return cursor.lastrowid


def add_fleet_row(connection: sqlite3.Connection, unix_ms: int) -> int:
    """Add the row that charges of the fleet's orders refer to, unless it is there; return its id.

    Like an erased resident it has no holder, no PIN and no sign-in, and is in no list.
    """
    connection.execute(
        "INSERT OR IGNORE INTO resident (card, pin_hash, blocked, added_unix_ms) VALUES (?, '', 1, ?)",
        (FLEET_CARD, unix_ms),
    )
    return rows.number(connection, "SELECT id FROM resident WHERE card = ?", FLEET_CARD)


def holder_of(connection: sqlite3.Connection, resident_id: int) -> str:
    """Return the pseudonym of a resident in the usage log; empty for the fleet's."""
    row = connection.execute("SELECT holder FROM resident WHERE id = ?", (resident_id,)).fetchone()
    return str(row["holder"] or "")


def erase(connection: sqlite3.Connection, resident_id: int) -> None:
    """Erase all personal data of a resident; the row stays for its references, with a random card."""
    connection.execute(
        "UPDATE resident SET card = ?, name = '', pin_hash = '', blocked = 1, tariff_group = '', holder = NULL"
        " WHERE id = ?",
        (f"erased-{secrets.token_hex(8)}", resident_id),
    )
    connection.execute("UPDATE session SET card = '' WHERE resident_id = ?", (resident_id,))
    connection.execute("DELETE FROM waiting WHERE resident_id = ?", (resident_id,))
    connection.execute("DELETE FROM guest_code WHERE resident_id = ?", (resident_id,))
    tokens.remove_logins_of_resident(connection, resident_id)


def by_card(connection: sqlite3.Connection, card: str) -> ResidentRow | None:
    """Return the resident with this card, in any spelling, or None.

    Cards of an older version may differ in capital letters only. Each of those is found by its exact spelling only: no
    resident may reach the wallet of another.
    """
    found = all_by_card(connection, card)
    if len(found) > 1:
        found = [row for row in found if row.card == normal_form.spelling(card)]
    return found[0] if found else None


def all_by_card(connection: sqlite3.Connection, card: str) -> list[ResidentRow]:
    """Return the residents with a card of this normal form: at most one, except for cards of an older version."""
    sql = f"{_RESIDENT} WHERE card = ? COLLATE NOCASE AND card != ? ORDER BY id"
    return rows.many(connection, ResidentRow, sql, normal_form.card(card), FLEET_CARD)


def similar_cards(connection: sqlite3.Connection) -> list[list[str]]:
    """Return the cards that differ in capital letters only, grouped by form."""
    groups = connection.execute(
        "SELECT json_group_array(card) AS cards FROM (SELECT card FROM resident ORDER BY card)"
        " GROUP BY card COLLATE NOCASE HAVING count(*) > 1"
    )
    return [msgspec.json.decode(row["cards"], type=list[str]) for row in groups]


def by_id(connection: sqlite3.Connection, resident_id: int) -> ResidentRow | None:
    return rows.one(connection, ResidentRow, f"{_RESIDENT} WHERE id = ?", resident_id)


def by_holder(connection: sqlite3.Connection, holder: str) -> ResidentRow | None:
    return rows.one(connection, ResidentRow, f"{_RESIDENT} WHERE holder = ?", holder)


def is_erased(row: ResidentRow) -> bool:
    """Return whether the personal data of the row is erased."""
    return row.pin_hash == "" and row.card.startswith("erased-")


def all_residents(connection: sqlite3.Connection) -> list[ResidentRow]:
    return rows.many(connection, ResidentRow, f"{_RESIDENT} WHERE card != ? ORDER BY card", FLEET_CARD)


def set_blocked(connection: sqlite3.Connection, resident_id: int, blocked: bool) -> None:
    """Block or unblock a card. A blocked card is signed out."""
    connection.execute("UPDATE resident SET blocked = ? WHERE id = ?", (blocked, resident_id))
    if blocked:
        tokens.remove_logins_of_resident(connection, resident_id)


def set_group(connection: sqlite3.Connection, card: str, group: str) -> None:
    connection.execute("UPDATE resident SET tariff_group = ? WHERE card = ?", (group, card))


def set_pin(connection: sqlite3.Connection, resident_id: int, pin_hash: str) -> None:
    """Set the hash of a new PIN; all sign-ins of the card end."""
    connection.execute("UPDATE resident SET pin_hash = ? WHERE id = ?", (pin_hash, resident_id))
    tokens.remove_logins_of_resident(connection, resident_id)


def held_fen(connection: sqlite3.Connection, resident_id: int) -> int:
    """Return the money held for the resident's running session."""
    sql = "SELECT coalesce(sum(held_fen), 0) FROM session WHERE resident_id = ? AND state != 'settled'"
    return rows.number(connection, sql, resident_id)


def search(connection: sqlite3.Connection, words: str, after_card: str, limit: int) -> list[ListRow]:
    """Return rows by card, after `after_card`, if the card begins or ends with `words` or the name contains them."""
    like = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    sql = (
        f"{_LIST} AND card > ?1 AND (card LIKE ?2 || '%' ESCAPE '\\' OR card LIKE '%' || ?2 ESCAPE '\\'"
        " OR resident.name LIKE '%' || ?2 || '%' ESCAPE '\\') ORDER BY card LIMIT ?3"
    )
    return rows.many(connection, ListRow, sql, after_card, like, limit)


def list_row(connection: sqlite3.Connection, resident_id: int) -> ListRow | None:
    return rows.one(connection, ListRow, f"{_LIST} AND id = ?", resident_id)


def card_before(connection: sqlite3.Connection, resident_id: int) -> str:
    """Return the card of a resident, after which a page of the list begins; empty if there is none."""
    row = connection.execute("SELECT card FROM resident WHERE id = ?", (resident_id,)).fetchone()
    return "" if row is None else str(row["card"])
