"""Searchable list of residents. Runs inside the caller's transaction."""

import sqlite3

import msgspec

from cabinet.store import rows


class ListRow(msgspec.Struct, frozen=True):
    id: int
    card: str
    name: str
    blocked: bool
    group: str
    guest: bool
    balance_fen: int
    held_fen: int


_SELECT = (
    'SELECT id, card, resident.name AS name, blocked, tariff_group AS "group", guest,'
    " coalesce(balance_fen, 0) AS balance_fen,"
    " (SELECT coalesce(sum(held_fen), 0) FROM session WHERE resident_id = id AND state != 'settled') AS held_fen"
    " FROM resident LEFT JOIN account ON account.name = 'wallet:' || id WHERE holder IS NOT NULL"
)
"""Erased residents have no holder and are left out."""


def found(connection: sqlite3.Connection, words: str, after_card: str, limit: int) -> list[ListRow]:
    """Return rows by card, after `after_card`, if the card begins or ends with `words` or the name contains them."""
    like = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    sql = (
        f"{_SELECT} AND card > ?1 AND (card LIKE ?2 || '%' ESCAPE '\\' OR card LIKE '%' || ?2 ESCAPE '\\'"
        " OR resident.name LIKE '%' || ?2 || '%' ESCAPE '\\') ORDER BY card LIMIT ?3"
    )
    return rows.many(connection, ListRow, sql, after_card, like, limit)


def by_id(connection: sqlite3.Connection, resident_id: int) -> ListRow | None:
    return rows.one(connection, ListRow, f"{_SELECT} AND id = ?", resident_id)


def card_before(connection: sqlite3.Connection, resident_id: int) -> str:
    """Return the card of a resident, after which a page of the list begins; empty if there is none."""
    row = connection.execute("SELECT card FROM resident WHERE id = ?", (resident_id,)).fetchone()
    return "" if row is None else str(row["card"])
