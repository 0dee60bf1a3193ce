"""The ledger in PostgreSQL, by the rules of `cabinet.billing.ledger`.

`post_all` locks and reads everything that its transactions touch, runs the cabinet's own `ledger.post` on it in memory,
and writes the result, all in two round trips: a batch of a hundred settlements costs the same as one.
Accounts are locked in the order of company and name, so that two batches never wait for each other in a circle.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cabinet.billing import ledger
from cabinet.billing.ledger import Posting, Transaction
from fleet.store.database import Connection

Account = tuple[int, str]  # company, name


class CompanyTransaction(NamedTuple):
    company_id: int
    transaction: Transaction


class LoadedBooks:
    """`ledger.Books` of one company, read into memory and locked in the database; `entered` is to be written."""

    def __init__(self, balances: dict[str, int], posted: dict[str, tuple[Posting, ...]]) -> None:
        self._balances = balances
        self._posted = posted
        self.entered: list[Transaction] = []

    def postings(self, key: str) -> tuple[Posting, ...] | None:
        return self._posted.get(key)

    def balance_fen(self, account: str) -> int:
        return self._balances.get(account, 0)

    def enter(self, transaction: Transaction) -> None:
        for posting in transaction.postings:
            self._balances[posting.account] = self._balances.get(posting.account, 0) + posting.amount_fen
        self._posted[transaction.key] = transaction.postings
        self.entered.append(transaction)


async def post(connection: Connection, company_id: int, transaction: Transaction) -> bool:
    """Post one transaction. Returns True if it was posted now, False if it was posted before and nothing moved.

    Raises Overdrawn or LedgerError as `ledger.post`; then nothing was posted.
    """
    return (await post_all(connection, [CompanyTransaction(company_id, transaction)]))[0]


async def post_all(connection: Connection, wanted: Sequence[CompanyTransaction]) -> list[bool]:
    """Post transactions in order, all or none; return for each whether it was posted now.

    Runs inside the caller's transaction. Raises Overdrawn or LedgerError for the first that is not possible.
    """
    books = await lock(connection, wanted)
    done = [ledger.post(books[each.company_id], each.transaction) for each in wanted]
    await write(connection, books)
    return done


async def lock(
    connection: Connection, wanted: Iterable[CompanyTransaction], also: Iterable[Account] = ()
) -> dict[int, LoadedBooks]:
    """Lock all accounts of `wanted` and `also`; return the books of each company with their balances."""
    wanted = list(wanted)
    accounts = {(each.company_id, posting.account) for each in wanted for posting in each.transaction.postings}
    accounts |= set(also)
    ordered = sorted(accounts)
    companies, names = [company for company, _ in ordered], [name for _, name in ordered]
    async with connection.pipeline():  # one round trip; each statement sees what the one before waited for
        await connection.execute(
            "INSERT INTO account (company_id, name, balance_fen)"
            " SELECT company_id, name, 0 FROM unnest(%s::bigint[], %s::text[]) AS new (company_id, name)"
            " ORDER BY company_id, name ON CONFLICT DO NOTHING",
            (companies, names),
        )
        locked = await connection.execute(
            "SELECT company_id, name, balance_fen FROM account"
            " WHERE (company_id, name) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))"
            " ORDER BY company_id, name FOR UPDATE",
            (companies, names),
        )
        # After the locks: a transaction of the same key touches the same accounts, so it is done or waits for these.
        earlier = await connection.execute(
            "SELECT ledger_transaction.company_id, key, account, amount_fen"
            " FROM ledger_transaction JOIN posting ON transaction_id = id"
            " WHERE (ledger_transaction.company_id, key) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))",
            ([each.company_id for each in wanted], [each.transaction.key for each in wanted]),
        )
    balances: dict[int, dict[str, int]] = {}
    for company_id, name, balance_fen in await locked.fetchall():
        balances.setdefault(company_id, {})[name] = balance_fen
    posted: dict[int, dict[str, tuple[Posting, ...]]] = {}
    for company_id, key, account, amount_fen in await earlier.fetchall():
        of_company = posted.setdefault(company_id, {})
        of_company[key] = (*of_company.get(key, ()), Posting(account, amount_fen))
    ids = {company for company, _ in accounts} | {each.company_id for each in wanted}
    return {company: LoadedBooks(balances.get(company, {}), posted.get(company, {})) for company in ids}


async def write(connection: Connection, books: dict[int, LoadedBooks]) -> None:
    """Write the entries made since `lock`, in one statement; its accounts must have been locked."""
    entered = [(company_id, each) for company_id, of_company in books.items() for each in of_company.entered]
    if not entered:
        return
    lines = [(company_id, each.key, posting) for company_id, each in entered for posting in each.postings]
    changes: dict[Account, int] = {}
    for company_id, _, posting in lines:
        account = (company_id, posting.account)
        changes[account] = changes.get(account, 0) + posting.amount_fen
    await connection.execute(
        "WITH entry AS (INSERT INTO ledger_transaction (company_id, key, kind, note)"
        " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) RETURNING id, company_id, key),"
        " line AS (INSERT INTO posting (transaction_id, company_id, account, amount_fen)"
        " SELECT id, company_id, account, amount_fen FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[])"
        " AS new (company_id, key, account, amount_fen) JOIN entry USING (company_id, key))"
        " UPDATE account SET balance_fen = balance_fen + change"
        " FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS new (of_company, of_name, change)"
        " WHERE company_id = of_company AND name = of_name",
        (
            [company_id for company_id, _ in entered],
            [each.key for _, each in entered],
            [each.kind for _, each in entered],
            [each.note for _, each in entered],
            [company_id for company_id, _, _ in lines],
            [key for _, key, _ in lines],
            [posting.account for _, _, posting in lines],
            [posting.amount_fen for _, _, posting in lines],
            [company_id for company_id, _ in changes],
            [name for _, name in changes],
            list(changes.values()),
        ),
    )
    for of_company in books.values():
        of_company.entered.clear()
