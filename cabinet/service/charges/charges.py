"""Outlets and charges as the web sees them: the views of all outlets, and each resident's charges and wallet."""

import logging
import sqlite3
from collections.abc import AsyncIterator

from cabinet.billing import ledger
from cabinet.clock import WallTime
from cabinet.errors import Refused, StoreError
from cabinet.model import Snapshot
from cabinet.records import CurvePoint
from cabinet.service.charges import pricing, views
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.service.charges.queue_control import QueueControl
from cabinet.service.charges.start_stop import ChargeControl
from cabinet.service.ports import (
    WALLET_MOVES,
    CabinetView,
    ChargesPage,
    OutletView,
    PlaceView,
    PriceView,
    SessionView,
    StartChoice,
    StatementPage,
    WalletLine,
)
from cabinet.store import ledger_books, usage
from cabinet.store import sessions as table
from cabinet.store.sessions import SessionRow

log = logging.getLogger(__name__)

MAX_A_PAGE = 100


class Charges:
    """Implements `ports.ChargesPort` and `ports.OverviewPort`."""

    def __init__(self, context: ServiceContext, control: ChargeControl, queue: QueueControl) -> None:
        self._context = context
        self._control = control
        self.queue = queue
        self.guard_reachable = context.guard_reachable
        self.accepting = context.accepting

    def frame(self) -> PlaceView:
        config = self._context.config
        return PlaceView(
            config.site.name,
            config.site.name_en,
            config.site.complaint_phone,
            config.service.minimum_hold_fen,
            int(config.charge.no_load_s),
            self.cabinet(),
            self.guard_reachable(),
        )

    async def place(self, of: OutletView | SessionView) -> PlaceView:
        return self.frame()

    async def outlet(self, code: str) -> OutletView:
        return views.outlet_view(self._context, self._context.outlet_of(code))

    async def outlets(self) -> list[OutletView]:
        return [views.outlet_view(self._context, outlet) for outlet in self._context.config.outlet]

    def cabinet(self) -> CabinetView:
        return views.cabinet_view(self._context)

    def computer_problems(self) -> list[str]:
        return self._context.computer_problems

    def snapshot(self) -> Snapshot:
        snapshot = self._context.guard_state.snapshot
        if snapshot is None or not self._context.guard_reachable():
            raise Refused("guard_unreachable")
        return snapshot

    def changes(self, of: OutletView | SessionView) -> AsyncIterator[None]:
        return self._context.changes.watch(of.outlet if isinstance(of, SessionView) else of.number)

    def cabinet_changes(self) -> AsyncIterator[None]:
        return self._context.changes.watch(CABINET)

    async def price(self, code: str, group: str, power_w: int | None = None) -> PriceView:
        context, wall = self._context, self._context.clock.wall()
        tariff = context.tariff_catalogue.in_force(context.outlet_of(code).number, group, wall)
        return pricing.price_view(tariff, context.site_time.minute(wall), power_w or pricing.EXAMPLE_POWER_W)

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        session_id = await self._control.start(resident_id, code, choice, request_key)
        try:
            await self.queue.leave(resident_id)
        except StoreError as error:
            log.error("an entry of the line could not be taken out: %s", error)
        return await self.session(resident_id, session_id)

    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        await self._control.stop(resident_id, session_id)
        return await self.session(resident_id, session_id)

    async def session(self, resident_id: int, session_id: str) -> SessionView:
        session = self._context.sessions.get(session_id)
        if session is not None:
            if session.resident_id != resident_id:
                raise Refused("not_yours")
            return views.running_view(self._context, session)
        row, record_hash = await self._context.storage.read(
            lambda c: (table.by_id(c, session_id), usage.hash_of_session(c, session_id))
        )
        if row is None:
            raise Refused("unknown_session")
        if row.resident_id != resident_id:
            raise Refused("not_yours")
        return self._view(row, record_hash)

    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        rows = await self._context.storage.read(lambda c: table.of_resident(c, resident_id, limit))
        return [self._view(row) for row in rows]

    async def todays_sessions(self) -> list[SessionView]:
        start_ms, end_ms = self._context.site_time.day_bounds_ms(self._context.clock.wall())
        rows = await self._context.storage.read(lambda c: table.started_in(c, start_ms, end_ms))
        return [self._view(row) for row in rows]

    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]:
        session = self._context.sessions.get(session_id)
        if session is not None and session.resident_id == resident_id:
            return list(session.curve.points)
        await self.session(resident_id, session_id)  # raises unknown_session, not_yours
        return await self._context.storage.read(lambda c: table.curve(c, session_id))

    async def history(self, resident_id: int, before: int | None, limit: int) -> ChargesPage:
        most = max(1, min(limit, MAX_A_PAGE))
        rows = await self._context.storage.read(lambda c: table.of_resident(c, resident_id, most + 1, before))
        shown = rows[:most]
        return ChargesPage([self._view(row) for row in shown], shown[-1].number if len(rows) > most else None)

    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage:
        most = max(1, min(limit, MAX_A_PAGE))

        def look(connection: sqlite3.Connection) -> StatementPage:
            found = ledger_books.newest(connection, ledger.wallet(resident_id), before, most + 1)
            lines = [_wallet_line(entry, balance_fen) for entry, balance_fen in found[:most]]
            return StatementPage(lines, lines[-1].number if len(found) > most else None)

        return await self._context.storage.read(look)

    def _view(self, row: SessionRow, record_hash: str | None = None) -> SessionView:
        """Return the view of a session: from memory if it runs, as memory is newer than the disk."""
        session = self._context.sessions.get(row.session_id)
        return views.stored_view(row, record_hash) if session is None else views.running_view(self._context, session)


def _wallet_line(entry: ledger_books.LedgerEntry, balance_fen: int) -> WalletLine:
    kind = entry.kind if entry.kind in WALLET_MOVES else "other"
    session_id = entry.key.split(":")[1] if entry.kind in ("hold", "settle", "give_back") else None
    return WalletLine(
        entry.number, WallTime(entry.unix_ms, entry.trusted), kind, entry.amount_fen, balance_fen, session_id
    )
