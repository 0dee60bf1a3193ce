"""Double entry: money only moves between accounts, and never out of an account that does not have it.

Accounts by name: `wallet:<resident>` is free to spend, `hold:<session>` is set aside for a running session,
`revenue:electricity` and `revenue:service` are earned, `written_off` comes from unclaimed wallets, `cash` is the
outside world that top-ups come from and pay-outs go to. An order of the fleet pays like a resident: `order:<number>`
gets its money from `cash` before the hold, and what the charge leaves goes back there with the settlement. All balances
together are always 0. `cash` may be negative, and at the fleet `debt:<order>`: the cost of a charge whose money had
gone back before its record arrived. No other account may.

Pure: the storage is passed in (`Books`). Each transaction has a key, and posting it a second time moves nothing.
"""

from typing import Protocol

import msgspec

from cabinet.errors import CabinetError

CASH = "cash"
ELECTRICITY = "revenue:electricity"
SERVICE = "revenue:service"
WRITTEN_OFF = "written_off"
DEBT = "debt:"
PLATFORM = "platform:"

UNDONE = "top_up_undone"


def wallet(resident_id: int) -> str:
    return f"wallet:{resident_id}"


def order(number: str) -> str:
    return f"order:{number}"


Payer = int | str  # the id of a resident, or the number of a fleet's order


def payer_account(payer: Payer) -> str:
    return order(payer) if isinstance(payer, str) else wallet(payer)


def held(session_id: str) -> str:
    return f"hold:{session_id}"


def debt(order: str) -> str:
    return f"{DEBT}{order}"


def may_be_negative(account: str) -> bool:
    return account == CASH or account.startswith((DEBT, PLATFORM))


class Posting(msgspec.Struct, frozen=True):
    """A movement of `amount_fen` into `account`, or out of it if negative."""

    account: str
    amount_fen: int


class Transaction(msgspec.Struct, frozen=True):
    """Postings that happen together or not at all; `key` makes it happen once. `note` is for people."""

    key: str
    kind: str
    postings: tuple[Posting, ...]
    note: str = ""


class LedgerError(CabinetError):
    """A transaction that is not possible: it is unbalanced, or its key is already used for another one."""


class Overdrawn(LedgerError):
    """A transaction that takes more out of `account` than its balance; nothing was posted."""

    def __init__(self, account: str, balance_fen: int, wanted_fen: int) -> None:
        super().__init__(f"{account} holds {balance_fen} fen, {wanted_fen} are wanted")
        self.account = account
        self.balance_fen = balance_fen
        self.wanted_fen = wanted_fen


class Books(Protocol):
    """Storage of the ledger; all calls of one `post` are inside one transaction of it."""

    def postings(self, key: str) -> tuple[Posting, ...] | None:
        """Return the postings of `key`, or None."""

    def balance_fen(self, account: str) -> int:
        """Return the balance; 0 for an account without postings."""

    def enter(self, transaction: Transaction) -> None: ...


def top_up(key: str, resident_id: int, amount_fen: int, note: str = "") -> Transaction:
    return _transaction(key, "top_up", {CASH: -amount_fen, wallet(resident_id): amount_fen}, note)


def undo_top_up(key: str, resident_id: int, amount_fen: int) -> Transaction:
    """Reverse a mistaken top-up: its postings stay, and this transaction is added."""
    return _transaction(key, UNDONE, {wallet(resident_id): -amount_fen, CASH: amount_fen})


def pay_out(key: str, resident_id: int, amount_fen: int, note: str = "") -> Transaction:
    """Pay out money of a resident's wallet in cash."""
    return _transaction(key, "pay_out", {wallet(resident_id): -amount_fen, CASH: amount_fen}, note)


def write_off(key: str, resident_id: int, amount_fen: int, note: str) -> Transaction:
    """Take the rest of a wallet that will not be claimed."""
    return _transaction(key, "write_off", {wallet(resident_id): -amount_fen, WRITTEN_OFF: amount_fen}, note)


def give_back(key: str, resident_id: int, electricity_fen: int, service_fen: int, note: str) -> Transaction:
    """Return part of a settled session's cost, as after a complaint; the usage record stays unchanged."""
    amounts = {
        ELECTRICITY: -electricity_fen,
        SERVICE: -service_fen,
        wallet(resident_id): electricity_fen + service_fen,
    }
    return _transaction(key, "give_back", amounts, note)


def order_in(number: str, amount_fen: int) -> Transaction:
    """Take over the money that the fleet holds for an order, before its session's hold."""
    return _transaction(f"order-in:{number}", "order_in", {CASH: -amount_fen, order(number): amount_fen})


def order_out(number: str, amount_fen: int) -> Transaction:
    """Return what the settlement left of an order's money to the fleet."""
    return _transaction(f"order-out:{number}", "order_out", {order(number): -amount_fen, CASH: amount_fen})


def hold(session_id: str, payer: Payer, amount_fen: int) -> Transaction:
    """Set money aside before a session starts."""
    amounts = {payer_account(payer): -amount_fen, held(session_id): amount_fen}
    return _transaction(f"hold:{session_id}", "hold", amounts)


def settle(session_id: str, payer: Payer, held_fen: int, electricity_fen: int, service_fen: int) -> Transaction:
    """Split the whole hold into revenue and refund. Raises LedgerError if the cost exceeds the hold."""
    refund_fen = held_fen - electricity_fen - service_fen
    if min(electricity_fen, service_fen, refund_fen) < 0:
        raise LedgerError(f"session {session_id}: {electricity_fen} + {service_fen} fen of a hold of {held_fen}")
    return _transaction(
        f"settle:{session_id}",
        "settle",
        {
            held(session_id): -held_fen,
            ELECTRICITY: electricity_fen,
            SERVICE: service_fen,
            payer_account(payer): refund_fen,
        },
    )


def post(books: Books, transaction: Transaction) -> bool:
    """Post `transaction`. Returns True if it was posted now, False if it was posted before and nothing moved.

    Raises Overdrawn, or LedgerError for an unbalanced transaction and for a key that belongs to another one; then
    nothing was posted.
    """
    check_balanced(transaction)
    earlier = books.postings(transaction.key)
    if earlier is not None:
        if sorted(earlier, key=_by_account) != sorted(transaction.postings, key=_by_account):
            raise LedgerError(f"key {transaction.key} was already used for a different transaction")
        return False
    for posting in transaction.postings:
        balance_fen = books.balance_fen(posting.account)
        if not may_be_negative(posting.account) and balance_fen + posting.amount_fen < 0:
            raise Overdrawn(posting.account, balance_fen, -posting.amount_fen)
    books.enter(transaction)
    return True


def check_balanced(transaction: Transaction) -> None:
    """Raise LedgerError if the postings do not add up to 0, move nothing, or name an account twice."""
    accounts = [posting.account for posting in transaction.postings]
    if len(set(accounts)) != len(accounts) or any(posting.amount_fen == 0 for posting in transaction.postings):
        raise LedgerError(f"{transaction.key}: an account named twice, or a posting of 0")
    if sum(posting.amount_fen for posting in transaction.postings) != 0:
        raise LedgerError(f"{transaction.key}: the postings do not balance")


def _transaction(key: str, kind: str, amounts: dict[str, int], note: str = "") -> Transaction:
    return Transaction(key, kind, tuple(Posting(account, fen) for account, fen in amounts.items() if fen), note)


def _by_account(posting: Posting) -> str:
    return posting.account
