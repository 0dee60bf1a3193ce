"""Residents for the property: masked lists, wallets with reversible top-ups, block, PIN, erase."""

import asyncio
import re
import sqlite3

from cabinet import normal_form
from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.pin_codes import random_pin
from cabinet.records import Actor
from cabinet.secret_hash import hash_secret
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import PropertyResidentView, PropertyWalletLine, ResidentPage
from cabinet.store import ledger_books, residents, sessions
from cabinet.store.ledger_books import SqliteBooks, balance_fen
from cabinet.store.residents import ListRow
from cabinet.texts import number_format

MAX_ROWS = 100
LINES_SHOWN = 30
MAX_FEN = 999_999
UNDO_MS = 24 * 3_600_000

TOP_UP, UNDO = "top-up:web:", "undo:"  # prefixes of ledger keys

_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Residents:
    """Implements `property_ports.ResidentsPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions) -> None:
        self._context = context
        self._audited = audited

    async def found(self, actor: Actor, words: str, after_id: int | None, limit: int) -> list[PropertyResidentView]:
        actor.require("money")
        most, words = max(0, min(limit, MAX_ROWS)), normal_form.label(words)

        def look(connection: sqlite3.Connection) -> list[ListRow]:
            after = "" if after_id is None else residents.card_before(connection, after_id)
            return residents.search(connection, words, after, most)

        return [_view(row, unmasked=False) for row in await self._context.storage.read(look)]

    async def page(self, actor: Actor, resident_id: int, *, unmasked: bool = False) -> ResidentPage:
        actor.require("money")
        if unmasked:
            await self._audited.do(
                actor, "money", lambda c: (_known(c, resident_id), Note("resident_reveal", resident_id))
            )

        def look(connection: sqlite3.Connection) -> ResidentPage:
            row = _known(connection, resident_id)
            lines = _wallet_lines(connection, resident_id, self._context.clock.wall())
            charging = sessions.unfinished_of_resident(connection, resident_id) is not None
            return ResidentPage(_view(row, unmasked), lines[:LINES_SHOWN], len(lines) > LINES_SHOWN, charging)

        return await self._context.storage.read(look)

    async def top_up(self, actor: Actor, resident_id: int, amount_fen: int, request_key: str, note: str) -> None:
        if not 1 <= amount_fen <= MAX_FEN:
            raise Refused("bad_amount")
        if not _KEY.fullmatch(request_key):
            raise Refused("bad_request")
        wall, note = self._context.clock.wall(), normal_form.text(note)

        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            _known(connection, resident_id)
            transaction = ledger.top_up(f"{TOP_UP}{request_key}", resident_id, amount_fen, note)
            try:
                posted = ledger.post(SqliteBooks(connection, wall), transaction)
            except ledger.LedgerError as error:
                raise Refused("bad_request") from error
            return None, Note("top_up", resident_id, number_format.yuan(amount_fen), note) if posted else None

        await self._audited.do(actor, "money", work)

    async def undo_top_up(self, actor: Actor, resident_id: int, transaction_number: int) -> None:
        wall = self._context.clock.wall()

        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            _known(connection, resident_id)
            lines = _wallet_lines(connection, resident_id, wall)
            line = next((each for each in lines if each.number == transaction_number), None)
            if line is None or not line.can_be_undone:
                raise Refused("cannot_undo")
            transaction = ledger.undo_top_up(f"{UNDO}{transaction_number}", resident_id, line.amount_fen)
            try:
                ledger.post(SqliteBooks(connection, wall), transaction)
            except ledger.LedgerError as error:
                raise Refused("cannot_undo") from error
            return None, Note("top_up_undo", resident_id, number_format.yuan(line.amount_fen))

        await self._audited.do(actor, "money", work)

    async def set_blocked(self, actor: Actor, resident_id: int, blocked: bool) -> None:
        def work(connection: sqlite3.Connection) -> tuple[None, Note | None]:
            row = _known(connection, resident_id)
            if row.blocked == blocked:
                return None, None
            residents.set_blocked(connection, resident_id, blocked)
            return None, Note("resident_block" if blocked else "resident_unblock", resident_id)

        await self._audited.do(actor, "money", work)

    async def new_pin(self, actor: Actor, resident_id: int) -> str:
        actor.require("money")
        pin = random_pin()
        pin_hash = await asyncio.to_thread(hash_secret, pin)

        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            _known(connection, resident_id)
            residents.set_pin(connection, resident_id, pin_hash)
            return None, Note("resident_pin", resident_id)

        await self._audited.do(actor, "money", work)
        return pin

    async def erase(self, actor: Actor, resident_id: int) -> None:
        def work(connection: sqlite3.Connection) -> tuple[None, Note]:
            row = _known(connection, resident_id)
            if sessions.unfinished_of_resident(connection, resident_id) is not None:
                raise Refused("charge_running")
            if balance_fen(connection, ledger.wallet(resident_id)) or row.held_fen:
                raise Refused("money_left")
            connection.execute("PRAGMA secure_delete = ON")
            residents.erase(connection, resident_id)
            return None, Note("resident_erase", resident_id)

        await self._audited.do(actor, "residents", work)


def _known(connection: sqlite3.Connection, resident_id: int) -> ListRow:
    row = residents.list_row(connection, resident_id)
    if row is None:
        raise Refused("unknown_resident")
    return row


def _view(row: ListRow, unmasked: bool) -> PropertyResidentView:
    return PropertyResidentView(
        resident_id=row.id,
        card=row.card if unmasked or row.guest else number_format.masked(row.card),
        name=row.name if unmasked else number_format.masked_name(row.name),
        masked=not unmasked,
        blocked=row.blocked,
        group=row.group,
        guest=row.guest,
        balance_fen=row.balance_fen,
        held_fen=row.held_fen,
    )


def _wallet_lines(connection: sqlite3.Connection, resident_id: int, wall: WallTime) -> list[PropertyWalletLine]:
    """Return every movement of the wallet, newest first, with the balance after it."""
    found = ledger_books.newest(connection, ledger.wallet(resident_id))
    undone = {entry.key.removeprefix(UNDO) for entry, _ in found if entry.kind == ledger.UNDONE}
    lines = []
    for entry, balance in found:
        session_id = entry.key.partition(":")[2] if entry.kind in ("hold", "settle") else ""
        charge = sessions.by_id(connection, session_id) if session_id else None
        lines.append(
            PropertyWalletLine(
                number=entry.number,
                at=WallTime(entry.unix_ms, entry.trusted),
                kind=entry.kind,
                amount_fen=entry.amount_fen,
                balance_fen=balance,
                note=entry.note,
                usage_number=None if charge is None else charge.usage_number,
                can_be_undone=entry.key.startswith(TOP_UP)
                and str(entry.number) not in undone
                and 0 <= wall.unix_ms - entry.unix_ms < UNDO_MS,
                undone=str(entry.number) in undone,
            )
        )
    return lines
