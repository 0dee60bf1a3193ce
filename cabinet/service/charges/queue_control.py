"""The power queue: residents wait until the feed has room for one more charge; first come, first served.

Waiting holds no money and closes no relay. An entry reserves its outlet. When the guard would let that outlet close,
the first entry is started as if its resident had just pressed the button. At most one charge starts per second: the
guard must count its power before the next entry is checked. If a refusal concerns everyone, the queue waits; if it
concerns one entry only, that entry ends, and the resident's page shows the reason.
"""

import logging
import sqlite3
from collections.abc import Callable

import msgspec

from cabinet.billing.session import State
from cabinet.clock import NS
from cabinet.config.keys import OutletSection
from cabinet.errors import Refused, StorageFull, StoreError
from cabinet.service.charges import pricing
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.service.charges.start_stop import ChargeControl, check_outlet, resident_who_may_start, terms
from cabinet.service.ports import StartChoice, WaitingView
from cabinet.store import waiting as store
from cabinet.store.moment import Moment, seconds_between
from cabinet.store.waiting import WaitingRow

log = logging.getLogger(__name__)

MAX_WAIT_S = 1800
READABLE_FOR_S = 7200  # an entry's outcome can be read for this long, counted from joining
MIN_START_GAP_NS = 1 * NS  # between two starts: the guard has then counted the power of the first
MAX_OUTLET_REFUSAL_NS = 10 * NS  # longest time that an outlet with a refusal of its own holds up the queue

# Refusals that concern everyone or are the reason for waiting: the queue waits. Any other refusal ends the entry.
CABINET_WIDE_REFUSALS = frozenset(
    {"feed_full", "voltage_out_of_band", "cabinet_hot", "cabinet_fault", "contactor_open", "not_ready",
     "guard_unreachable", "storage_full", "state_unwritable"}
)  # fmt: skip
EXPIRED = "expired"


