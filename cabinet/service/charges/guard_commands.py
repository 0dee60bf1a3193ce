"""Commands to the guard for sessions: close an outlet or renew its limits, and open it. Each waits for the answer."""

import logging

from cabinet.clock import NS
from cabinet.errors import Refused
from cabinet.link.guard_protocol import Energise, Open
from cabinet.model import EndReason
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.session import Session

log = logging.getLogger(__name__)

RETRY_NS = 1 * NS


class GuardCommands:
    def __init__(self, context: ServiceContext) -> None:
        self._context = context

    async def close(self, session: Session) -> None:
        """Command the guard to close the outlet, or to take new limits if it is closed. Raises Refused."""
        count = session.meter.seen
        limits = session.limits(self._context.max_w(session.outlet))
        await self._context.guard.request(
            lambda id_: Energise(
                id_,
                session.outlet,
                session.session_id,
                limits,
                used_charging_ms=count.charging_ms,
                used_energy_mwh=count.energy_mwh,
                used_powered_ms=count.powered_ms,
                had_load=session.had_load,
            )
        )
        session.energised_ns = self._context.clock.monotonic_ns()

    async def open(self, session: Session, reason: EndReason) -> None:
        """Command the guard to open the outlet; the end arrives as its event. At most one command in `RETRY_NS`."""
        now_ns = self._context.clock.monotonic_ns()
        if now_ns >= session.retry_ns:
            session.retry_ns = now_ns + RETRY_NS
            await self.open_outlet(session.outlet, session.session_id, reason, session.stop_who)

    async def open_outlet(self, outlet: int, session_id: str | None, reason: EndReason, who: str) -> None:
        """Command the guard to open the outlet if it holds `session_id`; a refusal is logged."""
        try:
            await self._context.guard.request(lambda id_: Open(id_, outlet, reason, session_id, who))
        except Refused as refusal:
            log.warning("outlet %d: could not be opened for %s: %s", outlet, session_id, refusal)
