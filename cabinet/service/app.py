"""The service: sessions, store and link, behind the two ports that the web uses.

One event loop. Guard events and snapshots are taken into memory on arrival (`guard_events`), written to disk at once
and with every checkpoint (`checkpoint`), and reconciled with the sessions if the two disagree (`reconcile`).
"""

import asyncio
import functools
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from cabinet.billing import ledger
from cabinet.clock import Clock, SystemClock, WallTime, boot_id
from cabinet.config.keys import Config
from cabinet.errors import Refused, StoreError, os_error_at
from cabinet.link.client import GuardLink
from cabinet.link.protocol import Role
from cabinet.model import EndReason, Event, MeterCount, Snapshot
from cabinet.records import CurvePoint, SignedClosing, UsageFilter, UsageHead, UsageRecord
from cabinet.service.accounts import admin
from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.charges import history, pricing, views
from cabinet.service.charges.checkpoint import CheckpointWriter
from cabinet.service.charges.context import GuardPort, ServiceContext
from cabinet.service.charges.guard_events import GuardEventHandler
from cabinet.service.charges.live import CABINET, ChangeNotifier, Curve
from cabinet.service.charges.queue_service import QueueControl
from cabinet.service.charges.reconcile import Reconciler
from cabinet.service.charges.session import Session, restored
from cabinet.service.charges.start_stop import ChargeControl
from cabinet.service.charges.tariff_catalogue import TariffCatalogue
from cabinet.service.console_socket import ConsoleServer
from cabinet.service.housekeeping import Housekeeping
from cabinet.service.ports import (
    AttackView,
    CabinetView,
    ChargesPage,
    DayFigures,
    OutletView,
    PriceView,
    ResidentView,
    SessionView,
    StartChoice,
    StatementPage,
    WaitingView,
)
from cabinet.service.property import PropertyPages
from cabinet.service.property_views import SecondStep
from cabinet.service.storage import Storage
from cabinet.service.tasks import Background
from cabinet.store import month_closing, people, proof, usage
from cabinet.store import sessions as table
from cabinet.store import waiting as waiting_table
from cabinet.store.accounts import balance_fen
from cabinet.store.sessions import SessionRow
from cabinet.system import run_folder

log = logging.getLogger(__name__)

MAX_RECORDS = 1000  # in one page of the usage log

MakeGuard = Callable[
    [Callable[[Snapshot], None], Callable[[Event], Awaitable[None]], Callable[[bool], None]], GuardPort
]


def guard_link(config: Config) -> MakeGuard:
    """Return a factory of the real guard link, over `guard.sock`."""
    return functools.partial(GuardLink, run_folder.guard_socket(Path(config.paths.run)), Role.SERVICE)


