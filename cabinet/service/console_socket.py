"""The service's end of `service.sock`: answers the console's queries and stores its audit entries.

Only the console's user is answered, identified by the kernel's peer credentials. The console itself identifies the
member of staff, in its entries.
"""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import CabinetError, LinkError, Refused, StoreError
from cabinet.link import service_protocol
from cabinet.link.guard_protocol import Role
from cabinet.link.peer_roles import PeerRoles
from cabinet.link.service_protocol import (
    Answer,
    AskAudit,
    AskEnergy,
    AskSessions,
    AskUplink,
    AskUsage,
    AuditAnswer,
    AuditLine,
    DayEnergy,
    Energy,
    EnrolUplink,
    Handed,
    Query,
    QueryRefusal,
    Sessions,
    Stored,
    UplinkView,
    Usage,
    UsageLine,
)
from cabinet.records import AuditEntry, AuditFilter, UsageFilter
from cabinet.service.charges import views
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.store import audit, fleet_orders, outbox, usage
from cabinet.store import sessions as table
from cabinet.system.socket_peer import peer_uid

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
MAX_CLIENTS = 16  # at once, and as many of other users; a console sends one query at a time
ENERGY_DAYS = 7
DAY_MS = 86_400_000


class ConsoleServer:
    """Console socket server: `serve` runs until cancelled."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._peer_roles = PeerRoles.of_this_machine()
        self._open = {True: 0, False: 0}  # connections of the console's user, and of others

    async def serve(self) -> None:
        """Serve the socket. If it cannot be opened, the console has no view of the sessions, but charging goes on."""
        path = service_protocol.path_in(Path(self._context.config.paths.run))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # left by a service that was killed
            server = await asyncio.start_unix_server(self._on_client, path, limit=service_protocol.MAX_LINE)
            os.chmod(path, 0o660)
        except OSError as error:
            log.error("%s: %s: the console will not see sessions", path, error.strerror or error)
            return
        try:
            await server.serve_forever()
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = Role.CONSOLE in self._peer_roles.roles(peer_uid(writer.get_extra_info("socket")))
        try:
            self._open[known] += 1
            if self._open[known] <= MAX_CLIENTS:
                await self._serve_one(reader, writer, known)
        finally:
            self._open[known] -= 1
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, known: bool) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                line = await reader.readline()  # also from other users: if it stayed unread, the answer would be lost
                if line:
                    writer.write(
                        service_protocol.encode(await self._answer(line) if known else QueryRefusal("not_allowed"))
                    )
                    await writer.drain()

    async def _answer(self, line: bytes) -> Answer:
        try:
            return await self._found(service_protocol.decode_query(line))
        except LinkError as error:
            log.warning("service.sock: %s", error)
            return QueryRefusal("bad_request")
        except Refused as refused:
            return QueryRefusal(refused.code)
        except StoreError as error:
            log.warning("service.sock: %s", error)
            return QueryRefusal(self._context.storage.refusal or "storage_full")
        except CabinetError as error:
            log.error("service.sock: %s", error)
            return QueryRefusal("bad_request")

    async def _found(self, asked: Query) -> Answer:
        storage = self._context.storage
        if isinstance(asked, AskSessions):
            return await self._sessions(asked.most)
        if isinstance(asked, AskUsage):
            newest = await storage.read(lambda c: usage.newest(c, UsageFilter(), None, asked.most))
            return Usage(msgspec.convert(newest[::-1], list[UsageLine], from_attributes=True))
        if isinstance(asked, AskEnergy):
            return await self._energy()
        if isinstance(asked, AskAudit):
            entries = await storage.read(lambda c: audit.found(c, AuditFilter(), asked.most))
            return AuditAnswer([_audit_line(entry) for entry in reversed(entries)])
        if isinstance(asked, AskUplink):
            return await self._uplink()
        if isinstance(asked, EnrolUplink):
            if not self._context.fleet_facts.enabled:
                raise Refused("uplink_off")
            self._context.enrolment_code = asked.code
            self._context.changes.touch(CABINET)
            return Handed()
        new = await storage.write(lambda c: audit.add_console(c, asked.entries))
        if new:
            log.info("audit log: %d of the console", new)
        return Stored()

    async def _sessions(self, most: int) -> Sessions:
        running = [views.running_view(self._context, session) for session in self._context.sessions]
        over = await self._context.storage.read(lambda c: table.newest_settled(c, most))
        return msgspec.convert(
            {"running": running, "over": [views.stored_view(row) for row in over]}, Sessions, from_attributes=True
        )

    async def _uplink(self) -> UplinkView:
        position, unacked, rows = await self._context.storage.read(
            lambda c: (outbox.position(c), outbox.oldest_unacknowledged_ms(c), fleet_orders.desired(c).values())
        )
        if position is None:
            raise Refused("uplink_off")
        unkept_ms = 0 if unacked is None else max(0, self._context.clock.wall().unix_ms - unacked)
        return UplinkView(
            position.epoch,
            position.facts,
            position.acked,
            unkept_ms // 1000,
            {row.kind: row.version for row in rows if row.version},
            {row.kind: row.rejected for row in rows if row.rejected is not None},
        )

    async def _energy(self) -> Energy:
        """Return the energy by day. Today's includes the energy since the last write, as on the pages."""
        context, wall = self._context, self._context.clock.wall()
        days = [context.site_time.day(WallTime(wall.unix_ms - n * DAY_MS, wall.trusted)) for n in range(ENERGY_DAYS)]
        stored = await context.storage.read(lambda c: {day: table.day_energies(c, day) for day in days[1:]})
        stored[days[0]] = {o.number: context.daily_energy.energy_mwh(days[0], o.number) for o in context.config.outlet}
        return Energy([DayEnergy(day, stored[day]) for day in days if any(stored[day].values())])


def _audit_line(entry: AuditEntry) -> AuditLine:
    subject = entry.subject if entry.resident_id is None else f"{entry.resident_id} {entry.subject}".strip()
    return AuditLine(
        entry.number, entry.at, entry.staff, entry.role, entry.address, entry.action, subject, entry.detail
    )
