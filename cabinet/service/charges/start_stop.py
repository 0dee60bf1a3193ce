"""Starting and stopping a charge for a resident.

A start is committed to disk, with its money held, before the command is sent to the guard. From the commit on it runs
to its end even if its caller is gone: a browser that disconnects leaves neither half a session nor an outlet without
one.
"""

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable

import msgspec

from cabinet.billing import ledger
from cabinet.billing.session import SessionStep, State
from cabinet.billing.tariff import Tariff, no_use
from cabinet.config.keys import OutletSection
from cabinet.errors import Refused
from cabinet.model import EndReason
from cabinet.service.charges import pricing
from cabinet.service.charges.checkpoint import CheckpointWriter
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.guard_commands import GuardCommands
from cabinet.service.charges.guard_events import GuardEventHandler
from cabinet.service.charges.live import CURVE_STEP_S
from cabinet.service.charges.rate_limit import RateLimiter
from cabinet.service.charges.session import Session, restored
from cabinet.service.ports import StartChoice
from cabinet.service.tasks import Background
from cabinet.store import residents
from cabinet.store import sessions as table
from cabinet.store.ledger_books import SqliteBooks, balance_fen
from cabinet.store.moment import Moment
from cabinet.store.sessions import SessionRow
from cabinet.texts import number_format

log = logging.getLogger(__name__)

MAX_REQUEST_KEY = 100
STOP_WAIT_S = 3.0

RATE_WINDOW_S = 600  # starts are rate-limited: each one wears a relay and blocks the outlet for others
MAX_STARTS_PER_CARD = 10
MAX_STARTS_PER_OUTLET = 20


class ChargeControl:
    def __init__(
        self,
        context: ServiceContext,
        checkpoint_writer: CheckpointWriter,
        event_handler: GuardEventHandler,
        guard_commands: GuardCommands,
        background: Background,
    ) -> None:
        self._background = background
        self._context = context
        self._checkpoint_writer = checkpoint_writer
        self._event_handler = event_handler
        self._guard_commands = guard_commands
        self._under_way: dict[tuple[int, str], asyncio.Task[str]] = {}
        self._card_starts = RateLimiter(context.clock, MAX_STARTS_PER_CARD, RATE_WINDOW_S)
        self.outlet_starts = RateLimiter(context.clock, MAX_STARTS_PER_OUTLET, RATE_WINDOW_S)

    async def start(
        self, resident_id: int, code: str, choice: StartChoice, request_key: str, rate_limited: bool = True
    ) -> str:
        """Return the new session's id, or the same id if `request_key` repeats. Refuses as `ports.ChargesPort.start`.

        If `rate_limited` is False, the start comes from the power queue, not from a person's tap, and is not counted.
        """
        if not 0 < len(request_key) <= MAX_REQUEST_KEY:
            raise Refused("bad_request")
        key = (resident_id, request_key)
        task = self._under_way.get(key)
        if task is None:
            task = self._background.start(self._start(resident_id, code, choice, request_key, rate_limited))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)

    async def _start(
        self, resident_id: int, code: str, choice: StartChoice, request_key: str, rate_limited: bool
    ) -> str:
        context = self._context
        earlier = await context.storage.read(lambda c: table.by_request_key(c, resident_id, request_key))
        if earlier is not None:
            return _repeated_answer(earlier)
        outlet = context.outlet_of(code)
        amount = pricing.check_choice(choice)
        check_outlet(context, outlet, resident_id)
        if context.power_queue.others_before(resident_id) or any(s.waits_for == "feed_full" for s in context.sessions):
            raise Refused("feed_full")  # earlier residents have priority for the available power
        if rate_limited:
            self._card_starts.check(resident_id)
            self.outlet_starts.check(outlet.number)
        row = await context.storage.write_or_refuse(
            lambda c: self._authorise(c, resident_id, outlet, choice, amount, request_key, context.now())
        )
        # only now: a start refused above (no money, charging elsewhere) wears no relay and blocks no outlet
        if rate_limited:
            self._card_starts.count(resident_id)
            self.outlet_starts.count(outlet.number)
        return (await self.energise(row)).session_id

    async def energise(self, row: SessionRow, late: Callable[[], bool] = lambda: False) -> Session:
        """Have the guard close the outlet for a session that is on disk. Refuses as the guard does.

        If `late` returns True now, the guard is not asked and the start is refused as order_expired.
        """
        session = restored(row, self._context.site_time, [])
        async with session.busy:
            self._context.sessions.add(session)
            self._event_handler.notify_viewers(session.outlet)
            await self._energise(session, late)
        return session

    def _authorise(
        self,
        connection: sqlite3.Connection,
        resident_id: int,
        outlet: OutletSection,
        choice: StartChoice,
        amount: int,
        request_key: str,
        now: Moment,
    ) -> SessionRow:
        """Check again, free of races, hold the money, write the session: all in one transaction."""
        resident = resident_who_may_start(connection, resident_id)
        if table.unfinished_at(connection, outlet.number) is not None:
            raise Refused("outlet_busy")
        context = self._context
        tariff, held_fen = terms(connection, context, resident, outlet, choice, now)
        row = new_row(connection, context, outlet, choice, amount, tariff, held_fen, now, resident_id, request_key)
        row = msgspec.structs.replace(row, card=number_format.masked(resident.card))
        table.insert(connection, row)
        ledger.post(SqliteBooks(connection, now.wall), ledger.hold(row.session_id, resident_id, held_fen))
        return row

    async def _energise(self, session: Session, late: Callable[[], bool]) -> None:
        """Have the guard close the outlet; if the guard refuses, finish the session and raise the refusal."""
        try:
            if late():
                raise Refused("order_expired")
            await self._guard_commands.close(session)
        except Refused as refusal:
            session.refusal = refusal.code
            if refusal.code == "guard_unreachable":
                # the guard may have closed it nevertheless: the next snapshot shows that, and the session is ended then
                session.stop_reason = EndReason.STOPPED_BY_OPERATOR
                session.energised_ns = self._context.clock.monotonic_ns()
            else:
                session.finish(None, None, self._context.now())
            await self._checkpoint_writer.save()
            raise
        session.step(SessionStep.CLOSED, self._context.now())
        await self._checkpoint_writer.save()

    async def renew_limits(self) -> None:
        """Send the guard the money limits of all running sessions anew: what they have used since is known now."""
        for session in self._context.sessions:
            if self._context.guard_reachable() and not session.busy.locked() and self._context.is_held(session):
                try:
                    async with session.busy:
                        await self._guard_commands.close(session)
                except Refused as refusal:
                    # session_over: its end event will arrive; otherwise the old, lower limits stay in force
                    log.info("outlet %d: limits not renewed: %s", session.outlet, refusal)

    async def stop(self, resident_id: int, session_id: str) -> None:
        """End the session, if it runs; return when it is settled, or after `STOP_WAIT_S`. Refuses not_yours."""
        session = self._context.sessions.get(session_id)
        if session is None or session.finished:
            return
        if session.resident_id != resident_id:
            raise Refused("not_yours")
        await self.end(session, EndReason.STOPPED_BY_RESIDENT, "resident")

    async def end(self, session: Session, reason: EndReason, who: str) -> None:
        """End the session, unless another end is under way; return when it is settled, or after `STOP_WAIT_S`."""
        if session.stop_reason is None:
            session.stop_reason, session.stop_who = reason, who
        ending = self._background.start(self._end(session))
        try:
            async with asyncio.timeout(STOP_WAIT_S):
                await asyncio.shield(ending)
                await session.over.wait()
        except TimeoutError:
            log.warning("outlet %d: %s is not settled yet after its stop", session.outlet, session.session_id)

    async def _end(self, session: Session) -> None:
        """Save the stop request, then command the guard: in this order a crash does not let the session go on."""
        await self._checkpoint_writer.save()
        async with session.busy:
            if not session.finished and session.state is not State.SUSPENDED:
                await self._guard_commands.open(session, session.stop_reason or EndReason.STOPPED_BY_RESIDENT)