class QueueControl:
    """Implements `ports.QueuePort`: residents join and leave; `serve`, with every snapshot, starts them in turn."""

    def __init__(self, context: ServiceContext, charge_control: ChargeControl) -> None:
        self._context = context
        self._charge_control = charge_control
        self._not_before_ns = 0
        self._refused_since_ns: tuple[int, int] | None = None  # entry number, start time

    async def join(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        """Join the queue for this outlet. A resident already in it keeps the place, with the new outlet and choice.

        Refuses unknown_code, bad_choice, reserved, no_money, already_charging, card_blocked, and every refusal of a
        start except lack of power.
        """
        outlet = self._context.outlet_of(code)
        amount = pricing.check_choice(choice)
        try:
            check_outlet(self._context, outlet, resident_id)
        except Refused as refusal:
            if refusal.code != "feed_full":
                raise
        now = self._context.now()
        try:
            await self._change(lambda c: self._enter(c, resident_id, outlet, choice, amount, now))
        except StorageFull as full:
            raise Refused("storage_full") from full
        view = await self.view(resident_id)
        assert view is not None  # just joined
        return view

    def _enter(
        self,
        connection: sqlite3.Connection,
        resident_id: int,
        outlet: OutletSection,
        choice: StartChoice,
        amount: int,
        now: Moment,
    ) -> None:
        resident = resident_who_may_start(connection, resident_id)
        other = store.waits_at(connection, outlet.number)
        if other is not None and other.resident_id != resident_id:
            raise Refused("reserved")
        terms(connection, self._context, resident, outlet, choice, now)  # raises bad_choice, no_money
        before = store.of_resident(connection, resident_id)
        kept = before if before is not None and before.outcome is None else None
        row = WaitingRow(
            number=store.next_number(connection) if kept is None else kept.number,
            resident_id=resident_id,
            outlet=outlet.number,
            code=outlet.code,
            choice=choice.kind,
            choice_amount=amount,
            since=now if kept is None else kept.since,
            attempts=0 if kept is None else kept.attempts,
        )
        store.put(connection, row)

    async def leave(self, resident_id: int) -> None:
        """Remove the resident's entry, waiting or over, if there is one."""
        row = self._context.power_queue.of_resident(resident_id)
        if row is not None:
            await self._remove(row)

    async def view(self, resident_id: int) -> WaitingView | None:
        """Return the resident's own entry, if there is one."""
        queue = self._context.power_queue
        row = queue.of_resident(resident_id)
        if row is None:
            return None
        return WaitingView(row.outlet, row.code, row.choice, row.choice_amount, queue.place(row), row.outcome)

    # --- serving the queue -------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Drop entries that are too old, then start the first one if there is power for it."""
        try:
            await self._drop_expired()
            await self._serve_head()
        except StoreError as error:
            log.error("the line of those who wait stands still: %s", error)

    async def _drop_expired(self) -> None:
        queue = self._context.power_queue
        for row in queue.waiting:
            if self._waited_s(row) > MAX_WAIT_S:
                await self._end_entry(row, EXPIRED)
        for row in queue.over:
            if self._waited_s(row) > READABLE_FOR_S:
                await self._remove(row)

    def _waited_s(self, row: WaitingRow) -> float:
        """Return the time waited; if unknown (another boot and an unset clock), at least the time since this boot."""
        now = self._context.now()
        waited_s = seconds_between(row.since, now)
        return now.monotonic_ns / NS if waited_s is None else waited_s

    async def _serve_head(self) -> None:
        context = self._context
        head = context.power_queue.head
        if head is None or context.clock.monotonic_ns() < self._not_before_ns:
            return
        session = context.sessions.at(head.outlet)
        if session is not None and session.resident_id == head.resident_id:
            if session.refusal is None:
                await self._remove(head)  # it was started, but its entry could not be removed then
            return
        if any(session.state is State.SUSPENDED for session in context.sessions):
            return  # an interrupted charge has priority over a new one
        refusal = self._refusal(head)
        if refusal is None:
            await self._start(head)
        elif refusal not in CABINET_WIDE_REFUSALS and self._has_lasting_refusal(head):
            await self._end_entry(head, refusal)

    def _refusal(self, head: WaitingRow) -> str | None:
        """Return the code if the guard would not close the outlet now, else None."""
        context = self._context
        if (code := context.accepting()) is not None:
            return code
        state = context.guard_state.outlet(head.outlet)
        return "unknown_outlet" if state is None else state.refusal

    def _has_lasting_refusal(self, head: WaitingRow) -> bool:
        """Return whether the outlet's own refusal has lasted for `MAX_OUTLET_REFUSAL_NS`: the queue waits no longer."""
        now_ns = self._context.clock.monotonic_ns()
        if self._refused_since_ns is None or self._refused_since_ns[0] != head.number:
            self._refused_since_ns = (head.number, now_ns)
        return now_ns - self._refused_since_ns[1] >= MAX_OUTLET_REFUSAL_NS

    async def _start(self, head: WaitingRow) -> None:
        """Start the first entry. Each attempt has its own request key; after a crash half-way the same key is used."""
        self._refused_since_ns = None
        choice = StartChoice(
            head.choice,
            seconds=head.choice_amount if head.choice in ("hours", "package") else None,
            amount_fen=head.choice_amount if head.choice == "amount" else None,
        )
        request_key = f"waiting:{head.number}:{head.since.unix_ms}:{head.attempts}"
        try:
            await self._charge_control.start(head.resident_id, head.code, choice, request_key, rate_limited=False)
        except Refused as refusal:
            if refusal.code in CABINET_WIDE_REFUSALS:
                later = msgspec.structs.replace(head, attempts=head.attempts + 1)
                await self._change(lambda c: store.note(c, later))
            else:
                await self._end_entry(head, refusal.code)
        else:
            log.info("outlet %d: started for the first in the line", head.outlet)
            await self._remove(head)
        finally:
            self._not_before_ns = self._context.clock.monotonic_ns() + MIN_START_GAP_NS

    async def _end_entry(self, row: WaitingRow, outcome: str) -> None:
        log.info("outlet %d: waiting for power came to nothing: %s", row.outlet, outcome)
        over = msgspec.structs.replace(row, outcome=outcome)
        await self._change(lambda c: store.note(c, over))

    async def _remove(self, row: WaitingRow) -> None:
        await self._change(lambda c: store.remove(c, row.number))

    async def _change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Write, then take over the queue as stored. Raises as `work` and `Storage.write`; then nothing has changed."""

        def change(connection: sqlite3.Connection) -> list[WaitingRow]:
            work(connection)
            return store.all_entries(connection)

        context = self._context
        context.power_queue.replace(await context.storage.write(change))
        for outlet in context.config.outlet:  # a queue changes the view of every free outlet
            context.changes.touch(outlet.number)
        context.changes.touch(CABINET)