class Service:
    """Implements `ports.ResidentPort` and `ports.PropertyPort`. `open`, then `run` until cancelled, then `close`."""

    def __init__(
        self,
        config: Config,
        make_guard: MakeGuard | None = None,
        clock: Clock | None = None,
        boot: str | None = None,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        clock = SystemClock() if clock is None else clock
        make_guard = guard_link(config) if make_guard is None else make_guard
        self._background = Background()
        self._reconcile_wanted = asyncio.Event()
        site_time = pricing.SiteTime(config.site.timezone)
        storage = Storage(admin.database_path(config), connection_class)
        self.context = ServiceContext(
            config=config,
            clock=clock,
            boot_id=boot_id() if boot is None else boot,
            storage=storage,
            guard=make_guard(self._on_snapshot, self._on_event, self._on_link),
            tariff_catalogue=TariffCatalogue(config, site_time),
            site_time=site_time,
            changes=ChangeNotifier(clock),
        )
        self._checkpoint_writer = CheckpointWriter(self.context, self._background)
        self._event_handler = GuardEventHandler(self.context, self._checkpoint_writer)
        self._reconciler = Reconciler(self.context, self._checkpoint_writer, self._event_handler)
        self._charge_control = ChargeControl(
            self.context, self._checkpoint_writer, self._event_handler, self._reconciler, self._background
        )
        self._queue_control = QueueControl(self.context, self._charge_control)
        self._queue_wanted = asyncio.Event()
        self._blind = False  # database unreadable: the guard's charges are unknown here, and end at its own limits
        self._authenticator = Authenticator(storage, clock, config.service.staff_idle_s)
        self._housekeeping = Housekeeping(self.context, self._authenticator.attacks)
        self.property_pages = PropertyPages(self.context, self._authenticator, self._background)

    # --- lifecycle -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Migrate the database and restore its sessions. Raises StoreError; CabinetError without a state folder."""
        context = self.context
        path = admin.database_path(context.config)
        with os_error_at(path.parent, ": check paths.state"):
            path.parent.mkdir(parents=True, exist_ok=True)
        context.tariff_catalogue.refresh()
        await context.storage.open()
        if context.storage.damaged or not context.storage.is_open:
            self._blind = True
            self._housekeeping.publish_status()
            return
        today = context.site_time.day(context.clock.wall())
        rows, positions, energies, queue, newest = await context.storage.read(
            lambda c: (
                table.unfinished_with_curves(c),
                table.positions(c),
                table.day_energies(c, today),
                waiting_table.all_entries(c),
                table.newest_trusted_ms(c),
            )
        )
        if newest is not None:
            context.tariff_catalogue.newest_day = context.site_time.day_number(WallTime(newest, True))
        for row, points in rows:
            count = MeterCount(row.energy_mwh, row.powered_ms, row.charging_ms)
            context.sessions.add(restored(row, context.site_time, Curve(points, row.curve_step_s, count)))
            log.info("outlet %d: %s was %s", row.outlet, row.order_number, row.state.value)
        context.power_queue.replace(queue)
        context.guard_state.handled.update(positions)
        context.guard_state.written.update(positions)
        for outlet, energy_mwh in energies.items():
            context.daily_energy.add(today, outlet, energy_mwh)
        self._housekeeping.publish_status()

    async def run(self) -> None:
        """Serve the guard link, reconcile and checkpoint until cancelled; any exception raised is a bug."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.context.guard.run())
            group.create_task(self._housekeeping.run())
            group.create_task(self._reconcile_when_wanted())
            group.create_task(self._serve_queue_when_wanted())
            group.create_task(self._checkpoint_forever())
            group.create_task(ConsoleServer(self.context).serve())

    async def close(self) -> None:
        """End all watches, write the last checkpoint, close the database. Sessions go on in the guard."""
        self.context.changes.close()
        await self._background.finished()
        await self.checkpoint(last=True)
        self._housekeeping.remove_status()
        self._authenticator.close()
        await self.context.storage.close()

    def end_watches(self) -> None:
        """End all live pages, to let their connections close."""
        self.context.changes.close()

    async def _reconcile_when_wanted(self) -> None:
        while True:
            await self._reconcile_wanted.wait()
            self._reconcile_wanted.clear()
            await self.reconcile()

    async def _serve_queue_when_wanted(self) -> None:
        while True:
            await self._queue_wanted.wait()
            self._queue_wanted.clear()
            await self.serve_queue()

    async def _checkpoint_forever(self) -> None:
        while True:
            await asyncio.sleep(self.context.config.service.checkpoint_s)
            await self.checkpoint()

    async def close_month(self) -> None:
        """Close the past month: see `Housekeeping.close_month`."""
        await self._housekeeping.close_month()

    @property
    def restart_wanted(self) -> asyncio.Event:
        """Set if only a new process can continue."""
        return self._housekeeping.restart_wanted

    async def reconcile(self) -> None:
        """Reconcile sessions and outlets if the last snapshot shows that they disagree."""
        if not self._blind:
            await self._reconciler.reconcile()

    async def serve_queue(self) -> None:
        """Start the first entry of the power queue, if there is power for it now."""
        if not self._blind:
            await self._queue_control.serve()

    async def checkpoint(self, last: bool = False) -> None:
        """Write all meters in one transaction, then send the guard new money limits. Never raises for a full disk."""
        await self.context.storage.measure()
        if self._blind and not self.context.storage.is_open:
            await self._housekeeping.request_restart_if_room()
        if self.context.tariff_catalogue.refresh():
            self.context.changes.touch(CABINET)
        try:
            await self._checkpoint_writer.flush(meters=True, last=last)
        except StoreError as error:
            log.error("no checkpoint: %s", error)
        self._housekeeping.publish_status()
        for session in self.context.sessions:
            if self.context.guard_reachable() and not session.busy.locked() and self._held(session):
                await self._renew(session)

    def _held(self, session: Session) -> bool:
        state = self.context.guard_state.outlet(session.outlet)
        holds = state is not None and state.session_id == session.session_id
        return holds and not session.finished and session.stop_reason is None

    async def _renew(self, session: Session) -> None:
        try:
            async with session.busy:
                await self._reconciler.energise(session)
        except Refused as refusal:
            # session_over: its end event will arrive; otherwise the old limits stay in force, and they are lower
            log.info("outlet %d: limits not renewed: %s", session.outlet, refusal)

    # --- the guard's callbacks ---------------------------------------------------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._event_handler.on_snapshot(snapshot)
        for session in self.context.sessions:
            if self._held(session) and session.used_up():
                session.stop_reason = EndReason.LIMIT_MONEY
        if self._reconciler.wanted(snapshot):
            self._reconcile_wanted.set()
        if self.context.power_queue.waiting or self.context.power_queue.over:
            self._queue_wanted.set()

    async def _on_event(self, event: Event) -> None:
        await self._event_handler.on_event(event)

    def _on_link(self, connected: bool) -> None:
        log.info("guard %s", "connected" if connected else "gone")
        for outlet in self.context.config.outlet:
            self._event_handler.notify_viewers(outlet.number)
        self.context.changes.touch(CABINET)

    # --- public views ------------------------------------------------------------------------------------------------

    def outlet(self, code: str) -> OutletView:
        outlet = self.context.config.outlet_by_code(code)
        if outlet is None:
            raise Refused("unknown_code")
        return views.outlet_view(self.context, outlet)

    def outlets(self) -> list[OutletView]:
        return [views.outlet_view(self.context, outlet) for outlet in self.context.config.outlet]

    def price(self, code: str, group: str, power_w: int | None = None) -> PriceView:
        context, wall = self.context, self.context.clock.wall()
        outlet = context.config.outlet_by_code(code)
        if outlet is None:
            raise Refused("unknown_code")
        tariff = context.tariff_catalogue.in_force(outlet.number, group, wall)
        return pricing.price_view(tariff, context.site_time.minute(wall), power_w or pricing.EXAMPLE_POWER_W)

    def guard_reachable(self) -> bool:
        return self.context.guard_reachable()

    def cabinet(self) -> CabinetView:
        return views.cabinet_view(self.context)

    def accepting(self) -> str | None:
        return self.context.accepting()

    def changes(self, outlet: int) -> AsyncIterator[None]:
        return self.context.changes.watch(outlet)

    def snapshot(self) -> Snapshot:
        snapshot = self.context.guard_state.snapshot
        if snapshot is None or not self.context.guard_reachable():
            raise Refused("guard_unreachable")
        return snapshot

    def cabinet_changes(self) -> AsyncIterator[None]:
        return self.context.changes.watch(CABINET)

    # --- residents ---------------------------------------------------------------------------------------------------

    async def sign_in(self, card: str, pin: str, address: str) -> str:
        return await self._authenticator.resident(card, pin, address)

    async def sign_in_guest(self, code: str, address: str) -> str:
        return await self._authenticator.guest(code, address)

    async def sign_out(self, token: str, everywhere: bool = False) -> None:
        await self._authenticator.sign_out(token, everywhere)

    async def resident(self, token: str) -> ResidentView:
        resident_id = await self._authenticator.who("resident", token)

        def look(connection: sqlite3.Connection) -> ResidentView:
            row = people.resident_by_id(connection, resident_id)
            if row is None:
                raise Refused("signed_out")
            balance = balance_fen(connection, ledger.wallet(resident_id))
            held = people.held_fen(connection, resident_id)
            return ResidentView(resident_id, row.card, balance, held, row.group, row.guest)

        return await self.context.storage.read(look)

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        session_id = await self._charge_control.start(resident_id, code, choice, request_key)
        try:
            await self._queue_control.leave(resident_id)
        except StoreError as error:
            log.error("an entry of the line could not be taken out: %s", error)
        return await self.session(resident_id, session_id)

    async def wait(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        await self._queue_control.join(resident_id, code, choice)
        view = self._queue_control.view(resident_id)
        assert view is not None  # just joined
        return view

    async def leave(self, resident_id: int) -> None:
        await self._queue_control.leave(resident_id)

    def waiting(self, resident_id: int) -> WaitingView | None:
        return self._queue_control.view(resident_id)

    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        await self._charge_control.stop(resident_id, session_id)
        return await self.session(resident_id, session_id)

    async def session(self, resident_id: int, session_id: str) -> SessionView:
        session = self.context.sessions.get(session_id)
        if session is not None:
            if session.resident_id != resident_id:
                raise Refused("not_yours")
            return views.running_view(self.context, session)
        row, record_hash = await self.context.storage.read(lambda c: history.receipt(c, session_id))
        if row is None:
            raise Refused("unknown_session")
        if row.resident_id != resident_id:
            raise Refused("not_yours")
        return self._view(row, record_hash)

    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        rows = await self.context.storage.read(lambda c: table.of_resident(c, resident_id, limit))
        return [self._view(row) for row in rows]

    async def charges(self, resident_id: int, before: int | None, limit: int) -> ChargesPage:
        rows, older = await self.context.storage.read(lambda c: history.charges(c, resident_id, before, limit))
        return ChargesPage([self._view(row) for row in rows], older)

    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage:
        return await self.context.storage.read(lambda c: history.statement(c, resident_id, before, limit))

    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]:
        session = self.context.sessions.get(session_id)
        if session is not None and session.resident_id == resident_id:
            points = session.curve.points
        else:
            await self.session(resident_id, session_id)  # raises unknown_session, not_yours
            points = await self.context.storage.read(lambda c: table.curve(c, session_id))
        return [CurvePoint(point.at_s, point.power_w) for point in points]

    def _view(self, row: SessionRow, record_hash: str | None = None) -> SessionView:
        """Return the view of a session: from memory if it runs, as memory is newer than the disk."""
        session = self.context.sessions.get(row.session_id)
        return views.stored_view(row, record_hash) if session is None else views.running_view(self.context, session)

    # --- property ----------------------------------------------------------------------------------------------------

    async def sign_in_staff(self, name: str, password: str, address: str) -> str | SecondStep:
        signed_in = await self._authenticator.staff(name, password, address)
        if isinstance(signed_in, str):
            await self.property_pages.staff.note_sign_in(signed_in, address)
        return signed_in

    async def sign_in_staff_code(self, key: str, code: str, address: str) -> str:
        token = await self._authenticator.staff_code(key, code, address)
        await self.property_pages.staff.note_sign_in(token, address)
        return token

    async def sign_out_staff(self, token: str, everywhere: bool = False) -> None:
        await self._authenticator.sign_out(token, everywhere)

    async def token_allows(self, bearer: str, scope: str) -> None:
        await self._authenticator.check_scope(bearer, scope)

    async def today(self) -> DayFigures:
        context, wall = self.context, self.context.clock.wall()
        start_ms, end_ms = context.site_time.day_bounds_ms(wall)
        sessions, (electricity_fen, service_fen) = await context.storage.read(
            lambda c: (table.count_started_in(c, start_ms, end_ms), table.earned_in(c, start_ms, end_ms))
        )
        day = context.site_time.day(wall)
        snapshot = context.guard_state.snapshot
        return DayFigures(
            sessions=sessions,
            energy_mwh=sum(context.daily_energy.energy_mwh(day, outlet.number) for outlet in context.config.outlet),
            electricity_fen=electricity_fen,
            service_fen=service_fen,
            feed_mw=snapshot.feed_mw if snapshot is not None and context.guard_reachable() else None,
        )

    async def todays_sessions(self) -> list[SessionView]:
        start_ms, end_ms = self.context.site_time.day_bounds_ms(self.context.clock.wall())
        rows = await self.context.storage.read(lambda c: table.started_in(c, start_ms, end_ms))
        return [self._view(row) for row in rows]

    def attack(self) -> AttackView | None:
        return self._authenticator.attacks.view()

    def tariff_mistakes(self) -> list[str]:
        return self.context.tariff_catalogue.mistakes

    async def usage(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        return await self.context.storage.read(lambda c: list(usage.found(c, wanted, max(0, min(limit, MAX_RECORDS)))))

    async def usage_closings(self) -> list[SignedClosing]:
        return await self.context.storage.read(lambda c: list(month_closing.all_signed(c)))

    async def usage_heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        site = self.context.config.site
        return await self.context.storage.read(lambda c: proof.heads(c, site, from_unix_ms, to_unix_ms))

    async def usage_key(self) -> str:
        return month_closing.public(await self._housekeeping.key())
