"""The usage log for the property: filtered records, sums, one whole record, verification."""

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Callable

import msgspec

from cabinet.errors import CabinetError, Refused
from cabinet.records import Actor, SignedClosing, UsageFilter, UsageHead, UsageRecord
from cabinet.service.accounts import admin
from cabinet.service.charges.context import ServiceContext
from cabinet.service.ports import Unclosed
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import RecordView, UsageSums, Verification
from cabinet.service.tasks import Background
from cabinet.store import month_closing, proof, residents, usage
from cabinet.store import sessions as table
from cabinet.store.database import Database

log = logging.getLogger(__name__)

MAX_RECORDS = 1000


class UsageLog:
    """Implements `property_ports.UsageLogPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions, background: Background) -> None:
        self._context = context
        self._audited = audited
        self._background = background
        self._verification: Verification | None = None

    async def records(self, wanted: UsageFilter, limit: int) -> list[UsageRecord]:
        most = max(0, min(limit, MAX_RECORDS))
        return await self._context.storage.read(lambda c: list(usage.found(c, wanted, most)))

    async def closings(self) -> list[SignedClosing]:
        return await self._context.storage.read(lambda c: list(month_closing.all_signed(c)))

    async def heads(self, from_unix_ms: int | None, to_unix_ms: int | None) -> list[UsageHead]:
        site = self._context.config.site
        return await self._context.storage.read(lambda c: proof.heads(c, site, from_unix_ms, to_unix_ms))

    async def public_key(self) -> str:
        path = admin.key_path(self._context.config)
        return month_closing.public(await asyncio.to_thread(month_closing.load_key, path, make=True))

    async def newest(self, actor: Actor, wanted: UsageFilter, before: int | None, limit: int) -> list[UsageRecord]:
        actor.require("look")
        most = max(0, min(limit, MAX_RECORDS))
        return await self._context.storage.read(lambda c: usage.newest(c, wanted, before, most))

    async def sums(self, actor: Actor, wanted: UsageFilter) -> UsageSums:
        actor.require("look")
        return UsageSums(*await self._context.storage.read(lambda c: table.logged_sums(c, wanted)))

    async def record(self, actor: Actor, number: int) -> RecordView:
        actor.require("look")

        def look(connection: sqlite3.Connection) -> RecordView:
            found = usage.stored(connection, number)
            if found is None:
                raise Refused("unknown_record")
            record, body, right = found
            resident = residents.by_holder(connection, record.holder) if actor.may("money") else None
            curve = table.curve(connection, record.session_id)
            last = usage.last_number(connection)
            return RecordView(record, body, right, last, None if resident is None else resident.id, curve)

        return await self._context.storage.read(look)

    async def holder(self, actor: Actor, *, card: str = "", resident_id: int | None = None) -> str:
        actor.require("money")

        def look(connection: sqlite3.Connection) -> str:
            by_card = residents.by_card(connection, card)
            row = by_card if resident_id is None else residents.by_id(connection, resident_id)
            if row is None or residents.is_erased(row):
                raise Refused("unknown_resident")
            return residents.holder_of(connection, row.id)

        return await self._context.storage.read(look)

    async def note_export(self, actor: Actor, form: str, described: str) -> None:
        await self._audited.note(actor, "look", Note("usage_export", subject=form, detail=described))

    async def verify(self, actor: Actor) -> None:
        if self._verification is not None and self._verification.running:
            return
        await self._audited.note(actor, "look", Note("usage_verify"))
        total = await self._context.storage.read(usage.last_number)
        self._verification = Verification(True, 0, total, self._context.clock.wall())
        self._background.start(self._verify())

    def verification(self) -> Verification | None:
        return self._verification

    def unclosed(self) -> Unclosed | None:
        return self._context.unclosed

    async def _verify(self) -> None:
        begun = self._verification
        assert begun is not None  # set by `verify`
        loop = asyncio.get_running_loop()

        def progress(done: int) -> None:
            loop.call_soon_threadsafe(self._now, msgspec.structs.replace(begun, done=done))

        try:
            found, held, broken = await asyncio.to_thread(functools.partial(self._walk, progress))
        except CabinetError as error:
            log.error("the usage log could not be verified: %s", error)
            self._now(msgspec.structs.replace(begun, running=False, failed=True))
            return
        over = msgspec.structs.replace(
            begun, running=False, done=found.records, total=max(begun.total, found.records), closings=held,
            bad_closings=broken,
        )  # fmt: skip
        for problem in broken:
            log.critical("usage log: %s", problem)
        if found.bad is not None:
            log.critical("usage log: record %d is not as it was written: %s", found.bad.number, found.bad.problem)
            kind = found.bad.problem.partition(":")[0]
            over = msgspec.structs.replace(over, bad_number=found.bad.number, bad_kind=kind, problem=found.bad.problem)
        self._now(over)

    def _now(self, verification: Verification) -> None:
        self._verification = verification

    def _walk(self, progress: Callable[[int], None]) -> tuple[usage.Verified, int, list[str]]:
        """Return the state of the chain, the number of closings, and the problems of those.

        Uses a connection of its own, so that readers need not wait.
        """
        database = Database(admin.database_path(self._context.config), read_only=True)
        try:
            with database.reading() as connection:
                found, own = usage.verify(connection, progress), list(month_closing.all_signed(connection))
                if not own:
                    return found, 0, []
                key = month_closing.public(month_closing.load_key(admin.key_path(self._context.config)))
                return found, len(own), proof.compare_closings(connection, own, [], key)
        finally:
            database.close()
