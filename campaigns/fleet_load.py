"""Residents of a fleet who place orders and stop them, and cabinets at message level, in an event loop of their own.

Residents make the calls of the web pages directly on the database. A call that failed is repeated with the same key, as
a phone does, so it is one order in any case.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psycopg
from nacl.signing import VerifyKey

from cabinet.errors import Refused, StoreError
from cabinet.service.ports import StartChoice
from cabinet.uplink import orders as signatures
from cabinet_testing import fleet_broker
from cabinet_testing.fleet_broker import FleetBroker
from fleet import orders
from fleet.config import FleetConfig
from fleet.order_table import ENDS
from fleet.sim.cabinets import ConnectedCabinet
from fleet.store import database, residents, wallets
from fleet.store import orders as table
from fleet.store.database import Pool

RETRY_S = 0.3  # after a failure of the database
MONEY_FEN = 100_000
SHORT_S, LONG_S = 0.5, 6.0  # pauses between a resident's actions, and length of a charge


class FleetLoad:
    """`start`, then `calm` (no new orders, everything is stopped), then `stop`. `refusals` counts what was refused."""

    def __init__(self, config: FleetConfig, company_id: int, codes: list[str], light: list[ConnectedCabinet],
                 chance: random.Random) -> None:  # fmt: skip
        """`codes`: printed codes at which residents charge, one resident each."""
        self.refusals: dict[str, int] = {}
        self.placed: set[str] = set()
        self.failures = 0  # calls that found no database
        self.light = light
        self._config, self._company_id, self._codes, self._chance = config, company_id, codes, chance
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._calm = False
        self._stack = contextlib.AsyncExitStack()

    def start(self) -> None:
        self._thread.start()
        self._call(self._start())

    def calm(self) -> None:
        """Place no more orders; residents go on to stop theirs."""
        self._calm = True

    def stop(self) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.result(120)

    async def _start(self) -> None:
        pool = await self._stack.enter_async_context(database.pool(self._config.database.url, 10))
        for cabinet in self.light:
            await self._stack.enter_async_context(cabinet.running())
            self._tasks.append(asyncio.create_task(self._end_charges(cabinet)))
        for number, code in enumerate(self._codes):
            async with pool.connection() as connection:
                resident_id = await residents.add(connection, self._company_id, phone=f"137{number:08}")
                await wallets.top_up(connection, self._company_id, resident_id, MONEY_FEN, f"campaign-{number}")
            self._tasks.append(asyncio.create_task(self._live(pool, resident_id, code)))

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def _end_charges(self, cabinet: ConnectedCabinet) -> None:
        """End charges of a light cabinet by themselves, as a full battery does."""
        while True:
            await asyncio.sleep(self._chance.uniform(SHORT_S, LONG_S))
            sim = cabinet.sim
            if sim.sessions:
                sim.settle(self._chance.choice(sorted(sim.sessions)), cost_fen=self._chance.randint(0, 200))
                sim.send_facts()

    async def _live(self, pool: Pool, resident_id: int, code: str) -> None:
        turn = 0
        while True:
            await asyncio.sleep(self._chance.uniform(SHORT_S, LONG_S))
            if self._calm:
                continue
            turn += 1
            number = await self._place(pool, resident_id, code, f"{resident_id}-{turn}")
            if number is not None:
                self.placed.add(number)
                await asyncio.sleep(self._chance.uniform(SHORT_S, LONG_S))
                await self._until_over(pool, resident_id, number)

    async def _place(self, pool: Pool, resident_id: int, code: str, key: str) -> str | None:
        while True:
            try:
                async with pool.connection(timeout=5) as connection:
                    row = await orders.place(
                        connection, self._config.orders, self._company_id, resident_id, code, StartChoice("full"), key
                    )
                return row.number
            except Refused as refusal:
                self.refusals[refusal.code] = self.refusals.get(refusal.code, 0) + 1
                return None
            except (psycopg.Error, StoreError):
                self.failures += 1
                await asyncio.sleep(RETRY_S)

    async def _until_over(self, pool: Pool, resident_id: int, number: str) -> None:
        """Stop the charge, and wait until the order has its end state."""
        while True:
            try:
                async with pool.connection(timeout=5) as connection:
                    row = await table.get(connection, self._company_id, number)
                    if row is None or row.state in ENDS:
                        return
                    await orders.want_stop(connection, self._company_id, number, resident_id=resident_id)
            except Refused:
                return
            except (psycopg.Error, StoreError):
                self.failures += 1
            await asyncio.sleep(self._chance.uniform(SHORT_S, 2.0))


def light_cabinets(broker: FleetBroker, names: list[str], port: int, folder: Path) -> list[ConnectedCabinet]:
    """Return cabinets at message level with certificates of the broker's authority, which dial `port` on loopback."""
    keys: dict[str, VerifyKey] = {
        signatures.key_id(key.verify_key): key.verify_key for key in broker.trust.signing_keys()
    }
    found = []
    for name in names:
        tls = broker.client_tls(name, folder)
        found.append(ConnectedCabinet(name, keys, fleet_broker.HOST, port, tls=tls))
    return found
