"""The worker over a real broker and a real database, with cabinets at message level."""

import asyncio
import contextlib

from nacl.signing import SigningKey

from cabinet.service.ports import StartChoice
from cabinet.uplink.orders import key_id
from cabinet_testing import fleet_scene as scene
from cabinet_testing import plain_broker
from fleet import orders
from fleet.config import BrokerSection
from fleet.order_keys import OrderKeys
from fleet.sim.cabinets import ConnectedCabinet
from fleet.store import cabinets, database, desired, rows, usage, wallets
from fleet.store import orders as table
from fleet.worker import Worker

KEY = SigningKey(bytes(range(32)))
KEYS = {key_id(KEY.verify_key): KEY.verify_key}
WITHIN_S = 20.0


async def _no_renewal(connection, cabinet, csr_pem):
    raise NotImplementedError


def worker_of(url, broker, report=lambda _: None):
    config = scene.config(url)
    section = BrokerSection(host=plain_broker.HOST, port=broker.port, ca="", certificate="", key="")
    whole = type(config)(database=config.database, web=config.web, broker=section)
    return Worker(whole, OrderKeys(lambda: [KEY]), _no_renewal, report)


@contextlib.asynccontextmanager
async def working(worker):
    task = worker.task = asyncio.create_task(worker.run())
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
    async def prepared(self):
        async with await database.connect(self.url) as connection:
            self.company = await scene.add_company(connection)
            await scene.add_cabinet(connection, self.company, "c-one")
            self.resident = await scene.add_resident(connection, self.company, 1000)
            await connection.execute("UPDATE cabinet SET online = FALSE, state_at = NULL")
        self.cabinet.sim.versions = {"tariffs": 1}
        yield self

    @contextlib.asynccontextmanager
    async def running(self):
        async with self.prepared(), self.cabinet.running() as self.sim:
            yield self

    async def execute(self, sql):
        async with await database.connect(self.url) as connection:
            await connection.execute(sql)

    async def order(self, number):
        async with await database.connect(self.url) as connection:
            return await table.get(connection, self.company.company_id, number)

    async def stop(self, number):
        async with await database.connect(self.url) as connection:
            return await orders.want_stop(connection, self.company.company_id, number, resident_id=self.resident)

    async def received(self):
        async with asyncio.timeout(WITHIN_S):
            while not self.sim.orders_received:
                await asyncio.sleep(0.01)

    async def acknowledged(self):
        async with asyncio.timeout(WITHIN_S):
            while self.sim.acked < self.sim.number:
                await asyncio.sleep(0.01)

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
            await site.acknowledged()

    run(body())


