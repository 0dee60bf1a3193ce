"""Audited actions: an action and its audit entries in one transaction, so neither exists without the other."""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from cabinet.records import Actor, Task
from cabinet.service.charges.context import ServiceContext
from cabinet.store import audit

T = TypeVar("T")


class Note(NamedTuple):
    """An entry for the audit log: see `records.AuditEntry`."""

    action: str
    resident_id: int | None = None
    subject: str = ""
    detail: str = ""


class AuditedActions:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def do(
        self, actor: Actor, task: Task, work: Callable[[sqlite3.Connection], tuple[T, Note | list[Note] | None]]
    ) -> T:
        """Commit `work` and the audit entries that it returns second; return its first result.

        If the note is None, no entry is written: nothing had to be done. Refuses not_allowed, storage_full, and as
        `work` does.
        """
        actor.require(task)
        wall = self._context.clock.wall()

        def both(connection: sqlite3.Connection) -> T:
            result, notes = work(connection)
            for note in [] if notes is None else notes if isinstance(notes, list) else [notes]:
                audit.add(
                    connection, wall, actor, note.action,
                    resident_id=note.resident_id, subject=note.subject, detail=note.detail,
                )  # fmt: skip
            return result

        return await self._context.storage.write_or_refuse(both)

    async def note(self, actor: Actor, task: Task, note: Note) -> None:
        """Write an audit entry only, such as for viewing restricted data."""
        await self.do(actor, task, lambda _: (None, note))
