"""The service: sessions, store and link. The web uses its ports: `charges`, `overview`, `accounts` and `property_`.

One event loop. Guard events and snapshots are taken into memory on arrival (`guard_events`), written to disk at once
and with every checkpoint (`checkpoint`), and reconciled with the sessions if the two disagree (`reconcile`).
"""

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from cabinet.clock import Clock, SystemClock, WallTime, boot_id
from cabinet.config.keys import Config
from cabinet.errors import StoreError
from cabinet.link.guard_link import GuardLink
from cabinet.link.guard_protocol import Role
from cabinet.model import EndReason, Event, Snapshot
from cabinet.service.accounts import admin
from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.charges import pricing
from cabinet.service.charges.charges import Charges
from cabinet.service.charges.checkpoint import CheckpointWriter
from cabinet.service.charges.context import GuardPort, ServiceContext
from cabinet.service.charges.fleet_orders import FleetOrders
from cabinet.service.charges.guard_commands import GuardCommands
from cabinet.service.charges.guard_events import GuardEventHandler
from cabinet.service.charges.live import CABINET, ChangeNotifier
from cabinet.service.charges.queue_control import QueueControl
from cabinet.service.charges.reconcile import Reconciler
from cabinet.service.charges.session import restored
from cabinet.service.charges.start_stop import ChargeControl
from cabinet.service.charges.tariff_catalogue import TariffCatalogue
from cabinet.service.console_socket import ConsoleServer
from cabinet.service.fleet_desired import FleetDesired
from cabinet.service.housekeeping import Housekeeping
from cabinet.service.property import PropertyFunctions
from cabinet.service.storage import Storage
from cabinet.service.tasks import Background
from cabinet.service.uplink_socket import UplinkServer
from cabinet.store import fleet_orders, outbox
from cabinet.store import sessions as table
from cabinet.store import waiting as waiting_table
from cabinet.system import run_folder

log = logging.getLogger(__name__)

MakeGuard = Callable[
    [Callable[[Snapshot], None], Callable[[Event], Awaitable[None]], Callable[[bool], None]], GuardPort
]


def guard_link(config: Config) -> MakeGuard:
    """Return a factory of the real guard link, over `guard.sock`."""
    return functools.partial(GuardLink, run_folder.guard_socket(Path(config.paths.run)), Role.SERVICE)


class Service:
    """Implements `property_ports.ServicePorts`. `open`, then `run` until cancelled, then `close`."""

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
        self.context = context = ServiceContext(
            config=config,
            clock=clock,
            boot_id=boot_id() if boot is None else boot,
            storage=storage,
            guard=make_guard(self._on_snapshot, lambda event: self._event_handler.on_event(event), self._on_link),
            tariff_catalogue=TariffCatalogue(config, site_time),
            site_time=site_time,
            changes=ChangeNotifier(clock),
        )
        self._checkpoint_writer = writer = CheckpointWriter(context, self._background)
        self._event_handler = events = GuardEventHandler(context, writer)
        commands = GuardCommands(context)
        self._reconciler = Reconciler(context, writer, events, commands)
        self._charge_control = ChargeControl(context, writer, events, commands, self._background)
        self._queue_control = QueueControl(context, self._charge_control)
        self._queue_wanted = asyncio.Event()
        self._blind = False  # database unreadable: the guard's charges are unknown here, and end at its own limits
        self.accounts = Authenticator(storage, clock, config.service.staff_idle_s)
        self.housekeeping = Housekeeping(context, self.accounts)
        self.fleet_orders = FleetOrders(context, self._charge_control, self._background)
        self.fleet_desired = FleetDesired(context)
        self.uplink = UplinkServer(context, self.fleet_orders, self.fleet_desired, self.housekeeping.key)
        self.charges = self.overview = Charges(context, self._charge_control, self._queue_control)
        self.property_ = PropertyFunctions(context, self.accounts, self._background)

    # --- lifecycle -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Migrate the database and restore its sessions. Raises StoreError; CabinetError without a state folder."""
        context = self.context
        admin.make_state_folder(context.config)
        context.tariff_catalogue.refresh()
        await context.storage.open()
        if context.storage.damaged or not context.storage.is_open:
            self._blind = True
            self.housekeeping.publish_status()
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
            context.sessions.add(restored(row, context.site_time, points))
            log.info("outlet %d: %s was %s", row.outlet, row.order_number, row.state.value)
        context.power_queue.replace(queue)
        context.guard_state.handled.update(positions)
        context.guard_state.written.update(positions)
        for outlet, energy_mwh in energies.items():
            context.daily_energy.add(today, outlet, energy_mwh)
        await self._begin_uplink()
        self.housekeeping.publish_status()

    async def _begin_uplink(self) -> None:
        """Begin the outbox if a fleet is configured; end it if none is any more. A full disk leaves it for later."""
        context, wall = self.context, self.context.clock.wall()
        position = await context.storage.read(outbox.position)
        try:
            if not context.config.uplink.enabled:
                if position is not None:
                    await context.storage.write(outbox.forget)
                return
            if position is None:
                await context.storage.write(lambda c: outbox.begin(c, wall))
        except StoreError as error:
            log.error("the outbox is not begun: %s", error)
            return
        position, alarms, desired = await context.storage.read(
            lambda c: (outbox.position(c), outbox.reported_alarms(c), fleet_orders.desired(c))
        )
        if position is not None:
            context.fleet_facts.begin(position.epoch, alarms)
            self.fleet_desired.load(desired)
            log.info("uplink: epoch %s, fact %d", position.epoch, position.facts)

    async def run(self) -> None:
        """Serve the guard link, reconcile and checkpoint until cancelled; any exception raised is a bug."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.context.guard.run())
            group.create_task(self.housekeeping.run())
            group.create_task(self._reconcile_when_wanted())
            group.create_task(self._serve_queue_when_wanted())
            group.create_task(self._checkpoint_forever())
            group.create_task(ConsoleServer(self.context).serve())
            if self.context.fleet_facts.enabled:
                group.create_task(self.uplink.serve())

    async def close(self) -> None:
        """End all watches, write the last checkpoint, close the database. Sessions go on in the guard."""
        self.context.changes.close()
        await self._background.finished()
        await self.checkpoint(last=True)
        self.housekeeping.remove_status()
        self.accounts.close()
        await self.context.storage.close()

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
            await self.housekeeping.request_restart_if_room()
        if self.context.tariff_catalogue.refresh():
            self.context.changes.touch(CABINET)
        try:
            await self._checkpoint_writer.flush(meters=True, last=last)
        except StoreError as error:
            log.error("no checkpoint: %s", error)
        self.housekeeping.publish_status()
        await self._charge_control.renew_limits()

    # --- the guard's callbacks ---------------------------------------------------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        if self._event_handler.on_snapshot(snapshot):
            self._reconcile_wanted.set()  # which writes what came with it
        for session in self.context.sessions:
            if self.context.is_held(session) and session.used_up():
                session.stop_reason = EndReason.LIMIT_MONEY
        if self._reconciler.wanted(snapshot):
            self._reconcile_wanted.set()
        if self.context.power_queue.waiting or self.context.power_queue.over:
            self._queue_wanted.set()

    def _on_link(self, connected: bool) -> None:
        log.info("guard %s", "connected" if connected else "gone")
        for outlet in self.context.config.outlet:
            self._event_handler.notify_viewers(outlet.number)
        self.context.changes.touch(CABINET)
