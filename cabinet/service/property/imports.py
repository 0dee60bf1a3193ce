"""Import of residents from an uploaded file: a plan kept for a while, and its execution in the background."""

import asyncio
import functools
import logging
import secrets
import sqlite3
from dataclasses import dataclass

from cabinet.clock import NS
from cabinet.errors import CabinetError, Refused
from cabinet.records import Actor
from cabinet.service.accounts import residents_import
from cabinet.service.accounts.residents_import import NewResident
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import ImportedRow, ImportMistake, ImportPlan, ImportState
from cabinet.service.tasks import Background
from cabinet.texts import number_format

log = logging.getLogger(__name__)

PLAN_VALID_NS = 900 * NS
MAX_PLANS = 8
MAX_RESIDENTS = 2000  # of one file: a PIN takes 50 ms
MAX_MISTAKES = 50
ROWS_SHOWN = 20


@dataclass
class _PendingImport:
    """A plan, its owner and its expiry; `done` counts PINs when it has begun."""

    planned: list[NewResident]
    staff_id: int
    until_ns: int
    begun: bool = False
    done: int = 0
    added: bool = False
    failed: str = ""


class Imports:
    """Implements `property_ports.ImportsPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions, background: Background) -> None:
        self._context = context
        self._audited = audited
        self._background = background
        self._pending: dict[str, _PendingImport] = {}

    async def plan(self, actor: Actor, content: bytes) -> ImportPlan:
        actor.require("residents")
        if len(content) > residents_import.MAX_BYTES:
            raise Refused("bad_file")
        try:
            text = residents_import.decoded("file", content)
            planned = await self._context.storage.read(lambda c: residents_import.plan_residents(c, "file", text))
        except residents_import.ImportFailed as failed:
            found = [ImportMistake(each.line, each.code, each.word) for each in failed.mistakes[:MAX_MISTAKES]]
            return ImportPlan("", 0, 0, [], found)
        except CabinetError as error:
            raise Refused("bad_file") from error
        if len(planned) > MAX_RESIDENTS:
            return ImportPlan("", len(planned), 0, [], [ImportMistake(1, "too_many", str(MAX_RESIDENTS))])
        key = secrets.token_urlsafe(16)
        self._keep(
            key, _PendingImport(planned, actor.staff.staff_id, self._context.clock.monotonic_ns() + PLAN_VALID_NS)
        )
        shown = [
            ImportedRow(
                new.line, number_format.masked(new.card), number_format.masked_name(new.name), new.group, new.first_fen
            )
            for new in planned[:ROWS_SHOWN]
        ]
        return ImportPlan(key, len(planned), sum(new.first_fen for new in planned), shown, [])

    async def begin(self, actor: Actor, key: str) -> None:
        actor.require("residents")
        pending = self._of(actor, key)
        if not pending.begun:
            pending.begun = True
            self._background.start(self._add(actor, pending))

    def state(self, actor: Actor, key: str) -> ImportState:
        actor.require("residents")
        pending = self._of(actor, key)
        rows = [
            ImportedRow(new.line, new.card, new.name, new.group, new.first_fen, new.pin)
            for new in (pending.planned if pending.added else [])
        ]
        return ImportState(pending.done, len(pending.planned), rows, pending.failed)

    async def _add(self, actor: Actor, pending: _PendingImport) -> None:
        def progress(done: int, _: int) -> None:
            pending.done = done

        try:
            hashes = await asyncio.to_thread(functools.partial(residents_import.pin_hashes, pending.planned, progress))
            await self._audited.do(actor, "residents", lambda c: self._insert(c, pending, hashes))
            pending.added = True
        except Refused as refusal:
            pending.failed = refusal.code
        except CabinetError as error:
            log.error("residents were not imported: %s", error)
            pending.failed = "expired"  # a card was added meanwhile: the file must be checked again

    def _insert(self, connection: sqlite3.Connection, pending: _PendingImport, hashes: list[str]) -> tuple[None, Note]:
        residents_import.insert_residents(connection, self._context.clock.wall(), pending.planned, hashes)
        total = number_format.yuan(sum(new.first_fen for new in pending.planned))
        return None, Note("residents_import", subject=str(len(pending.planned)), detail=total)

    def _keep(self, key: str, pending: _PendingImport) -> None:
        now_ns = self._context.clock.monotonic_ns()
        self._pending = {name: each for name, each in self._pending.items() if each.until_ns > now_ns}
        while len(self._pending) >= MAX_PLANS:
            del self._pending[next(iter(self._pending))]
        self._pending[key] = pending

    def _of(self, actor: Actor, key: str) -> _PendingImport:
        pending = self._pending.get(key)
        if pending is None or pending.staff_id != actor.staff.staff_id:
            raise Refused("expired")
        if pending.until_ns <= self._context.clock.monotonic_ns():
            del self._pending[key]  # PINs do not stay in memory
            raise Refused("expired")
        return pending
