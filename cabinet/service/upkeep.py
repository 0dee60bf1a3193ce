"""What the service does besides charges: backups, closings of months, a word to the console, and waiting for room."""

import asyncio
import logging
from pathlib import Path

from nacl.signing import SigningKey

from cabinet import pulse
from cabinet.errors import CabinetError, StoreError
from cabinet.pulse import Pulse
from cabinet.service import admin
from cabinet.service.context import Context
from cabinet.service.lockout import AttackWatch
from cabinet.store import closings

log = logging.getLogger(__name__)

HOUR_S, HOURS_A_DAY = 3600, 24


class Upkeep:
    """`to_begin_anew` is set where only another process can go on."""

    def __init__(self, context: Context, attacks: AttackWatch) -> None:
        self._context = context
        self._attacks = attacks
        self.to_begin_anew = asyncio.Event()

    async def run(self) -> None:
        """At the start and every day a backup; every hour a look whether a month is over, to close it."""
        while True:
            try:
                await self.key()
                await self._context.storage.back_up(self._context.clock.wall())
            except StoreError as error:
                log.error("no backup today: %s", error)
            for _ in range(HOURS_A_DAY):  # a clock is set right some time after the start, and not a day later
                try:
                    await self.close_month()
                except StoreError as error:
                    log.error("the month is not closed: %s", error)
                await asyncio.sleep(HOUR_S)

    async def key(self) -> SigningKey:
        """That closings are signed with, made at the first start. Raises StoreError."""
        return await asyncio.to_thread(closings.load_key, admin.key_path(self._context.config), make=True)

    async def close_month(self) -> None:
        """Sign the usage log up to the month's end, once and with a clock that is right. Raises StoreError."""
        context, wall = self._context, self._context.clock.wall()
        if not wall.trusted or context.storage.damaged:
            return
        month, month_ms = context.site_time.month_before(wall), context.site_time.month_start_ms(wall)
        if month in await context.storage.read(closings.months_closed):
            return
        key = await self.key()
        site_id = context.config.site.site_id
        signed = await context.storage.write(lambda c: closings.close(c, key, site_id, month, wall, month_ms))
        if signed is not None:
            log.info("usage log closed for %s up to record %d", month, signed.closing.last_number)

    def tell(self) -> None:
        """The console, that the service is there, what it has against new charges, and who guesses at PINs."""
        context = self._context
        every_s = context.config.service.checkpoint_s
        attack = self._attacks.view()
        address = None if attack is None else attack.address
        pulse.write(self._pulse, Pulse(context.clock.monotonic_ns(), every_s, context.storage.hindrance, address))

    def end(self) -> None:
        """The console need not wait until the last word is old."""
        pulse.remove(self._pulse)

    @property
    def _pulse(self) -> Path:
        return pulse.path_in(Path(self._context.config.paths.run))

    async def look_for_room(self) -> None:
        """A file that could not be opened for want of room can be now? Then whoever runs this starts it anew.

        What the guard has told meanwhile it will tell again, and only to a service that it does not know yet.
        """
        if self._context.storage.damaged or self._context.storage.short:
            return
        try:
            await asyncio.to_thread(lambda: admin.open_database(self._context.config).close())
        except CabinetError as error:
            log.warning("still no room: %s", error)
        else:
            log.warning("there is room again: the service begins anew")
            self.to_begin_anew.set()
