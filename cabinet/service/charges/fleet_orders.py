"""Orders of the fleet: start, stop and question, verified before by the caller.

An order starts a charge once or never. Its number is on disk, with its money held, before the guard is asked to close
the outlet. The same number again gets the answer again. It must be fresh: made for this store and this boot, after one
of the last challenges, and not past its time, by the wall clock if that is synchronised, else by the age of its
challenge. A number that was asked for, or stopped, before it arrived is dead: a start that arrives later is refused.
"""

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from cabinet.billing import ledger
from cabinet.billing.session import State
from cabinet.clock import MS, NS
from cabinet.config.keys import OutletSection
from cabinet.errors import Refused, StoreError
from cabinet.model import EndReason
from cabinet.service.charges import pricing
from cabinet.service.charges.challenges import Challenges
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.rate_limit import RateLimiter
from cabinet.service.charges.session import Session
from cabinet.service.charges.start_stop import ChargeControl, check_outlet, new_row
from cabinet.service.ports import StartChoice
from cabinet.service.tasks import Background
from cabinet.store import fleet_orders as store
from cabinet.store import outbox
from cabinet.store import sessions as table
from cabinet.store.fleet_orders import OrderRow
from cabinet.store.ledger_books import SqliteBooks
from cabinet.store.moment import Moment
from cabinet.store.sessions import SessionRow
from cabinet.uplink.messages import DEAD_AFTER_S, MAX_ORDER_LIFE_S, Answer, AskOrder, StartOrder, StopOrder

log = logging.getLogger(__name__)

# Without a synchronised clock an order is refused this long after its challenge was made. The fleet gives an unknown
# order up `MAX_ORDER_LIFE_S` + `DEAD_AFTER_S` after it was made, which is later than its challenge.
MAX_AGE_WITHOUT_CLOCK_NS = MAX_ORDER_LIFE_S * NS
# An order that waited longer than this for the disk is not started any more: the guard's answer and the way back must
# reach the fleet before it gives the order up.
LATE_AFTER_NS = DEAD_AFTER_S * NS // 2

# Paced here too: a stolen key of the fleet must not wear relays or switch a whole compound at once.
OUTLET_PAUSE_S = 5  # a plug is not changed faster
MAX_STARTS_A_MINUTE = 20  # ten outlets, each twice: no queue of people is faster
MAX_REMEMBERED = 10_000  # refused and dead numbers, in memory: a restart makes every challenge before it invalid

# Refusals that are not written: they come from the message, or the disk takes nothing
_UNWRITTEN = frozenset({"order_expired", "wrong_epoch", "too_many_requests", "storage_full", "storage_damaged"})


class _Seen(NamedTuple):
    payload_hash: str
    code: str


