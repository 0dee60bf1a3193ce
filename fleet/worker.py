"""The worker: takes in what cabinets send, sends what they shall get, ends what is overdue.

One worker works at a time: it holds an advisory lock of the database, and the standby waits for it. A shared
subscription of two would not do instead: the broker would keep a dead worker's share for it. The lock's connection
also listens for `fleet_order`; when it breaks, the worker ends and begins again, so it never works without the lock for
longer than it takes to notice, and even then every step is a row that only one of two can change.

Nothing is kept in memory that a kill could lose: what is to be sent is found in the rows by a sweep each second.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import psycopg

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError, StoreError
from cabinet.uplink import messages
from cabinet.uplink.messages import Ack, Answer, Certificate, MessageError
from fleet import housekeeping, ingest, order_keys, sending, states
from fleet.broker_connection import BrokerConnection, Message
from fleet.config import FleetConfig
from fleet.ingest import Acknowledgement, Incoming
from fleet.money.payments.accounts import MerchantAccounts
from fleet.money.watcher import PaymentWatcher
from fleet.order_keys import OrderKeys
from fleet.order_sender import DOWN_EXPIRES_S, SWEEP_S, OrderSender, retried
from fleet.states import CabinetOnline, CabinetState
from fleet.store import cabinets, database, rows
from fleet.store.database import Connection, Pool

log = logging.getLogger(__name__)

CLIENT_ID = "fleet-worker"
MINUTE_S = 60.0
MINUTES_AN_HOUR = 60
MAX_INBOX = 50_000  # messages of one kind; beyond, they are dropped, and come again
MAX_FACT_MESSAGES = 40  # in one transaction: an order must not wait long for the end of a batch
MAX_STATES = 200
MAX_ANSWERS = 200
YIELD_MESSAGES = 25
AGAIN_S = 10.0  # facts are asked for again so often at most

T = TypeVar("T")
Renewal = Callable[[Connection, str, str], Awaitable[Certificate]]  # cabinet, CSR (PEM)


class LockLost(StoreError):
    """The connection that holds the worker's lock broke; another worker may have it now."""


class Inbox(asyncio.Queue[T]):
    """A bounded queue that drops what it has no room for, and gives many at once."""

    def __init__(self) -> None:
        super().__init__(MAX_INBOX)
        self.dropped = 0

    def add(self, item: T) -> None:
        try:
            self.put_nowait(item)
        except asyncio.QueueFull:
            self.dropped += 1

    async def take(self, most: int) -> list[T]:
        """Wait for one, and return all that are here, `most` at most."""
        items = [await self.get()]
        while len(items) < most and not self.empty():
            items.append(self.get_nowait())
        return items


