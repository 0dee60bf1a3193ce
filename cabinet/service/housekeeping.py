"""Housekeeping: backups, month closings, the service status for the console, and the check for free disk room."""

import asyncio
import logging
import sqlite3
from pathlib import Path

from nacl.signing import SigningKey

from cabinet.clock import WallTime
from cabinet.errors import CabinetError, StoreError
from cabinet.link import service_status
from cabinet.link.service_status import ServiceStatus
from cabinet.records import SignedClosing
from cabinet.service.accounts import admin
from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.charges.context import ServiceContext
from cabinet.service.ports import Unclosed
from cabinet.store import fleet_orders, month_closing, outbox, residents
from cabinet.system.computer_state import all_problems
from cabinet.uplink.messages import MonthClosed

log = logging.getLogger(__name__)

HOUR_S, HOURS_A_DAY = 3600, 24
_WHY = {
    "clock": "the clock is not synchronised, so which month it is may be wrong",
    "storage": "the database takes no writes or is damaged",
    "key": "the key that signs it cannot be read",
}


class Housekeeping:
    """Housekeeping of the service."""

    def __init__(self, context: ServiceContext, accounts: Authenticator) -> None:
        self._context = context
        self._accounts = accounts
        self.restart_wanted = asyncio.Event()  # set if only a new process can continue

    async def run(self) -> None:
        """Make a backup at the start and every day; every hour, close the past month if it is open."""
        await self._warn_of_similar_cards()
        while True:
            try:
                await self.key()
                await self._context.storage.back_up(self._context.clock.wall())
            except StoreError as error:
                log.error("no backup today: %s", error)
            await self._delete_old_facts()
            for _ in range(HOURS_A_DAY):  # the clock is set some time after the start: a day would be too long to wait
                try:
                    await self.close_month()
                except StoreError as error:
                    log.error("the month is not closed: %s", error)
                await asyncio.sleep(HOUR_S)

    async def _delete_old_facts(self) -> None:
        """Delete what the fleet acknowledged a month ago, if the clock is right."""
        wall = self._context.clock.wall()
        if self._context.fleet_facts.enabled and wall.trusted:
            try:
                await self._context.storage.write(lambda c: outbox.delete_old(c, wall))
                await self._context.storage.write(lambda c: fleet_orders.delete_old_refused(c, wall))
            except StoreError as error:
                log.error("old facts are not deleted: %s", error)

    async def _warn_of_similar_cards(self) -> None:
        """Warn of old cards that differ in capital letters only: each is found by its exact spelling only.

        The property should change one.
        """
        try:
            for cards in await self._context.storage.read(residents.similar_cards):
                log.warning("cards %s differ only in capital letters: give one of them another", ", ".join(cards))
        except StoreError as error:
            log.error("the cards could not be compared: %s", error)

    async def key(self) -> SigningKey:
        """Return the key that signs closings; make it at the first start. Raises StoreError."""
        return await asyncio.to_thread(month_closing.load_key, admin.key_path(self._context.config), make=True)

    async def close_month(self) -> None:
        """Sign the usage log up to the month's end, once, if the clock is right; else set the reason in `unclosed`.

        Raises StoreError.
        """
        context, wall = self._context, self._context.clock.wall()
        month, month_ms = context.site_time.month_before(wall), context.site_time.month_start_ms(wall)
        if context.storage.damaged:
            self._note(Unclosed(month, "storage"))
            return
        closed = month in await context.storage.read(month_closing.months_closed)
        if closed or not await context.storage.read(lambda c: month_closing.to_be_closed(c, month_ms)):
            self._note(None)
            return
        if not wall.trusted:
            self._note(Unclosed(month, "clock"))
            return
        why = "key"
        try:
            key = await self.key()
            why = "storage"
            site_id = context.config.site.site_id
            signed = await context.storage.write(lambda c: self._close(c, key, site_id, month, wall, month_ms))
        except StoreError:
            self._note(Unclosed(month, why))
            raise
        self._note(None)
        if signed is not None:
            log.info("usage log closed for %s up to record %d", month, signed.closing.last_number)

    def _close(
        self, connection: sqlite3.Connection, key: SigningKey, site_id: str, month: str, wall: WallTime, before_ms: int
    ) -> SignedClosing | None:
        signed = month_closing.close(connection, key, site_id, month, wall, before_ms)
        if signed is not None and self._context.fleet_facts.enabled:
            outbox.add(connection, MonthClosed(signed), wall)
        return signed

    def _note(self, unclosed: Unclosed | None) -> None:
        """Set `unclosed` for the pages and the console; log it once, not every hour."""
        if unclosed is not None and unclosed != self._context.unclosed:
            log.warning("usage log: %s is not closed: %s", unclosed.month, _WHY[unclosed.why])
        self._context.unclosed = unclosed

    def publish_status(self) -> None:
        """Write the service status for the console: alive, refusal of new charges, suspected attack, unclosed month."""
        self._note_computer()
        context = self._context
        every_s = context.config.service.checkpoint_s
        attack = self._accounts.attack()
        address = None if attack is None else attack.address
        month, why = ("", "") if context.unclosed is None else (context.unclosed.month, context.unclosed.why)
        now_ns = context.clock.monotonic_ns()
        service_status.write(
            self._status_path, ServiceStatus(now_ns, every_s, context.storage.refusal, address, month, why)
        )

    def _note_computer(self) -> None:
        """Read the computer's problems again; log a change, not every reading."""
        context, snapshot = self._context, self._context.guard_state.snapshot
        found = all_problems(context.config, None if snapshot is None else snapshot.health)
        for problem in found:
            if problem not in context.computer_problems:
                log.warning("the computer: %s", problem)
        if context.computer_problems and not found:
            log.info("the computer: no problem any more")
        context.computer_problems = found

    def remove_status(self) -> None:
        """Remove the status: the console need not wait until it is outdated."""
        service_status.remove(self._status_path)

    @property
    def _status_path(self) -> Path:
        return service_status.path_in(Path(self._context.config.paths.run))

    async def request_restart_if_room(self) -> None:
        """Request a new process if the database, not opened for lack of room, can be opened now.

        The guard sends the events of the meantime again, but only to a service that is new to it.
        """
        if self._context.storage.damaged or self._context.storage.short:
            return
        try:
            await asyncio.to_thread(lambda: admin.open_database(self._context.config).close())
        except CabinetError as error:
            log.warning("still no room: %s", error)
        else:
            log.warning("there is room again: the service begins anew")
            self.restart_wanted.set()
