"""Orders and other messages on their way to cabinets: sent as soon as they are due, by the rows alone.

Orders to start have a task of their own, so that nothing else delays them. An order that fails for a reason of its own
is set aside, and never stops the others.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg

from cabinet.uplink import orders
from cabinet.uplink.messages import Down, StartOrder, down
from fleet import sending, states
from fleet.broker_connection import BrokerConnection, BrokerError
from fleet.order_keys import OrderKeys
from fleet.store import database
from fleet.store.database import Connection, Pool

log = logging.getLogger(__name__)

SWEEP_S = 1.0
RETRY_S = 0.5
DOWN_EXPIRES_S = 600  # of messages that are no orders; an order expires with its `not_after`

T = TypeVar("T")
OrderWork = Callable[[Connection, Sequence[str]], Awaitable[Sequence[T] | None]]


class OrderSender:
    """Sends what is due; `wake` after a notification of the database, else each second."""

    def __init__(self, broker: BrokerConnection, keys: OrderKeys, give_back_after_hours: int) -> None:
        self._broker = broker
        self._keys = keys
        self._give_back_after_hours = give_back_after_hours
        self._placed = asyncio.Event()
        self._due = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look for orders and other messages now."""
        self._placed.set()
        self._due.set()

    async def send_starts(self, pool: Pool) -> None:
        """Send orders as soon as they are placed; everything else that is sent has a task of its own."""
        while True:
            await _woken(self._placed)
            # Without a broker an order stays held, and is given back in time.
            while self._broker.connected.is_set() and await retried(lambda: self._start_due(pool)):
                pass

    async def _start_due(self, pool: Pool) -> bool:
        """Send the orders that are held, a batch at most; return whether there may be more."""
        starts = sending.Starts([], [])
        try:
            async with pool.connection() as connection:
                starts = await sending.to_start(connection)
        except Exception as error:
            if database.is_passing(error):
                raise
            log.exception("orders to start failed together: each is sent by itself now")
            async with pool.connection() as connection:
                held = await sending.held(connection)

            async def start(connection: Connection, numbers: Sequence[str]) -> list[StartOrder]:
                one = await sending.to_start(connection, numbers[0])
                starts.unsendable.extend(one.unsendable)
                return one.orders

            starts.orders.extend(await self._apart(pool, held, start))
        for order in starts.orders:  # SENT is committed: from here on, each is sent once or never
            self._start(self._send_start(pool, order))
        await self._swept(pool, starts.unsendable, sending.refuse_unsent, ending=True)
        return len(starts.orders) == sending.BATCH

    async def _send_start(self, pool: Pool, order: StartOrder) -> None:
        try:
            payload = orders.sign(self._keys.signing_key, order)
        except Exception as error:  # whatever is wrong with it, the others are sent, and its money goes back
            reason = error
            await retried(lambda: self._set_aside(pool, order.order, reason, unsent=True))
            return
        try:
            outcome = await self._broker.send(down(order.cabinet, "order"), payload, sending.ORDER_LIFE_S)
        except BrokerError as error:
            log.warning("order %s: %s: it will be asked for", order.order, error)
            return
        if outcome == "no_subscriber":

            async def refuse() -> None:
                async with pool.connection() as connection:
                    await sending.unreachable(connection, order.order)
                    await states.notify(connection, [order.cabinet])

            await retried(refuse)

    async def send_others(self, pool: Pool) -> None:
        while True:
            await _woken(self._due)
            if self._broker.connected.is_set():
                await retried(lambda: self._send_due(pool))
            await retried(lambda: self._end_overdue(pool))

    async def _send_due(self, pool: Pool) -> None:
        async with pool.connection() as connection:
            stops, asks = await sending.due_to_stop(connection), await sending.due_to_ask(connection)
            looks = await sending.to_look(connection)
            desired = await sending.to_desire(connection)
        due: list[Down] = [*await self._swept(pool, stops, sending.stop), *await self._swept(pool, asks, sending.ask)]
        for message in due:
            self._start(self.deliver(message, "order", sending.ORDER_LIFE_S))
        for look in looks:
            self.send_soon(look, "order")
        for each in desired:
            self._start(self.deliver(each, "desired", DOWN_EXPIRES_S))

    async def _end_overdue(self, pool: Pool) -> None:
        hours = self._give_back_after_hours

        async def give_back(connection: Connection, numbers: Sequence[str]) -> None:
            await sending.give_back(connection, numbers, hours)

        async with pool.connection() as connection:
            numbers = await sending.overdue(connection, hours)
        await self._swept(pool, numbers, give_back, ending=True)

    # --- orders that fail ------------------------------------------------------------------------------------------

    async def _swept(self, pool: Pool, numbers: Sequence[str], work: OrderWork[T], *, ending: bool = False) -> list[T]:
        """Do `work` on orders in one transaction; if it fails, on each by itself: one must not keep the others."""
        if not numbers:
            return []
        try:
            async with pool.connection() as connection:
                return list(await work(connection, numbers) or ())
        except Exception as error:
            if database.is_passing(error):
                raise
            log.exception("%d orders failed together: each is done by itself now", len(numbers))
        return await self._apart(pool, numbers, work, ending=ending)

    async def _apart(self, pool: Pool, numbers: Sequence[str], work: OrderWork[T], *, ending: bool = False) -> list[T]:
        done: list[T] = []
        for number in numbers:
            try:
                async with pool.connection() as connection:
                    done += await work(connection, [number]) or ()
            except Exception as error:
                if database.is_passing(error):
                    raise
                await self._set_aside(pool, number, error, ending=ending)
        return done

    async def _set_aside(
        self, pool: Pool, number: str, error: Exception, *, unsent: bool = False, ending: bool = False
    ) -> None:
        """Set an order aside with its reason and an alarm; give its money back at once if it was not published.

        `unsent`: it was marked as sent only. `ending`: its end is what failed.
        """
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".replace("\0", "")[:500]
        log.error("order %s is set aside: %s", number, reason)
        async with pool.connection() as connection:
            await sending.set_aside(connection, number, reason, ending=ending)
        if ending:
            return
        try:
            async with pool.connection() as connection:
                await sending.end_unsent(connection, number, reason, ("held", "sent") if unsent else ("held",))
        except Exception as second:
            if database.is_passing(second):
                raise
            await self._set_aside(pool, number, second, ending=True)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def deliver(self, message: Down, name: str, expires_s: int) -> None:
        try:
            await self._broker.send(
                down(message.cabinet, name), orders.sign(self._keys.signing_key, message), expires_s
            )
        except BrokerError as error:
            log.warning("%s to %s: %s: a later sweep sends it again", name, message.cabinet, error)

    def send_soon(self, message: Down, name: str) -> None:
        self._broker.send_soon(down(message.cabinet, name), orders.sign(self._keys.signing_key, message))

    def _start(self, work: Awaitable[None]) -> None:
        """Run something beside the sweep: a broker that is slow with one message does not keep the others."""
        task = asyncio.ensure_future(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


async def _woken(event: asyncio.Event) -> None:
    """Return when the event is set, after SWEEP_S at the latest; clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SWEEP_S):  # not wait_for: in Python 3.11 it may lose a cancellation
            await event.wait()
    event.clear()


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, again while the database does not take it: it is one transaction, so nothing of it was done."""
    while True:
        try:
            return await work()
        except psycopg.Error as error:
            if not database.is_passing(error):
                raise
            log.warning("database: %s: trying again", " ".join(str(error).split()))
            await asyncio.sleep(RETRY_S)
