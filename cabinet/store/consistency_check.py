"""Consistency check: sessions, usage log and ledger must contain the same charges and the same money.

Each of the three can be intact by itself: if the end of one is cut off, its head included, the others show it.
"""

import sqlite3

from cabinet.billing import ledger

MAX_PROBLEMS = 20  # problems listed of one kind


def problems(connection: sqlite3.Connection) -> list[str]:
    """Return a sentence for each difference; empty if they agree. Runs inside the caller's transaction."""
    found = [
        f"order {row['order_number']} was settled, and the usage log has no record of it"
        for row in connection.execute(
            "SELECT order_number FROM session LEFT JOIN usage_record USING (session_id)"
            " WHERE state = 'settled' AND end_reason IS NOT NULL AND usage_record.number IS NULL LIMIT ?",
            (MAX_PROBLEMS,),
        )
    ]
    found += [
        f"usage record {row['number']} is of no settled charge"
        for row in connection.execute(
            "SELECT usage_record.number AS number FROM usage_record LEFT JOIN session USING (session_id)"
            " WHERE session.state IS NOT 'settled' LIMIT ?",
            (MAX_PROBLEMS,),
        )
    ]
    found += [
        f"order {row['order_number']}: {row['cost_fen']} fen on the receipt, {row['recorded_fen']} in the usage log"
        for row in connection.execute(
            "SELECT order_number, cost_fen, body ->> '$.total_fen' AS recorded_fen"
            " FROM session JOIN usage_record USING (session_id) WHERE recorded_fen IS NOT cost_fen LIMIT ?",
            (MAX_PROBLEMS,),
        )
    ]
    found += [
        f"order {row['order_number']}: {row['cost_fen']} fen on the receipt, {row['earned_fen']} in the ledger"
        for row in connection.execute(
            "SELECT order_number, cost_fen, coalesce(sum(amount_fen), 0) AS earned_fen FROM session"
            " LEFT JOIN ledger_transaction ON key = 'settle:' || session_id"
            " LEFT JOIN posting ON transaction_id = ledger_transaction.id AND account IN (?, ?)"
            " WHERE state = 'settled' AND cost_fen IS NOT NULL"
            " GROUP BY session.number HAVING earned_fen != cost_fen LIMIT ?",
            (ledger.ELECTRICITY, ledger.SERVICE, MAX_PROBLEMS),
        )
    ]
    found += [
        f"{row['name']}: {row['balance_fen']} fen are held for no running charge"
        for row in connection.execute(
            "SELECT name, balance_fen FROM account WHERE substr(name, 1, 5) = 'hold:' AND balance_fen != 0"
            " AND substr(name, 6) NOT IN (SELECT session_id FROM session WHERE state != 'settled') LIMIT ?",
            (MAX_PROBLEMS,),
        )
    ]
    return found
