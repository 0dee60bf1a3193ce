"""Searchable list of residents. Runs inside the caller's transaction."""

import sqlite3

import msgspec


class ListRow(msgspec.Struct, frozen=True):
    id: int
    card: str
    name: str
    blocked: bool
    group: str
    guest: bool
    balance_fen: int
    held_fen: int
    added_unix_ms: int


_SELECT = (
    "SELECT id, card, resident.name AS name, blocked, tariff_group, guest, added_unix_ms,"
    " coalesce(balance_fen, 0) AS balance_fen,"
    " (SELECT coalesce(sum(held_fen), 0) FROM session WHERE resident_id = id AND state != 'settled') AS held_fen"
    " FROM resident LEFT JOIN account ON account.name = 'wallet:' || id WHERE holder IS NOT NULL"
)
"""Erased residents have no holder and are left out."""


def found(connection: sqlite3.Connection, words: str, after_card: str, limit: int) -> list[ListRow]:
    """Return rows by card, after `after_card`, if the card begins or ends with `words` or the name contains them."""
    like = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = connection.execute(
        f"{_SELECT} AND card > :after AND (card LIKE :like || '%' ESCAPE '\\' OR card LIKE '%' || :like ESCAPE '\\'"
        " OR resident.name LIKE '%' || :like || '%' ESCAPE '\\') ORDER BY card LIMIT :limit",
        {"after": after_card, "like": like, "limit": limit},
    )
    return [_row(row) for row in rows]


def by_id(connection: sqlite3.Connection, resident_id: int) -> ListRow | None:
    row = connection.execute(f"{_SELECT} AND id = ?", (resident_id,)).fetchone()
    return None if row is None else _row(row)


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM resident WHERE holder IS NOT NULL").fetchone()[0])


def card_before(connection: sqlite3.Connection, resident_id: int) -> str:
    """Return the card of a resident, after which a page of the list begins; empty if there is none."""
    row = connection.execute("SELECT card FROM resident WHERE id = ?", (resident_id,)).fetchone()
    return "" if row is None else str(row["card"])


def _row(row: sqlite3.Row) -> ListRow:
    return ListRow(
        row["id"], row["card"], row["name"], bool(row["blocked"]), row["tariff_group"], bool(row["guest"]),
        row["balance_fen"], row["held_fen"], row["added_unix_ms"],
    )  # fmt: skip
