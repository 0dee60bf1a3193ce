"""Queries of the audit log."""

from cabinet.records import Actor, AuditEntry, AuditFilter
from cabinet.service.charges.context import ServiceContext
from cabinet.store import audit

MAX_ENTRIES = 200


class AuditLog:
    """Implements `property_ports.AuditPort`."""

    def __init__(self, context: ServiceContext) -> None:
        self._storage = context.storage

    async def entries(self, actor: Actor, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
        actor.require("audit")
        most = max(0, min(limit, MAX_ENTRIES))
        return await self._storage.read(lambda c: audit.found(c, wanted, most))

    async def staff_names(self, actor: Actor) -> list[str]:
        actor.require("audit")
        return await self._storage.read(audit.staff_names)