class FleetOrders:
    def __init__(self, context: ServiceContext, control: ChargeControl, background: Background) -> None:
        self._context = context
        self._control = control
        self._background = background
        self.challenges = Challenges(context.clock)
        self._under_way: dict[str, asyncio.Task[Answer | None]] = {}
        self._refused: OrderedDict[str, _Seen] = OrderedDict()  # not on disk; an empty hash: dead before it came
        self._turn = asyncio.Lock()  # from the check of the pace to the count
        self._outlet_pause = RateLimiter(context.clock, 1, OUTLET_PAUSE_S)
        self._all_starts = RateLimiter(context.clock, MAX_STARTS_A_MINUTE, 60)

    async def start(self, order: StartOrder, payload_hash: str) -> Answer | None:
        """Return the answer to an order, new or repeated; None if it is not known yet (the fleet asks again).

        `payload_hash`: of the body as signed.
        """
        task = self._under_way.get(order.order)
        if task is None:
            task = self._background.start(self._start(order, payload_hash))
            self._under_way[order.order] = task
            task.add_done_callback(lambda _: self._under_way.pop(order.order, None))
        return await asyncio.shield(task)

    async def stop(self, order: StopOrder) -> Answer | None:
        """End the order's charge, however often it is asked, of another epoch too; return its state then."""
        if (starting := self._under_way.get(order.order)) is not None:
            await asyncio.wait([starting])  # a stop must not be lost in the middle of its start
        row = await self._context.storage.read(lambda c: store.by_number(c, order.order))
        session = None if row is None else self._context.sessions.get(row.session_id)
        if session is not None and not session.finished:
            by_staff = order.by == "staff"
            reason = EndReason.STOPPED_BY_STAFF if by_staff else EndReason.STOPPED_BY_RESIDENT
            await self._control.end(session, reason, order.by)
        return await self._state(order.order)

    async def ask(self, order: AskOrder) -> Answer | None:
        """Return the state of an order, of another epoch too; None if the guard's answer to it is not known yet."""
        return await self._state(order.order)

    # --- starting ----------------------------------------------------------------------------------------------------

    async def _start(self, order: StartOrder, payload_hash: str) -> Answer | None:
        row = await self._context.storage.read(lambda c: store.by_number(c, order.order))
        earlier = self._refused.get(order.order)
        if row is not None or earlier is not None:
            known_hash = row.payload_hash if row is not None else earlier.payload_hash if earlier is not None else ""
            if known_hash not in ("", payload_hash):
                log.error("order %s came again with other contents: refused", order.order)
                return self._refusal(order.order, "order_changed")
            return self._answer(order.order, row)
        try:
            return await self._begin(order, payload_hash)
        except Refused as refused:
            log.warning("order %s refused: %s", order.order, refused)
            return await self._note_refusal(order, payload_hash, refused.code)

    async def _begin(self, order: StartOrder, payload_hash: str) -> Answer | None:
        context = self._context
        deadline_ns = self._fresh_until_ns(order)
        choice = _choice(order)
        amount = pricing.check_choice(choice)
        outlet = context.config.outlet_by_number(order.outlet)
        if outlet is None:
            raise Refused("unknown_outlet")
        check_outlet(context, outlet, None)
        if context.power_queue.others_before(None) or any(s.waits_for == "feed_full" for s in context.sessions):
            raise Refused("feed_full")
        paces = (
            (self._outlet_pause, outlet.number),
            (self._all_starts, ""),
            (self._control.outlet_starts, outlet.number),
        )
        async with self._turn:
            for limiter, key in paces:
                limiter.check(key)
            row = await context.storage.write_or_refuse(
                lambda c: self._authorise(c, order, payload_hash, outlet, choice, amount, context.now())
            )
            for limiter, key in paces:
                limiter.count(key)
        try:
            session = await self._control.energise(row, lambda: context.clock.monotonic_ns() > deadline_ns)
        except Refused as refused:
            return self._refusal(order.order, refused.code)
        return self._state_of(session, order.order)

    def _fresh_until_ns(self, order: StartOrder) -> int:
        """Return the time until which the guard may be asked. Refuses wrong_epoch, order_expired."""
        context = self._context
        if not self._of_this_store(order.epoch):
            raise Refused("wrong_epoch")
        age_ns = self.challenges.age_ns(order.challenge)
        if order.boot != context.boot_id or age_ns is None:
            raise Refused("order_expired")
        wall, now_ns = context.clock.wall(), context.clock.monotonic_ns()
        left_ns = (order.not_after_unix_ms - wall.unix_ms) * MS if wall.trusted else MAX_AGE_WITHOUT_CLOCK_NS - age_ns
        left_ns = min(left_ns, MAX_ORDER_LIFE_S * NS)  # a fleet whose clock is fast makes no order that lives longer
        if left_ns <= 0:
            raise Refused("order_expired")
        return now_ns + left_ns + LATE_AFTER_NS

    def _authorise(
        self,
        connection: sqlite3.Connection,
        order: StartOrder,
        payload_hash: str,
        outlet: OutletSection,
        choice: StartChoice,
        amount: int,
        now: Moment,
    ) -> SessionRow:
        """Check again, free of races; write the order, take over its money and hold it: all in one transaction."""
        if table.unfinished_at(connection, outlet.number) is not None:
            raise Refused("outlet_busy")
        context = self._context
        posted = context.tariff_catalogue.in_force(outlet.number, order.group, now.wall)
        if posted.version != order.tariff_version:
            raise Refused("tariff_changed")
        # a day's cap holds for a resident over all cabinets: the fleet's own matter
        tariff = pricing.session_tariff(posted, choice, 0)
        max_w = round(outlet.max_power_w)
        held_fen = pricing.hold_fen(context.config.service, tariff, choice, order.held_fen, max_w)
        resident_id = outbox.fleet_resident_id(connection)
        row = msgspec.structs.replace(
            new_row(
                connection, context, outlet, choice, amount, tariff, held_fen, now, resident_id, order.order
            ),
            fleet_order=order.order,
            max_energy_mwh=order.max_energy_mwh,
            max_charging_s=order.max_charging_s,
        )  # fmt: skip
        store.insert(
            connection,
            OrderRow(
                order_number=order.order,
                payload_hash=payload_hash,
                outlet=outlet.number,
                state="received",
                session_id=row.session_id,
            ),
            now.wall,
        )
        table.insert(connection, row)
        books = SqliteBooks(connection, now.wall)
        ledger.post(books, ledger.order_in(order.order, held_fen))
        ledger.post(books, ledger.hold(row.session_id, order.order, held_fen))
        return row

    async def _note_refusal(self, order: StartOrder, payload_hash: str, code: str) -> Answer:
        """Remember the refusal, on disk too unless it comes from the message itself; return the answer."""
        self._remember(order.order, _Seen(payload_hash, code))
        if code not in _UNWRITTEN:
            row = OrderRow(
                order_number=order.order, payload_hash=payload_hash, outlet=order.outlet, state="refused", code=code
            )
            wall = self._context.clock.wall()
            try:
                await self._context.storage.write(lambda c: store.insert(c, row, wall))
            except StoreError as error:
                log.error("the refusal of order %s is not written: %s", order.order, error)
        return self._refusal(order.order, code)

    def _remember(self, number: str, seen: _Seen) -> None:
        self._refused[number] = seen
        while len(self._refused) > MAX_REMEMBERED:
            self._refused.popitem(last=False)

    # --- answers -----------------------------------------------------------------------------------------------------

    async def _state(self, number: str) -> Answer | None:
        """Return the state of an order. One that is unknown is dead from now on."""
        began = number in self._under_way
        row = await self._context.storage.read(lambda c: store.by_number(c, number))
        if row is None and number not in self._refused:
            if began or number in self._under_way:
                return None
            self._remember(number, _Seen("", "order_expired"))
            return Answer(number, "unknown", epoch=self._context.fleet_facts.epoch)
        return self._answer(number, row)

    def _answer(self, number: str, row: OrderRow | None) -> Answer | None:
        if row is None:
            seen = self._refused[number]
            return self._refusal(number, seen.code)
        session = self._context.sessions.get(row.session_id)
        if session is not None:
            return self._state_of(session, number)
        if row.state == "received":
            return None  # its session is settled or was never written: the next question finds which
        if row.state == "refused":
            return self._refusal(number, row.code or "bad_request")
        return Answer(
            number,
            row.state,
            session_id=row.session_id,
            epoch=self._context.fleet_facts.epoch,
            end_reason=row.end_reason,
        )

    def _state_of(self, session: Session, number: str) -> Answer | None:
        """Return the state of an order by its session in memory, which is newer than the disk."""
        if session.refusal is not None:
            return self._refusal(number, session.refusal)
        if session.state is State.AUTHORISED:
            return None
        over = session.finished and session.end_reason is not None
        return Answer(
            number,
            "ended" if over else "accepted",
            session_id=session.session_id,
            epoch=self._context.fleet_facts.epoch,
            end_reason=session.end_reason,
        )

    def _refusal(self, number: str, code: str) -> Answer:
        return Answer(number, "refused", code=code, epoch=self._context.fleet_facts.epoch)

    def _of_this_store(self, epoch: str) -> bool:
        return self._context.fleet_facts.enabled and epoch == self._context.fleet_facts.epoch


def _choice(order: StartOrder) -> StartChoice:
    if order.choice == "amount":
        return StartChoice("amount", amount_fen=order.choice_amount)
    if order.choice == "full":
        return StartChoice("full")
    return StartChoice(order.choice, seconds=order.choice_amount)
