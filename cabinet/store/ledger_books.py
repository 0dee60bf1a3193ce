"""Ledger books in the database. Runs inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator

import msgspec

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.store import rows


class SqliteBooks:
    """`ledger.Books` over a connection inside a transaction; entries carry `wall`; if it is None, it only reads."""

    def __init__(self, connection: sqlite3.Connection, wall: WallTime | None) -> None:
        self._connection = connection
        self._wall = wall

    def postings(self, key: str) -> tuple[ledger.Posting, ...] | None:
        found = self._connection.execute("SELECT id FROM ledger_transaction WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        sql = "SELECT account, amount_fen FROM posting WHERE transaction_id = ?"
        return tuple(rows.many(self._connection, ledger.Posting, sql, found["id"]))

    def balance_fen(self, account: str) -> int:
        return balance_fen(self._connection, account)

    def enter(self, transaction: ledger.Transaction) -> None:
        assert self._wall is not None
        cursor = self._connection.execute(
            "INSERT INTO ledger_transaction (key, kind, unix_ms, trusted, note) VALUES (?, ?, ?, ?, ?)",
            (transaction.key, transaction.kind, self._wall.unix_ms, self._wall.trusted, transaction.note),
        )
        for posting in transaction.postings:
            self._connection.execute("INSERT OR IGNORE INTO account VALUES (?, 0)", (posting.account,))
            self._connection.execute(
                "UPDATE account SET balance_fen = balance_fen + ? WHERE name = ?",
                (posting.amount_fen, posting.account),
            )
            self._connection.execute(
                "INSERT INTO posting (transaction_id, account, amount_fen) VALUES (?, ?, ?)",
                (cursor.lastrowid, posting.account, posting.amount_fen),
            )


def balance_fen(connection: sqlite3.Connection, account: str) -> int:
    return rows.number(connection, "SELECT coalesce((SELECT balance_fen FROM account WHERE name = ?), 0)", account)


class LedgerEntry(msgspec.Struct, frozen=True):
    """One posting with its transaction: a line of a statement, or of the accountant's list."""

    number: int  # of the transaction, without gaps, in the order of entry
    unix_ms: int
    trusted: bool
    kind: str
    key: str
    note: str
    account: str
    amount_fen: int


def balances(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the balance of every account that ever had a posting."""
    return {row["name"]: row["balance_fen"] for row in connection.execute("SELECT * FROM account ORDER BY name")}


def entries(
    connection: sqlite3.Connection,
    account: str | None = None,
    from_unix_ms: int | None = None,
    to_unix_ms: int | None = None,
) -> Iterator[LedgerEntry]:
    """Return entries of one or all accounts, made in [from, to), in the order of entry; None leaves a side open."""
    found = connection.execute(
        "SELECT id AS number, unix_ms, trusted, kind, key, note, account, amount_fen"
        " FROM ledger_transaction JOIN posting ON transaction_id = id"
        " WHERE account = coalesce(?, account)"
        " AND unix_ms >= coalesce(?, unix_ms) AND unix_ms < coalesce(?, unix_ms + 1)"
        " ORDER BY id, account",
        (account, from_unix_ms, to_unix_ms),
    )
    return (_entry(row) for row in found)


def newest(
    connection: sqlite3.Connection, account: str, before: int | None = None, limit: int = -1
) -> list[tuple[LedgerEntry, int]]:
    """Return the last `limit` entries of `account`, of those numbered below `before`, each with the balance after it.

    The newest is first. Without `before` and `limit`, return all.
    """
    found = connection.execute(
        "SELECT * FROM (SELECT id AS number, unix_ms, trusted, kind, key, note, account, amount_fen,"
        " sum(amount_fen) OVER (ORDER BY id) AS balance_fen"
        " FROM posting JOIN ledger_transaction ON id = transaction_id WHERE account = ?)"
        " WHERE number < coalesce(?, number + 1) ORDER BY number DESC LIMIT ?",
        (account, before, limit),
    )
    return [(_entry(row), row["balance_fen"]) for row in found]


def _entry(row: sqlite3.Row) -> LedgerEntry:
    return msgspec.convert(dict(row), LedgerEntry, strict=False)


def moved_fen(connection: sqlite3.Connection, key_prefix: str, account: str) -> int:
    """Return the sum, in fen, that transactions with this key prefix have posted to `account`."""
    return rows.number(
        connection,
        "SELECT coalesce(sum(amount_fen), 0) FROM ledger_transaction JOIN posting ON transaction_id = id"
        " WHERE substr(key, 1, length(?)) = ? AND account = ?",
        key_prefix,
        key_prefix,
        account,
    )


def check(connection: sqlite3.Connection) -> list[str]:
    """Return the problems of the books, one sentence each; empty if they are in order."""
    problems = [
        f"transaction {row['key']}: its postings add up to {row['total']} fen"
        for row in connection.execute(
            "SELECT key, sum(amount_fen) AS total FROM ledger_transaction JOIN posting ON transaction_id = id"
            " GROUP BY id HAVING total != 0"
        )
    ]
    problems += [
        f"account {row['name']}: balance {row['balance_fen']} fen, its postings add up to {row['total']}"
        for row in connection.execute(
            "SELECT name, balance_fen, coalesce(sum(amount_fen), 0) AS total FROM account"
            " LEFT JOIN posting ON account = name GROUP BY name HAVING total != balance_fen"
        )
    ]
    problems += [
        f"account {row['name']}: {row['balance_fen']} fen is below 0"
        for row in connection.execute("SELECT * FROM account WHERE balance_fen < 0 AND name != ?", (ledger.CASH,))
    ]
    return problems
