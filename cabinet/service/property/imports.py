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
from cabinet.service.charges.context import Context
from cabinet.service.property.acting import Acting, Note
from cabinet.service.property_views import ImportedRow, ImportMistake, ImportPlan, ImportState
from cabinet.service.tasks import Background
from cabinet.texts import number_format

log = logging.getLogger(__name__)

KEPT_NS = 900 * NS
MAX_KEPT = 8
MAX_RESIDENTS = 2000  # of one file: a PIN takes 50 ms
MAX_MISTAKES = 50
ROWS_SHOWN = 20


@dataclass
class _Kept:
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

    def __init__(self, context: Context, acting: Acting, background: Background) -> None:
        self._context = context
        self._acting = acting
        self._background = background
        self._kept: dict[str, _Kept] = {}

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
        self._keep(key, _Kept(planned, actor.staff.staff_id, self._context.clock.monotonic_ns() + KEPT_NS))
        shown = [
            ImportedRow(
                new.line, number_format.masked(new.card), number_format.masked_name(new.name), new.group, new.first_fen
            )
            for new in planned[:ROWS_SHOWN]
        ]
        return ImportPlan(key, len(planned), sum(new.first_fen for new in planned), shown, [])

    async def begin(self, actor: Actor, key: str) -> None:
        actor.require("residents")
        kept = self._of(actor, key)
        if not kept.begun:
            kept.begun = True
            self._background.start(self._add(actor, kept))

    def state(self, actor: Actor, key: str) -> ImportState:
        actor.require("residents")
        kept = self._of(actor, key)
        rows = [
            ImportedRow(new.line, new.card, new.name, new.group, new.first_fen, new.pin)
            for new in (kept.planned if kept.added else [])
        ]
        return ImportState(kept.done, len(kept.planned), rows, kept.failed)

    async def _add(self, actor: Actor, kept: _Kept) -> None:
        def progress(done: int, _: int) -> None:
            kept.done = done

        try:
            hashes = await asyncio.to_thread(functools.partial(residents_import.pin_hashes, kept.planned, progress))
            await self._acting.do(actor, "residents", lambda c: self._insert(c, kept, hashes))
            kept.added = True
        except Refused as refusal:
            kept.failed = refusal.code
        except CabinetError as error:
            log.error("residents were not imported: %s", error)
            kept.failed = "expired"  # a card was added meanwhile: the file must be checked again

    def _insert(self, connection: sqlite3.Connection, kept: _Kept, hashes: list[str]) -> tuple[None, Note]:
        residents_import.insert_residents(connection, self._context.clock.wall(), kept.planned, hashes)
        total = number_format.yuan(sum(new.first_fen for new in kept.planned))
        return None, Note("residents_import", subject=str(len(kept.planned)), detail=total)

    def _keep(self, key: str, kept: _Kept) -> None:
        now_ns = self._context.clock.monotonic_ns()
        self._kept = {name: each for name, each in self._kept.items() if each.until_ns > now_ns}
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept

    def _of(self, actor: Actor, key: str) -> _Kept:
        kept = self._kept.get(key)
        if kept is None or kept.staff_id != actor.staff.staff_id:
            raise Refused("expired")
        if kept.until_ns <= self._context.clock.monotonic_ns():
            del self._kept[key]  # PINs do not stay in memory
            raise Refused("expired")
        return kept
