"""A resident's history: charges and wallet movements, newest first, a page at a time."""

import sqlite3

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.service.ports import WALLET_MOVES, StatementPage, WalletLine
from cabinet.store import accounts, usage
from cabinet.store import sessions as table
from cabinet.store.sessions import SessionRow

MAX_A_PAGE = 100


def receipt(connection: sqlite3.Connection, session_id: str) -> tuple[SessionRow | None, str | None]:
    """Return a charge, and the hash of its usage record if it is settled."""
    return table.by_id(connection, session_id), usage.hash_of_session(connection, session_id)


def charges(
    connection: sqlite3.Connection, resident_id: int, before: int | None, limit: int
) -> tuple[list[SessionRow], int | None]:
    """Return charges numbered below `before`, and the `before` of the next page, if there is one."""
    most = max(1, min(limit, MAX_A_PAGE))
    rows = table.of_resident(connection, resident_id, most + 1, before)
    shown = rows[:most]
    return shown, shown[-1].number if len(rows) > most else None


def statement(connection: sqlite3.Connection, resident_id: int, before: int | None, limit: int) -> StatementPage:
    """Return a page of the wallet, as `ports.ResidentPort.statement`."""
    most = max(1, min(limit, MAX_A_PAGE))
    found = accounts.newest(connection, ledger.wallet(resident_id), before, most + 1)
    shown = found[:most]
    return StatementPage(
        [_line(entry, balance_fen) for entry, balance_fen in shown],
        shown[-1][0].number if len(found) > most else None,
    )


def _line(entry: accounts.LedgerEntry, balance_fen: int) -> WalletLine:
    kind = entry.kind if entry.kind in WALLET_MOVES else "other"
    session_id = entry.key.split(":")[1] if entry.kind in ("hold", "settle", "give_back") else None
    return WalletLine(
        entry.number, WallTime(entry.unix_ms, entry.trusted), kind, entry.amount_fen, balance_fen, session_id
    )
