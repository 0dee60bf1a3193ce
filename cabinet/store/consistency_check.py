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
    found += [
        f"{row['name']}: {row['balance_fen']} fen are left to an order of the fleet"
        for row in connection.execute(
            "SELECT name, balance_fen FROM account WHERE substr(name, 1, 6) = 'order:' AND balance_fen != 0 LIMIT ?",
            (MAX_PROBLEMS,),
        )
    ]
    found += _outbox_problems(connection)
    return found


def _outbox_problems(connection: sqlite3.Connection) -> list[str]:
    """Return the problems of the outbox: a number that is missing, or a usage record that is in no fact."""
    uplink = connection.execute("SELECT facts, acked FROM uplink").fetchone()
    if uplink is None:
        return []
    first, last, count = connection.execute("SELECT min(number), max(number), count(*) FROM outbox").fetchone()
    found = []
    if count and (last != uplink["facts"] or count != last - first + 1 or first > uplink["acked"] + 1):
        found.append(f"the outbox has {count} of the facts {first} to {last}, of {uplink['facts']} written")
    if not count and uplink["acked"] != uplink["facts"]:
        found.append(f"the outbox is empty, and {uplink['facts'] - uplink['acked']} facts were never acknowledged")
    if first == 1:
        missing = connection.execute(
            "SELECT count(*) FROM usage_record WHERE number NOT IN"
            " (SELECT usage_number FROM outbox WHERE usage_number IS NOT NULL)"
        ).fetchone()[0]
        found += [f"{missing} usage records are in no fact of the outbox"] if missing else []
    return found