def test_an_order_that_the_cabinet_refuses_is_given_back_with_its_code(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            site.sim.refuse_with = "fault_present"
            order = await site.place()
            done = await site.reaches(order.number, "given_back")
            assert (done.refusal, done.refund_fen) == ("fault_present", 500)
            assert (await site.money()).balance_fen == 1000

    run(body())


def test_an_order_for_which_the_broker_has_no_subscriber_is_refused_at_once(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.prepared(), working(worker_of(url, broker)):
            await site.execute("UPDATE cabinet SET online = TRUE, state_at = now()")
            order = await site.place()
            done = await site.reaches(order.number, "given_back")
            assert done.refusal == "cabinet_offline"
            assert (await site.money()).balance_fen == 1000

    run(body())


def test_an_order_without_an_answer_is_asked_for_and_never_sent_again(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            site.sim.deaf = True
            order = await site.place()
            await site.reaches(order.number, "sent")
            await site.execute("UPDATE charge_order SET sent = sent - interval '16 s'")
            await site.until(lambda c: rows.value(c, "SELECT asked FROM charge_order"))
            assert (await site.order(order.number)).state == "sent", "the cabinet may get it yet"
            await site.execute("UPDATE charge_order SET not_after = now() - interval '1 s', asked = NULL")
            done = await site.reaches(order.number, "given_back")
            assert done.refusal == "no_answer"
            assert site.sim.orders_received <= 1
            assert (await site.money()).balance_fen == 1000

    run(body())


def test_an_answer_that_was_lost_is_made_good_by_the_question(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            site.sim.cut = True
            order = await site.place()
            await site.reaches(order.number, "sent")
            await site.received()
            site.sim.cut = False
            await site.execute("UPDATE charge_order SET sent = sent - interval '16 s'")
            await site.reaches(order.number, "accepted")
            assert site.sim.orders_received == 1

    run(body())


def test_a_dead_order_gives_the_money_back_and_its_late_record_is_booked_as_a_debt(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            site.sim.cut = True
            order = await site.place()
            await site.reaches(order.number, "sent")
            await site.received()
            await site.execute("UPDATE charge_order SET not_after = now() - interval '31 s'")
            await site.reaches(order.number, "given_back")
            assert (await site.money()).balance_fen == 1000
            site.sim.cut = False
            site.sim.send_facts(again=True)  # the link is back: the charge runs, is stopped, and its bill comes
            done = await site.reaches(order.number, "paid_out")
            assert (done.cost_fen, done.debt_fen) == (100, 100)
            assert done.stop_wanted is not None
            money = await site.money()
            assert (money.balance_fen, money.debt_fen) == (900, 0), "the debt is paid from the wallet at once"

    run(body())


def test_a_stop_ends_the_charge_and_one_that_was_not_sent_yet_costs_nothing(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running():
            async with working(worker_of(url, broker)):
                await site.online()
                order = await site.place()
                await site.reaches(order.number, "charging")
                await site.stop(order.number)
                done = await site.reaches(order.number, "paid_out")
                assert done.cost_fen == 100
            late = await site.place("tap-2")  # no worker: it is held
            stopped = await site.stop(late.number)
            assert (stopped.state, stopped.refund_fen) == ("given_back", 500)
            assert (await site.money()).balance_fen == 900

    run(body())


def test_a_worker_killed_between_commit_and_acknowledgement_doubles_nothing(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running():
            killed = worker_of(url, broker)

            async def killed_here(pool, done):
                """Killed each time before it could."""

            killed._acknowledge = killed_here
            async with working(killed):
                await site.online()
                order = await site.place()
                await site.reaches(order.number, "charging")
                site.sim.settle(3, cost_fen=120)
                site.sim.send_facts()
                await site.reaches(order.number, "paid_out")
                assert site.sim.acked == 0
            async with working(worker_of(url, broker)):
                site.sim.send_facts(again=True)
                await site.acknowledged()
            assert (await site.money()).balance_fen == 880
            steps = await site.until(lambda c: rows.value(c, "SELECT array_agg(step ORDER BY id) FROM order_step"))
            assert steps == ["hold", "send", "accept", "start", "settle", "pay_out"] or steps == [
                "hold", "send", "start", "settle", "pay_out"]  # fmt: skip

    run(body())


def test_a_worker_killed_between_the_commit_of_sent_and_the_broker_sends_nothing_twice(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running():
            killed = worker_of(url, broker)

            async def killed_here(pool, order):
                return

            killed._sender._send_start = killed_here
            async with working(killed):
                await site.online()
                order = await site.place()
                await site.reaches(order.number, "sent")
            async with working(worker_of(url, broker)):
                await site.execute("UPDATE charge_order SET not_after = now() - interval '31 s'")
                await site.reaches(order.number, "given_back")
            assert site.sim.orders_received == 0
            assert (await site.money()).balance_fen == 1000

    run(body())


def test_a_second_worker_stands_by_and_takes_over(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running():
            said: asyncio.Queue[str] = asyncio.Queue()
            second = worker_of(url, broker, said.put_nowait)
            async with contextlib.AsyncExitStack() as stack:
                first = await stack.enter_async_context(working(worker_of(url, broker)))
                await asyncio.wait_for(first.working.wait(), WITHIN_S)
                await stack.enter_async_context(working(second))
                assert (await asyncio.wait_for(said.get(), WITHIN_S)).startswith("standing by")
                await site.online()
                first.task.cancel()
                assert await asyncio.wait_for(said.get(), WITHIN_S) == "working"
                order = await site.place()
                await site.reaches(order.number, "charging")

    run(body())


def test_a_cabinet_with_another_store_does_not_know_its_charges_and_their_money_goes_back(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            order = await site.place()
            await site.reaches(order.number, "charging")
            site.sim.epoch, site.sim.boot = "epoch-2", "boot-2"  # a new SD card
            site.sim.sessions.clear()
            site.sim.answers.clear()
            site.sim.online()
            done = await site.reaches(order.number, "given_back")
            assert done.refusal == "no_record"
            assert (await site.money()).balance_fen == 1000

    run(body())


def test_desired_things_and_looks_reach_the_cabinet_and_are_reported_back(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            async with await database.connect(url) as connection:
                await desired.set_value(connection, site.company.company_id, "c-one", "public_url", "https://a.example")
                await cabinets.look(connection, site.company.company_id, "c-one")

            async def in_force(connection):
                row = await desired.get(connection, site.company.company_id, "c-one", "public_url")
                assert row is not None
                return row.in_force and row.applied_value == "https://a.example"

            await site.until(in_force)
            async with asyncio.timeout(WITHIN_S):
                while not site.sim.looks:
                    await asyncio.sleep(0.01)

    run(body())


def test_rubbish_on_every_topic_stops_nothing(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running(), working(worker_of(url, broker)):
            await site.online()
            for name in ("online", "state", "facts", "answer", "csr", "unheard-of"):
                for rubbish in (b"", b"{", b"\xff", b"[1]", b'{"x":"\\u0000"}', b"7" * 5000):
                    site.cabinet._publish(name, rubbish, False)
            order = await site.place()
            await site.reaches(order.number, "charging")

    run(body())


def test_a_fleet_restored_from_a_backup_gets_everything_again(url, broker, run):
    async def body():
        site = Site(url, broker)
        async with site.running():
            async with working(worker_of(url, broker)):
                await site.online()
                site.sim.start(1)
                site.sim.settle(1)
                site.sim.send_facts()
                await site.acknowledged()
            for name in ("fact", "fact_position"):  # what was committed since the backup is gone
                await site.execute(f"DELETE FROM {name}")
            await site.execute("ALTER TABLE usage_record DISABLE TRIGGER usage_stays")
            await site.execute("DELETE FROM usage_record")
            async with working(worker_of(url, broker)):
                site.sim.start(2)
                site.sim.settle(2)
                site.sim.send_facts()

                async def everything(connection):
                    return await rows.value(connection, "SELECT count(*) = 4 FROM fact") and await rows.value(
                        connection, "SELECT count(*) = 2 FROM usage_record"
                    )

                await site.until(everything)
                await site.acknowledged()

    run(body())
