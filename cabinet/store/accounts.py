"""The ledger's books in the database. Runs inside the caller's transaction."""

import sqlite3

from cabinet.billing import ledger
from cabinet.clock import WallTime


class SqliteBooks:
    """`ledger.Books` over a connection that is inside a transaction; entries carry `wall`."""

    def __init__(self, connection: sqlite3.Connection, wall: WallTime) -> None:
        self._connection = connection
        self._wall = wall

    def postings(self, key: str) -> tuple[ledger.Posting, ...] | None:
        found = self._connection.execute("SELECT id FROM ledger_transaction WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        rows = self._connection.execute(
            "SELECT account, amount_fen FROM posting WHERE transaction_id = ?", (found["id"],)
        )
        return tuple(ledger.Posting(row["account"], row["amount_fen"]) for row in rows)

    def balance_fen(self, account: str) -> int:
        return balance_fen(self._connection, account)

    def enter(self, transaction: ledger.Transaction) -> None:
        cursor = self._connection.execute(
            "INSERT INTO ledger_transaction (key, kind, unix_ms, trusted) VALUES (?, ?, ?, ?)",
            (transaction.key, transaction.kind, self._wall.unix_ms, self._wall.trusted),
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
    row = connection.execute("SELECT balance_fen FROM account WHERE name = ?", (account,)).fetchone()
    return 0 if row is None else int(row["balance_fen"])


def check(connection: sqlite3.Connection) -> list[str]:
    """Everything that is wrong with the books, one sentence each; nothing, if they are in order."""
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