class Worker:
    def __init__(
        self, config: FleetConfig, keys: OrderKeys, renew: Renewal, report: Callable[[str], None] = lambda _: None
    ) -> None:
        """Prepare a worker; `report` gets a word for people when it stands by or works."""
        self._config = config
        self._keys = keys
        self._renew = renew
        self._report = report
        self._facts: Inbox[Incoming] = Inbox()
        self._states: Inbox[Message] = Inbox()
        self._answers: Inbox[tuple[str, Answer]] = Inbox()
        self._requests: Inbox[tuple[str, str]] = Inbox()
        self._broker = BrokerConnection(config.broker, CLIENT_ID, self._on_message)
        self._sender = OrderSender(self._broker, keys, config.orders.give_back_after_hours)
        self._asked_again: dict[str, float] = {}  # cabinet → time of the event loop
        self.working = asyncio.Event()

    async def run(self) -> None:
        """Wait for the lock, then work until cancelled. Raises StoreError if the database is gone."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            stores, others = group.split(StoreError)
            if stores is None or others is not None:
                raise
            raise StoreError("; ".join(str(error) for error in stores.exceptions)) from group

    async def _run(self) -> None:
        url = self._config.database.url
        async with await database.connect(url, autocommit=True) as lock:
            await self._hold_lock(lock)
            await lock.execute("LISTEN fleet_order")
            async with database.pool(url, self._config.database.pool_size, least=4) as pool, self._broker.running():
                self._report("working")
                self.working.set()
                await _together(
                    self._listen(lock),
                    self._take_facts(pool),
                    self._take_states(pool),
                    self._take_answers(pool),
                    self._renew_certificates(pool),
                    self._sender.send_starts(pool),
                    self._sender.send_others(pool),
                    self._keep_house(pool),
                    self._hand_out_keys(pool),
                    self._watch_payments(pool),
                )

    async def _hold_lock(self, lock: Connection) -> None:
        """Return when this worker may work; stand by while another one does."""
        if not await rows.value(lock, "SELECT pg_try_advisory_lock(%s)", (database.WORKER_LOCK,)):
            self._report("standing by: another worker works")
            await lock.execute("SELECT pg_advisory_lock(%s)", (database.WORKER_LOCK,))

    # --- what comes in ---------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        try:
            match message.name:
                case "facts":
                    self._facts.add(Incoming(message.cabinet, message.payload))
                case "state" | "online":
                    self._states.add(message)
                case "answer":
                    self._answers.add((message.cabinet, messages.decode_answer(message.payload)))
                case "csr":
                    self._requests.add((message.cabinet, messages.decode_csr(message.payload).csr_pem))
                case _:
                    log.warning("%s: a message on the unknown topic %r", message.cabinet, message.name[:64])
        except MessageError as error:
            log.warning("%s: %s cannot be read: %s", message.cabinet, message.name, error)

    async def _take_facts(self, pool: Pool) -> None:
        while True:
            batch = await self._facts.take(MAX_FACT_MESSAGES)
            for each in await retried(lambda batch=batch: ingest.take_in(pool, batch)):  # type: ignore[misc]
                await self._acknowledge(pool, each)

    async def _acknowledge(self, pool: Pool, done: Acknowledgement) -> None:
        """Send the acknowledgement, after the commit. If it is lost, the facts come again, and then this too.

        If facts before those that came are missing, as after a restore from a backup, they are asked for again.
        """
        ack = Ack(cabinet=done.cabinet, epoch=done.epoch, number=done.number)
        if done.again and self._may_ask_again(done.cabinet):
            challenge = await retried(lambda: _challenge_of(pool, done.cabinet))
            ack = msgspec.structs.replace(ack, again=True, challenge=challenge)
        self._sender.send_soon(ack, "ack")

    def _may_ask_again(self, cabinet: str) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._asked_again.get(cabinet, 0.0) + AGAIN_S:
            return False
        self._asked_again[cabinet] = now
        return True

    async def _take_states(self, pool: Pool) -> None:
        while True:
            await _each_written(pool, _write, await self._states.take(MAX_STATES))

    async def _take_answers(self, pool: Pool) -> None:
        while True:
            await _each_written(pool, _answered, await self._answers.take(MAX_ANSWERS))

    async def _renew_certificates(self, pool: Pool) -> None:
        while True:
            [(cabinet, csr_pem)] = await self._requests.take(1)
            try:
                async with pool.connection() as connection:
                    certificate = await self._renew(connection, cabinet, csr_pem)
                await self._sender.deliver(certificate, "certificate", DOWN_EXPIRES_S)
            except Exception as error:  # the cabinet asks again, and its old certificate is still good
                log.warning("%s: its certificate is not renewed: %s", cabinet, error)

    # --- what goes out: see also OrderSender -----------------------------------------------------------------------

    async def _listen(self, lock: Connection) -> None:
        """Wake the sweep for each notification. Ends with StoreError when the lock's connection breaks."""
        try:
            while True:
                async for _ in lock.notifies(timeout=SWEEP_S, stop_after=1):
                    self._sender.wake()
                await lock.execute("SELECT 1")
        except psycopg.OperationalError as error:
            raise LockLost(f"the worker's lock is lost: {' '.join(str(error).split())}") from error

    async def _hand_out_keys(self, pool: Pool) -> None:
        """Give each cabinet that is online the present set of keys for orders."""
        while True:
            try:
                self._keys.refresh()
                async with pool.connection() as connection:
                    cabinets = await order_keys.without(connection, self._keys.public())
                for cabinet in cabinets:
                    self._sender.send_soon(self._keys.message(cabinet), "keys")
            except (CabinetError, psycopg.Error) as error:
                log.warning("keys for orders: %s: again in a minute", error)
            await asyncio.sleep(MINUTE_S)

    async def _watch_payments(self, pool: Pool) -> None:
        accounts = MerchantAccounts(self._config, lambda: SystemClock().wall().unix_ms / 1000)
        try:
            await PaymentWatcher(pool, self._config, accounts).run()
        finally:
            await accounts.http.close()

    async def _keep_house(self, pool: Pool) -> None:
        minutes = 0
        while True:
            try:
                async with pool.connection() as connection:
                    await housekeeping.every_minute(connection)
                    behind = await housekeeping.behind(connection)
                for each in behind:
                    await self._acknowledge(pool, Acknowledgement(*each, again=True))
                if minutes % MINUTES_AN_HOUR == 0:
                    async with pool.connection() as connection:
                        await housekeeping.hourly(connection, self._config.retention)
                minutes += 1
            except psycopg.Error:
                log.exception("upkeep of the database failed: again in a minute")
            await asyncio.sleep(MINUTE_S)


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts, none of which ends by itself, until one fails or the caller is cancelled; then end them all.

    Raises an ExceptionGroup of the failures. A TaskGroup would cancel each part once, and may wait for ever then.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await database.end_listeners(tasks)
    failures = [task.exception() for task in tasks if not task.cancelled()]
    raise BaseExceptionGroup("parts of the worker failed", [each for each in failures if each is not None])