def new_row(
    connection: sqlite3.Connection,
    context: ServiceContext,
    outlet: OutletSection,
    choice: StartChoice,
    amount: int,
    tariff: Tariff,
    held_fen: int,
    now: Moment,
    resident_id: int,
    request_key: str,
) -> SessionRow:
    """Return the row of a new session, which the caller inserts."""
    number = table.next_number(connection)
    return SessionRow(
        number=number,
        session_id=secrets.token_hex(8),
        order_number=f"{context.config.site.site_id}-{number:08}",
        request_key=request_key,
        resident_id=resident_id,
        card="",
        outlet=outlet.number,
        code=outlet.code,
        choice=choice.kind,
        choice_amount=amount,
        held_fen=held_fen,
        tariff=tariff,
        state=State.AUTHORISED,
        started_unix_ms=now.unix_ms,
        started_trusted=now.trusted,
        used=no_use(tariff),
        seen=now,
        curve_step_s=CURVE_STEP_S,
    )


def check_outlet(context: ServiceContext, outlet: OutletSection, resident_id: int | None) -> None:
    """Check the interlocks of a start that need neither the database nor a request to the guard. Raises Refused.

    `resident_id` is None for an order of the fleet.
    """
    if (code := context.accepting()) is not None:
        raise Refused(code)
    session = context.sessions.at(outlet.number)
    if session is not None:
        raise Refused("already_charging" if session.resident_id == resident_id else "outlet_busy")
    state = context.guard_state.outlet(outlet.number)
    if state is None:
        raise Refused("unknown_outlet")
    if outlet.number in context.fleet_notes:
        raise Refused("out_of_service")
    reserved = context.power_queue.at(outlet.number)
    if reserved is not None and reserved.resident_id != resident_id:
        raise Refused("reserved")
    if state.refusal is not None:
        raise Refused(state.refusal)


def resident_who_may_start(connection: sqlite3.Connection, resident_id: int) -> residents.ResidentRow:
    """Return the resident, who is signed in, not blocked and not charging. Raises Refused."""
    resident = residents.by_id(connection, resident_id)
    if resident is None:
        raise Refused("signed_out")
    if resident.blocked:
        raise Refused("card_blocked")
    if table.unfinished_of_resident(connection, resident_id) is not None:
        raise Refused("already_charging")
    return resident


def terms(
    connection: sqlite3.Connection,
    context: ServiceContext,
    resident: residents.ResidentRow,
    outlet: OutletSection,
    choice: StartChoice,
    now: Moment,
) -> tuple[Tariff, int]:
    """Return the tariff that a charge starting now keeps, and its hold in fen. Refuses bad_choice, no_money."""
    posted = context.tariff_catalogue.in_force(outlet.number, resident.group, now.wall)
    spent_fen = 0
    if posted.day_cap_fen is not None:
        spent_fen = table.charged_in(connection, resident.id, *context.site_time.day_bounds_ms(now.wall))
    tariff = pricing.session_tariff(posted, choice, spent_fen)
    balance = balance_fen(connection, ledger.wallet(resident.id))
    return tariff, pricing.hold_fen(context.config.service, tariff, choice, balance, round(outlet.max_power_w))


def _repeated_answer(row: SessionRow) -> str:
    """Repeat the answer to the first request with this key: the session id, or the refusal."""
    if row.refusal is not None:
        raise Refused(row.refusal)
    return row.session_id
