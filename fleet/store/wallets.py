"""Money of residents: balances, statements, top-ups and the books as a whole. Amounts in fen.

Moving money needs an open transaction of the caller; the postings and its audit entry are then committed together.
"""

import datetime

import msgspec

from cabinet.billing import ledger
from cabinet.errors import Refused
from fleet.store import ledger_books, rows
from fleet.store.database import Connection

MAX_TOP_UP_FEN = 100_000
UNDO_WITHIN = datetime.timedelta(days=1)


class Wallet(msgspec.Struct, frozen=True):
    balance_fen: int  # free to spend
    held_fen: int  # of the order that runs
    debt_fen: int  # of charges with a record that arrived after their money had gone back


class WalletEntry(msgspec.Struct, frozen=True):
    """One movement of a wallet, and the balance after it. `order_number`: of the charge, if it belongs to one."""

    number: int  # of the ledger's transaction
    at: datetime.datetime
    kind: str
    key: str
    note: str
    amount_fen: int
    balance_fen: int
    order_number: str | None = None
    undone: bool = False


class FleetLedgerEntry(msgspec.Struct, frozen=True):
    """One posting with its transaction: a line of the accountant's list."""

    number: int
    at: datetime.datetime
    kind: str
    key: str
    note: str
    account: str
    amount_fen: int


async def wallet(connection: Connection, company_id: int, resident_id: int) -> Wallet:
    """Return a resident's money; zeros for a resident of another company."""
    found = await rows.one(
        connection,
        Wallet,
        "SELECT coalesce((SELECT balance_fen FROM account WHERE company_id = %(company)s AND name = %(name)s), 0)"
        " AS balance_fen,"
        " coalesce((SELECT sum(held_fen)::bigint FROM charge_order WHERE company_id = %(company)s"
        " AND resident_id = %(resident)s AND state IN ('held', 'sent', 'accepted', 'charging')), 0) AS held_fen,"
        " coalesce((SELECT sum(-balance_fen)::bigint FROM charge_order JOIN account"
        " ON account.company_id = charge_order.company_id AND name = 'debt:' || number"
        " WHERE charge_order.company_id = %(company)s AND resident_id = %(resident)s AND debt_fen > 0), 0) AS debt_fen",
        {"company": company_id, "resident": resident_id, "name": ledger.wallet(resident_id)},
    )
    assert found is not None
    return found


async def top_up(
    connection: Connection, company_id: int, resident_id: int, amount_fen: int, request_key: str, note: str = ""
) -> bool:
    """Top up a wallet, and pay the resident's debts from it. If `request_key` repeats, move nothing, return False.

    Refuses bad_amount, unknown_resident, bad_request (the key was used for something else).
    """
    if not 0 < amount_fen <= MAX_TOP_UP_FEN:
        raise Refused("bad_amount")
    await _check_resident(connection, company_id, resident_id)
    wanted = ledger.top_up(f"top_up:{request_key}", resident_id, amount_fen, note)
    try:
        posted = await ledger_books.post(connection, company_id, wanted)
    except ledger.LedgerError:
        raise Refused("bad_request") from None
    if posted:
        await collect_debts(connection, company_id, resident_id)
    return posted


async def undo_top_up(connection: Connection, company_id: int, resident_id: int, transaction_number: int) -> None:
    """Reverse a top-up by a counter-posting, within a day. Refuses cannot_undo."""
    found = await rows.one(
        connection,
        FleetLedgerEntry,
        "SELECT id AS number, at, kind, key, note, account, amount_fen FROM ledger_transaction"
        " JOIN posting ON transaction_id = id WHERE ledger_transaction.company_id = %s AND id = %s AND account = %s"
        " AND kind = 'top_up' AND at > now() - %s::interval",
        (company_id, transaction_number, ledger.wallet(resident_id), UNDO_WITHIN),
    )
    if found is None:
        raise Refused("cannot_undo")
    try:
        undone = ledger.undo_top_up(f"undo:{found.key}", resident_id, found.amount_fen)
        if not await ledger_books.post(connection, company_id, undone):
            raise Refused("cannot_undo")
    except ledger.Overdrawn:
        raise Refused("cannot_undo") from None


async def pay_out(
    connection: Connection, company_id: int, resident_id: int, amount_fen: int, request_key: str, note: str = ""
) -> bool:
    """Pay money of a wallet out in cash. Refuses bad_amount, no_money, unknown_resident."""
    if amount_fen <= 0:
        raise Refused("bad_amount")
    await _check_resident(connection, company_id, resident_id)
    wanted = ledger.pay_out(f"pay_out:{request_key}", resident_id, amount_fen, note)
    try:
        return await ledger_books.post(connection, company_id, wanted)
    except ledger.Overdrawn as error:
        raise Refused("no_money", balance_fen=error.balance_fen, needed_fen=error.wanted_fen) from None