async def _challenge_of(pool: Pool, cabinet: str) -> str:
    async with pool.connection() as connection:
        return await cabinets.challenge_of(connection, cabinet)


async def _write(connection: Connection, batch: Sequence[Message]) -> None:
    """Write connections and states: the newest of each cabinet. A state before an `offline` does not undo it."""
    arrived: dict[str, CabinetState] = {}
    connections: dict[str, CabinetOnline] = {}
    unreadable: dict[str, str] = {}
    for number, message in enumerate(batch, 1):
        if number % YIELD_MESSAGES == 0:
            await asyncio.sleep(0)  # an order must not wait for the end of a batch
        cabinet = message.cabinet
        try:
            if message.name == "state":
                arrived[cabinet] = CabinetState(cabinet, messages.decode_state(message.payload), message.retained)
                continue
            connections[cabinet] = CabinetOnline(cabinet, messages.decode_online(message.payload), message.retained)
        except MessageError as error:
            unreadable[cabinet] = str(error)
            continue
        if cabinet in arrived and not connections[cabinet].online.online:
            arrived[cabinet] = msgspec.structs.replace(arrived[cabinet], retained=True)
    if connections:
        await states.take_connections(connection, list(connections.values()))
    if arrived:
        await states.take_states(connection, list(arrived.values()))
    await states.report_unreadable(connection, unreadable)


async def _answered(connection: Connection, batch: Sequence[tuple[str, Answer]]) -> None:
    await sending.take_answers(connection, batch)
    await states.notify(connection, sorted({cabinet for cabinet, _ in batch}))


async def _each_written(
    pool: Pool, write: Callable[[Connection, Sequence[T]], Awaitable[None]], batch: Sequence[T]
) -> None:
    """Write a batch in one transaction; if that fails, each item by itself: one must not keep the others."""

    async def write_all() -> None:
        async with pool.connection() as connection:
            await write(connection, batch)

    try:
        await retried(write_all)
    except Exception as error:
        if len(batch) == 1:
            log.error("not written: %s: %.200r", error, batch[0])
            return
        for item in batch:
            await _each_written(pool, write, [item])
