"""The worker over a real broker and a real database, with cabinets at message level."""

import asyncio
import contextlib

import pytest
from nacl.signing import SigningKey

from cabinet.service.ports import StartChoice
from cabinet.uplink.orders import key_id
from cabinet_testing import fleet_scene as scene
from cabinet_testing import plain_broker
from fleet import orders
from fleet.config import BrokerSection
from fleet.order_keys import OrderKeys
from fleet.sim.cabinets import ConnectedCabinet
from fleet.store import cabinets, database, usage, wallets
from fleet.store import orders as table
from fleet.worker import Worker

KEY = SigningKey(bytes(range(32)))
KEYS = {key_id(KEY.verify_key): KEY.verify_key}
WITHIN_S = 20.0


@pytest.fixture
def broker():
    if reason := plain_broker.missing():
        pytest.skip(reason)
    with plain_broker.running() as running:
        yield running


async def _no_renewal(connection, cabinet, csr_pem):
    raise NotImplementedError


def worker_of(url, broker):
    config = scene.config(url)
    section = BrokerSection(host=plain_broker.HOST, port=broker.port, ca="", certificate="", key="")
    return Worker(
        type(config)(database=config.database, web=config.web, broker=section), OrderKeys(lambda: [KEY]), _no_renewal
    )


@contextlib.asynccontextmanager
async def working(worker):
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Site:
    """A company with the cabinet c-one, which is simulated and connected."""

    def __init__(self, url, broker):
        self.url = url
        self.cabinet = ConnectedCabinet("c-one", KEYS, plain_broker.HOST, broker.port)

    @contextlib.asynccontextmanager
    async def running(self):
        async with await database.connect(self.url) as connection:
            self.company = await scene.add_company(connection)
            await scene.add_cabinet(connection, self.company, "c-one")
            self.resident = await scene.add_resident(connection, self.company, 1000)
            await connection.execute("UPDATE cabinet SET online = FALSE, state_at = NULL")
        self.cabinet.sim.versions = {"tariffs": 1}
        async with self.cabinet.running() as self.sim:
            yield self

    async def until(self, look):
        """Return what `look(connection)` gives once it is true."""
        async with asyncio.timeout(WITHIN_S):
            async with await database.connect(self.url, autocommit=True) as connection:
                await connection.execute("LISTEN fleet_cabinet")
                while not (found := await look(connection)):
                    async for _ in connection.notifies(timeout=0.2, stop_after=1):
                        pass
                return found

    async def online(self):
        async def is_online(connection):
            row = await cabinets.get(connection, self.company.company_id, "c-one")
            assert row is not None
            return row.online and row.state_at

        await self.until(is_online)

    async def place(self, key="tap-1", outlet=3):
        async with await database.connect(self.url) as connection:
            return await orders.place(
                connection, scene.config().orders, self.company.company_id, self.resident,
                f"C-ONE-{outlet}", StartChoice("full"), key,
            )  # fmt: skip

    async def reaches(self, number, *states):
        async def there(connection):
            row = await table.get(connection, self.company.company_id, number)
            assert row is not None
            return row if row.state in states else None

        return await self.until(there)

    async def money(self):
        async with await database.connect(self.url) as connection:
            assert await wallets.check(connection, self.company.company_id) == []
            return await wallets.wallet(connection, self.company.company_id, self.resident)


def test_an_order_is_placed_sent_answered_charged_settled_and_paid_out(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            order = await site.place()
            await site.reaches(order.number, "accepted", "charging")
            await site.reaches(order.number, "charging")
            site.sim.settle(3, cost_fen=120)
            site.sim.send_facts()
            done = await site.reaches(order.number, "paid_out")
            assert (done.cost_fen, done.refund_fen, done.usage_number) == (120, 380, 1)
            money = await site.money()
            assert (money.balance_fen, money.held_fen, money.debt_fen) == (880, 0, 0)
            async with await database.connect(url) as connection:
                record = await usage.of_order(connection, site.company.company_id, order.number)
                assert record is not None
                assert record.record().total_fen == 120
                assert await usage.log_alarms(connection, site.company.company_id) == []
            async with asyncio.timeout(WITHIN_S):
                while site.sim.acked < 2:
                    await asyncio.sleep(0.01)

    run(body())