async def collect_debts(connection: Connection, company_id: int, resident_id: int) -> int:
    """Pay debts of a resident from the wallet, the oldest first, as far as it reaches; return the fen paid."""
    cursor = await connection.execute(
        "SELECT number FROM charge_order WHERE company_id = %s AND resident_id = %s AND debt_fen > 0"
        " ORDER BY ended, number",
        (company_id, resident_id),
    )
    numbers = [number for (number,) in await cursor.fetchall()]
    if not numbers:
        return 0
    own = ledger.wallet(resident_id)
    accounts = [(company_id, ledger.debt(number)) for number in numbers]
    books = (await ledger_books.lock(connection, [], [(company_id, own), *accounts]))[company_id]
    paid_fen = 0
    for number in numbers:
        owed_fen = -books.balance_fen(ledger.debt(number))
        amount_fen = min(owed_fen, books.balance_fen(own))
        if amount_fen <= 0:
            continue
        postings = (ledger.Posting(own, -amount_fen), ledger.Posting(ledger.debt(number), amount_fen))
        # The amount still owed makes the key: each partial payment has one of its own, and cannot happen twice.
        books.enter(ledger.Transaction(f"debt_paid:{number}:{owed_fen}", "debt_paid", postings))
        paid_fen += amount_fen
    await ledger_books.write(connection, {company_id: books})
    return paid_fen


async def statement(
    connection: Connection, company_id: int, resident_id: int, before: int | None = None, limit: int = 50
) -> list[WalletEntry]:
    """Return movements of a wallet numbered below `before`, newest first, each with the balance after it."""
    return await rows.many(
        connection,
        WalletEntry,
        "SELECT * FROM (SELECT id AS number, at, kind, key, note, amount_fen,"
        " (sum(amount_fen) OVER (ORDER BY id))::bigint AS balance_fen,"
        " CASE WHEN kind IN ('hold', 'settle', 'release', 'debt_paid') THEN split_part(key, ':', 2) END"
        " AS order_number,"
        " EXISTS (SELECT 1 FROM ledger_transaction AS counter WHERE counter.company_id = %(company)s"
        " AND counter.key = 'undo:' || ledger_transaction.key) AS undone"
        " FROM posting JOIN ledger_transaction ON id = transaction_id"
        " WHERE posting.company_id = %(company)s AND account = %(account)s) AS lines"
        " WHERE %(before)s::bigint IS NULL OR number < %(before)s ORDER BY number DESC LIMIT %(limit)s",
        {"company": company_id, "account": ledger.wallet(resident_id), "before": before, "limit": limit},
    )


async def balances(connection: Connection, company_id: int) -> dict[str, int]:
    """Return the balance in fen of every account of the company."""
    sql = "SELECT name, balance_fen FROM account WHERE company_id = %s ORDER BY name"
    cursor = await connection.execute(sql, (company_id,))
    return dict(await cursor.fetchall())


async def entries(
    connection: Connection,
    company_id: int,
    begin: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[FleetLedgerEntry]:
    """Return postings of transactions numbered above `after` and made in [begin, end), in the order of entry."""
    return await rows.many(
        connection,
        FleetLedgerEntry,
        "SELECT id AS number, at, kind, key, note, account, amount_fen FROM ledger_transaction"
        " JOIN posting ON transaction_id = id WHERE ledger_transaction.company_id = %(company)s AND id IN"
        " (SELECT id FROM ledger_transaction WHERE company_id = %(company)s AND id > %(after)s"
        " AND (%(begin)s::timestamptz IS NULL OR at >= %(begin)s) AND (%(end)s::timestamptz IS NULL OR at < %(end)s)"
        " ORDER BY id LIMIT %(limit)s) ORDER BY id, account",
        {"company": company_id, "after": after, "begin": begin, "end": end, "limit": limit},
    )


async def check(connection: Connection, company_id: int) -> list[str]:
    """Return the problems of the company's books, one sentence each; empty if they are in order."""
    cursor = await connection.execute(
        "SELECT key, sum(amount_fen) FROM ledger_transaction JOIN posting ON transaction_id = id"
        " WHERE ledger_transaction.company_id = %s GROUP BY id HAVING sum(amount_fen) <> 0 ORDER BY id",
        (company_id,),
    )
    problems = [f"transaction {key}: its postings add up to {total} fen" for key, total in await cursor.fetchall()]
    cursor = await connection.execute(
        "SELECT name, balance_fen, coalesce(sum(amount_fen), 0) FROM account LEFT JOIN posting"
        " ON posting.company_id = account.company_id AND posting.account = name WHERE account.company_id = %s"
        " GROUP BY account.company_id, name HAVING coalesce(sum(amount_fen), 0) <> balance_fen ORDER BY name",
        (company_id,),
    )
    problems += [
        f"account {name}: balance {balance} fen, its postings add up to {total}"
        for name, balance, total in await cursor.fetchall()
    ]
    for name, balance_fen in (await balances(connection, company_id)).items():
        if balance_fen < 0 and not ledger.may_be_negative(name):
            problems.append(f"account {name}: {balance_fen} fen is below 0")
    cursor = await connection.execute(
        "SELECT number, state, held_fen, coalesce(balance_fen, 0) FROM charge_order LEFT JOIN account"
        " ON account.company_id = charge_order.company_id AND name = 'hold:' || number"
        " WHERE charge_order.company_id = %s AND coalesce(balance_fen, 0) <>"
        " CASE WHEN state IN ('held', 'sent', 'accepted', 'charging', 'refused', 'settled') THEN held_fen ELSE 0 END"
        " ORDER BY number",
        (company_id,),
    )
    problems += [
        f"order {number} is {state} with a hold of {held} fen, its account has {balance}"
        for number, state, held, balance in await cursor.fetchall()
    ]
    return problems


async def _check_resident(connection: Connection, company_id: int, resident_id: int) -> None:
    sql = "SELECT 1 FROM resident WHERE company_id = %s AND id = %s AND NOT erased"
    if await rows.value(connection, sql, (company_id, resident_id)) is None:
        raise Refused("unknown_resident")
