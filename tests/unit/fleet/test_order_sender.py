"""Sending of orders: nothing else delays them, and one that fails never stops the others nor comes again at once."""

import asyncio
import contextlib
from typing import Any, cast

import pytest
from nacl.signing import SigningKey

from cabinet.service.ports import StartChoice
from cabinet.uplink.orders import key_id, open_signed, sign
from cabinet_testing import fleet_scene as scene
from fleet import orders, sending
from fleet.order_keys import OrderKeys
from fleet.order_sender import OrderSender
from fleet.store import database, rows, usage, wallets
from fleet.store import orders as table

KEY = SigningKey(bytes(range(32)))
WITHIN_S = 20.0


class KeptBroker:
    """Implements what the sender needs of `BrokerConnection`; keeps what is sent."""

    def __init__(self):
        self.connected = asyncio.Event()
        self.connected.set()
        self.sent: asyncio.Queue[Any] = asyncio.Queue()

    async def send(self, topic, payload, expires_s):
        self.sent.put_nowait(open_signed(payload, {key_id(KEY.verify_key): KEY.verify_key}, topic.split("/")[1]))
        return "taken"

    async def next(self):
        async with asyncio.timeout(WITHIN_S):
            return await self.sent.get()


class Sending:
    """A company with two cabinets and a resident for each, and a sender."""

    def __init__(self, pool):
        self.pool = pool
        self.broker = KeptBroker()
        self.sender = OrderSender(cast(Any, self.broker), OrderKeys(lambda: [KEY]), 72)

    async def build(self):
        async with self.pool.connection() as connection:
            self.company = await scene.add_company(connection)
            for cabinet in ("c-one", "c-two"):
                await scene.add_cabinet(connection, self.company, cabinet)
            self.residents = [await scene.add_resident(connection, self.company, 1000) for _ in range(2)]

    async def place_both(self):
        return [
            await self.place(resident, cabinet)
            for resident, cabinet in zip(self.residents, ("c-one", "c-two"), strict=True)
        ]

    async def place(self, resident, cabinet):
        async with self.pool.connection() as connection:
            return (
                await orders.place(
                    connection, scene.config().orders, self.company.company_id, resident, scene.code_of(cabinet, 3),
                    StartChoice("full"), "tap",
                )
            ).number  # fmt: skip

    async def execute(self, sql, *parameters):
        async with self.pool.connection() as connection:
            await connection.execute(sql, parameters)

    async def states(self, numbers):
        async with self.pool.connection() as connection:
            found = [await table.get(connection, self.company.company_id, number) for number in numbers]
            return [row.state for row in found if row is not None]

    async def alarms(self):
        async with self.pool.connection() as connection:
            return await usage.log_alarms(connection, self.company.company_id)

    async def balances(self):
        async with self.pool.connection() as connection:
            company = self.company.company_id
            assert await wallets.check(connection, company) == []
            return [(await wallets.wallet(connection, company, each)).balance_fen for each in self.residents]


@contextlib.asynccontextmanager
async def made(url):
    async with database.pool(url, 8) as pool:
        built = Sending(pool)
        await built.build()
        yield built


def test_an_order_that_cannot_be_signed_is_set_aside_and_the_other_is_sent(url, run, monkeypatch):
    async def body():
        async with made(url) as at:
            bad, good = await at.place_both()

            def broken(key, message):
                if getattr(message, "order", None) == bad:
                    raise ValueError("a value that nothing can encode")
                return sign(key, message)

            monkeypatch.setattr("fleet.order_sender.orders.sign", broken)
            assert not await at.sender._start_due(at.pool)
            assert (await at.broker.next()).order == good
            await asyncio.gather(*at.sender._sending)
            assert await at.states([bad, good]) == ["given_back", "sent"]
            assert await at.balances() == [1000, 500]
            [alarm] = await at.alarms()
            assert (alarm.cabinet, alarm.kind, alarm.number) == ("c-one", "order_set_aside", 3)
            assert f"order {bad}: ValueError: a value that nothing can encode" in alarm.detail
            assert not await at.sender._start_due(at.pool)
            assert at.broker.sent.empty(), "neither of them is sent again"

    run(body())


def test_an_order_that_cannot_be_claimed_does_not_keep_the_others(url, run):
    async def body():
        async with made(url) as at:
            bad, good = await at.place_both()
            await at.execute(
                "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$"
            )
            await at.execute(
                "CREATE TRIGGER poison BEFORE INSERT ON order_step FOR EACH ROW"
                f" WHEN (NEW.order_number = '{bad}' AND NEW.step = 'send') EXECUTE FUNCTION poison()"
            )
            await at.sender._start_due(at.pool)
            assert (await at.broker.next()).order == good
            assert await at.states([bad, good]) == ["given_back", "sent"]
            assert await at.balances() == [1000, 500]
            assert ["poisoned" in alarm.detail for alarm in await at.alarms()] == [True]

    run(body())


def test_an_order_whose_end_fails_is_tried_again_an_hour_later_and_the_others_end_at_once(url, run):
    async def body():
        async with made(url) as at:
            bad, good = await at.place_both()
            await at.execute("UPDATE charge_order SET made = made - interval '31 s'")
            await at.execute(
                "INSERT INTO account SELECT id, new.name, 0 FROM company, (VALUES ('cash'), ('electricity'))"
                " AS new (name)"
                " ON CONFLICT DO NOTHING"
            )
            await at.execute(  # the key of its release is another transaction's
                "WITH entry AS (INSERT INTO ledger_transaction (company_id, key, kind) SELECT company_id,"
                " 'release:' || number, 'top_up' FROM charge_order WHERE number = %s RETURNING id, company_id)"
                " INSERT INTO posting SELECT id, company_id, line.name, fen FROM entry, (VALUES ('cash', 1),"
                " ('electricity', -1)) AS line (name, fen)",
                bad,
            )
            await at.sender._end_overdue(at.pool)
            assert await at.states([bad, good]) == ["held", "given_back"]
            [alarm] = await at.alarms()
            assert bad in alarm.detail
            async with at.pool.connection() as connection:
                assert await sending.overdue(connection, 72) == []
                assert await sending.held(connection) == []
                await connection.execute("UPDATE order_set_aside SET end_failed = end_failed - interval '61 min'")
                assert await sending.overdue(connection, 72) == [bad]

    run(body())


@pytest.mark.parametrize(
    ("busy", "waiting"),
    [("LOCK TABLE viewer IN ACCESS EXCLUSIVE MODE", 1), ("UPDATE cabinet SET heard = now()", 0)],
    ids=["a sweep waits for a table", "states are being written"],
)
def test_an_order_is_sent_while_everything_else_waits(url, run, busy, waiting):
    async def body():
        async with made(url) as at, await database.connect(url) as other:
            await other.execute(busy)
            tasks = [asyncio.create_task(work(at.pool)) for work in (at.sender.send_starts, at.sender.send_others)]
            at.sender.wake()
            async with asyncio.timeout(WITHIN_S):
                while await rows.value(other, "SELECT count(*) FROM pg_locks WHERE NOT granted") < waiting:
                    await asyncio.sleep(0.01)
            number = await at.place(at.residents[0], "c-one")
            at.sender.wake()
            assert (await at.broker.next()).order == number
            assert await rows.value(other, "SELECT state FROM charge_order WHERE number = %s", (number,)) == "sent"
            await other.rollback()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(body())
