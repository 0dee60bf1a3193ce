"""The worker goes on whatever one cabinet sends, facts of other cabinets are taken, and no fen is made."""

import asyncio
import contextlib
import json

import msgspec
import pytest
from nacl.signing import SigningKey

from cabinet.errors import CabinetError, Refused
from cabinet.service.ports import StartChoice
from cabinet.uplink import messages, packing
from cabinet.uplink.messages import MessageError, OutletReport
from cabinet_testing import fleet_scene as scene
from cabinet_testing.fleet_facts import payload, simulated
from fleet import housekeeping, ingest, orders, plausible, sending, states
from fleet.broker_connection import BrokerConnection, BrokerError, Message
from fleet.order_book import OrderBook
from fleet.order_keys import OrderKeys
from fleet.store import cabinets, database, desired, facts, residents, rows, usage, wallets
from fleet.store import orders as table
from fleet.worker import Worker

LONG = "".join(chr(97 + number * 7919 % 26) + str(number) for number in range(3000))  # compresses badly
WITHIN_S = 5.0


def nested(start: str) -> bytes:
    """Return an object with one more field, which is nested deeper than the decoder goes."""
    return start[:-1].encode() + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def changed(message: msgspec.Struct, **fields: object) -> str:
    return json.dumps(msgspec.to_builtins(message) | fields)


STATE = scene.state_of([OutletReport(1, "free")])
ONLINE = messages.Online(True, boot="boot", epoch="epoch-1")
ANSWER = messages.Answer("F2222-2222", "accepted")
FACTS = messages.Facts("epoch-1", [])
CSR = messages.CertificateRequest("")
EACH = {"state": STATE, "online": ONLINE, "answer": ANSWER, "facts": FACTS, "csr": CSR}

HOSTILE = [
    *((name, nested(changed(message))) for name, message in EACH.items()),
    *((name, messages.encode(message).replace(b'"', b'"\xff', 9)) for name, message in EACH.items()),
    *((name, b"") for name in EACH),
    *((name, packing.pack(b"{" + b" " * 10_000_000)) for name in EACH),
    ("answer", changed(ANSWER, order="\0").encode()),
    ("answer", changed(ANSWER, order="\xff\xff").encode("latin-1")),
    ("answer", changed(ANSWER, session_id=LONG).encode()),
    ("answer", packing.pack(packing.pack(changed(ANSWER, order="\0").encode()))),
    ("state", changed(STATE, feed_mw=2**62).encode()),
    ("state", changed(STATE, facts=-(2**63)).encode()),
    ("state", changed(STATE, challenge="\0").encode()),
    ("state", changed(STATE, versions={"tariffs": 2**40}).encode()),
    ("online", packing.pack(changed(ONLINE, boot="\0").encode())),
    ("online", changed(ONLINE, outlets=[{"number": 1, "code": "X", "max_power_w": -1}]).encode()),
    ("online", changed(ONLINE, outlets=[{"number": 2**40, "code": "X"}]).encode()),
    ("facts", changed(FACTS, epoch="\0").encode()),
    ("", b""),
]


@contextlib.asynccontextmanager
async def taking(url, monkeypatch):
    """Run what a worker does with messages, without a broker; give it, and the cabinets that it acknowledged."""

    async def renew(connection, cabinet, csr_pem):
        raise CabinetError(csr_pem)

    worker = Worker(scene.config(url), OrderKeys(lambda: [SigningKey(bytes(range(32)))]), renew)
    acknowledged = []

    async def acknowledge(pool, done):
        acknowledged.append((done.cabinet, done.number))

    monkeypatch.setattr(worker, "_acknowledge", acknowledge)
    async with database.pool(url, 6) as pool, asyncio.TaskGroup() as group:
        works = (worker._take_facts, worker._take_states, worker._take_answers, worker._renew_certificates)
        tasks = [group.create_task(work(pool)) for work in works]
        yield worker, acknowledged
        for task in tasks:
            task.cancel()


async def prepared(url):
    async with await database.connect(url) as connection:
        company = await scene.add_company(connection)
        for cabinet in ("c-one", "c-two"):
            await scene.add_cabinet(connection, company, cabinet)
        return company, await scene.add_resident(connection, company, 1000)


def test_no_message_of_a_cabinet_ends_the_worker_or_keeps_it_from_the_others(url, run, monkeypatch):
    async def body():
        await prepared(url)
        good = simulated(1, "c-two")
        async with taking(url, monkeypatch) as (worker, acknowledged):
            for name, hostile in HOSTILE:
                worker._on_message(Message("c-one", name, hostile, False))
            worker._on_message(Message("c-two", "facts", payload(good, 1).payload, False))
            worker._on_message(Message("c-two", "state", messages.encode(STATE), False))
            worker._on_message(Message("c-two", "answer", messages.encode(ANSWER), False))
            async with asyncio.timeout(WITHIN_S):
                while ("c-two", 1) not in acknowledged or worker._states.qsize() or worker._answers.qsize():
                    await asyncio.sleep(0.02)

    run(body())


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 2**63}, {"number": 0}, {"outlet": 0}, {"outlet": 2**31}, {"session_id": LONG}, {"session_id": ""},
        {"record_hash": LONG}, {"previous_hash": LONG}, {"electricity_fen": -100}, {"service_fen": -1},
        {"total_fen": 1}, {"energy_mwh": 2**62}, {"energy_mwh": -1}, {"powered_s": -1},
        {"ended": {"unix_ms": 10**17, "trusted": True}}, {"started": {"unix_ms": -(10**15), "trusted": True}},
    ],
)  # fmt: skip
def test_a_record_that_no_charge_can_have_is_set_aside_and_the_next_fact_is_taken(url, run, changes):
    async def body():
        company, _ = await prepared(url)
        sim = simulated(2)
        settled = next(n for n, body in sim.facts.items() if json.loads(body)["kind"] == "session_settled")
        hostile = json.loads(sim.facts[settled])
        hostile["record"] |= changes
        sim.facts[settled] = json.dumps(hostile).encode()
        async with database.pool(url, 2) as pool:
            async with asyncio.timeout(WITHIN_S):
                done = await ingest.take_in(pool, [payload(sim, *sim.facts)])
            assert [each.number for each in done] == [max(sim.facts)]
            async with pool.connection() as connection:
                assert [each.number for each in await facts.set_aside(connection, company.company_id)] == [settled]
                for unit in ("day", "month", "site", "cabinet"):
                    wanted = usage.FleetUsageFilter()
                    found = await usage.sums_by(connection, company.company_id, wanted, unit)
                    assert sum(each.records for each in found) == 1

    run(body())


def test_a_text_beyond_a_limit_of_the_database_is_set_aside_and_is_not_tried_for_ever(url, run, monkeypatch):
    """Simulate that a value of a later version had no limit of its own: PostgreSQL refuses it in an index."""

    async def body():
        company, _ = await prepared(url)
        sim = simulated(1)
        number = next(n for n, body in sim.facts.items() if json.loads(body)["kind"] == "session_settled")
        hostile = json.loads(sim.facts[number])
        hostile["record"]["session_id"] = LONG
        sim.facts[number] = json.dumps(hostile).encode()
        monkeypatch.setattr(plausible, "objection", lambda fact: None)
        async with database.pool(url, 2) as pool:
            async with asyncio.timeout(WITHIN_S):
                done = await ingest.take_in(pool, [payload(sim, *sim.facts), payload(simulated(1, "c-two"), 1)])
            assert {each.cabinet: each.number for each in done} == {"c-one": max(sim.facts), "c-two": 1}
            async with pool.connection() as connection:
                assert [each.number for each in await facts.set_aside(connection, company.company_id)] == [number]

    run(body())


@pytest.mark.parametrize(
    ("outlet", "electricity_fen", "sent", "reason"),
    [(3, 501, True, "hold"), (4, 100, True, "outlet"), (3, 100, False, "never sent"), (3, -100, True, "electricity")],
)
def test_a_bill_that_is_not_the_orders_moves_no_money(url, run, outlet, electricity_fen, sent, reason):
    async def body():
        company, resident = await prepared(url)
        async with database.pool(url, 2) as pool:
            async with pool.connection() as connection:
                order = await orders.place(
                    connection, scene.config(url).orders, company.company_id, resident, scene.code_of("c-one", 3),
                    StartChoice("full"), "tap",
                )  # fmt: skip
            async with pool.connection() as connection:
                if sent:
                    await sending.to_start(connection)
                else:
                    book = await OrderBook.load(connection, [order.number])
                    book.refuse(order.number, "cabinet_offline")
                    await book.write(connection)
            before = await money(pool, company)
            sim = simulated(1)
            number = next(n for n, body in sim.facts.items() if json.loads(body)["kind"] == "session_settled")
            bill = json.loads(sim.facts[number]) | {"order": order.number}
            bill["record"] |= {"outlet": outlet, "electricity_fen": electricity_fen, "service_fen": 0}
            bill["record"]["total_fen"] = electricity_fen
            sim.facts[number] = json.dumps(bill).encode()
            await ingest.take_in(pool, [payload(sim, *sim.facts)])
            assert await money(pool, company) == before
            async with pool.connection() as connection:
                [found] = await facts.set_aside(connection, company.company_id)
                assert reason in found.refused
                assert await wallets.check(connection, company.company_id) == []

    run(body())


async def money(pool, company):
    async with pool.connection() as connection:
        found = await wallets.balances(connection, company.company_id)
    assert sum(found.values()) == 0
    return found


def test_an_order_that_cannot_be_sent_is_given_back_without_a_broker(url, run):
    async def body():
        company, resident = await prepared(url)
        async with await database.connect(url) as connection:
            order = await orders.place(
                connection, scene.config(url).orders, company.company_id, resident, scene.code_of("c-one", 3),
                StartChoice("full"), "tap",
            )  # fmt: skip
            assert await sending.overdue(connection, 72) == []
            await connection.execute("UPDATE charge_order SET made = now() - interval '31 s'")
            assert await sending.overdue(connection, 72) == [order.number]
            await sending.give_back(connection, [order.number], 72)
            after = await table.get(connection, company.company_id, order.number)
            assert after is not None
            assert after.state == "given_back"
            assert (await wallets.wallet(connection, company.company_id, resident)).balance_fen == 1000

    run(body())


def test_a_resident_whose_free_charge_runs_is_not_erased(url, run):
    async def body():
        company, _ = await prepared(url)
        async with await database.connect(url) as connection:
            resident = await scene.add_resident(connection, company, 0)
            await connection.execute(
                "INSERT INTO charge_order (number, company_id, resident_id, request_key, cabinet, outlet, code, choice,"
                " choice_amount, tariff_version, held_fen, state) VALUES ('F2222', %s, %s, 'tap', 'c-one', 1, 'C-1',"
                " 'full', 0, '1', 0, 'charging')",
                (company.company_id, resident),
            )
            with pytest.raises(Refused) as refused:
                await residents.erase(connection, company.company_id, resident)
            assert refused.value.code == "charge_running"

    run(body())


def test_a_value_that_fits_into_no_message_is_refused_and_the_worker_keeps_its_connection(url, run):
    async def body():
        company, _ = await prepared(url)
        files = [{"file": "# 夜间电价" * 3000}] * 2
        async with await database.connect(url) as connection:
            with pytest.raises(desired.ValueTooLarge):
                await desired.set_value(connection, company.company_id, "c-one", "tariffs", files)
        connection_to_broker = BrokerConnection(scene.config(url).broker, "fleet-worker", lambda message: None)
        with pytest.raises(BrokerError, match="bytes"):
            await connection_to_broker.send("cab/c-one/down/desired", b"x" * 65_537, 60)

    run(body())


def test_money_that_is_paid_out_during_a_tap_is_no_money_and_no_order(url, run, monkeypatch):
    async def body():
        company, resident = await prepared(url)
        async with await database.connect(url) as connection:
            await wallets.pay_out(connection, company.company_id, resident, 1000, "out")

        async def as_before(*_):
            return wallets.Wallet(1000, 0, 0)

        monkeypatch.setattr(wallets, "wallet", as_before)
        async with database.pool(url, 2) as pool:
            with pytest.raises(Refused) as refused:
                async with pool.connection() as connection:
                    await orders.place(
                        connection, scene.config(url).orders, company.company_id, resident, scene.code_of("c-one", 3),
                        StartChoice("full"), "tap",
                    )  # fmt: skip
            assert refused.value.code == "no_money"
            async with pool.connection() as connection:
                assert await table.of_resident(connection, company.company_id, resident) == []
                assert await wallets.check(connection, company.company_id) == []

    run(body())


def test_upkeep_goes_on_when_telemetry_of_a_month_came_before_its_partition(url, run):
    async def body():
        async with await database.connect(url) as connection:
            today = await rows.value(connection, "SELECT current_date")
            await connection.execute(
                "INSERT INTO telemetry (cabinet, at, power_mw, energy_mwh, temperature_mc) VALUES"
                " ('c-one', now(), '{}', '{}', '{}')"
            )
            await housekeeping.make_partitions(connection, today)
            await housekeeping.make_partitions(connection, today)
            found = await rows.value(
                connection, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'telemetry'::regclass"
            )
            assert found == 3, "the default one, and the next two months"

    run(body())


def test_a_backslash_u_that_is_text_is_no_nul():
    note = "\\u0000"
    state = scene.state_of([OutletReport(1, "needs_service", note=note)])
    assert messages.decode_state(messages.encode(state)).outlets[0].note == note
    with pytest.raises(MessageError):
        messages.decode_state(changed(STATE, boot="\\\0").encode())


def test_the_codes_of_a_revoked_cabinet_go_to_the_one_in_its_place_but_to_no_other_company(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company, other = await scene.add_company(connection), await scene.add_company(connection)
            await scene.add_cabinet(connection, company, "c-old", outlets=1)
            await scene.add_cabinet(connection, company, "c-new", outlets=0)
            await scene.add_cabinet(connection, other, "c-foreign", outlets=0)
            await cabinets.revoke(connection, company.company_id, "c-old")
            code = scene.code_of("c-old", 1)
            stated = messages.Online(True, boot="b", epoch="e", outlets=[messages.OutletPlace(1, code)])
            await states.take_connections(connection, [states.CabinetOnline("c-foreign", stated)])
            assert await cabinets.by_code(connection, code) is None
            await states.take_connections(connection, [states.CabinetOnline("c-new", stated)])
            found = await cabinets.by_code(connection, code)
            assert found is not None
            assert found.cabinet == "c-new"

    run(body())


def test_an_answer_of_a_revoked_cabinet_is_none(url, run):
    """Its open connection is gone within 10 s, which is time for many answers."""

    async def body():
        company, resident = await prepared(url)
        async with await database.connect(url) as connection:
            rules = scene.config().orders
            placed = await orders.place(
                connection, rules, company.company_id, resident, "C-ONE-3", StartChoice("full"), "tap"
            )
            await sending.to_start(connection)
            answer = messages.Answer(placed.number, "accepted", session_id="s", epoch="epoch-1")
            await connection.execute("UPDATE cabinet SET revoked = now() WHERE id = 'c-one'")
            await sending.take_answers(connection, [("c-one", answer)])
            row = await table.get(connection, company.company_id, placed.number)
            assert row is not None
            assert (row.state, row.session_id) == ("sent", None)
            await connection.execute("UPDATE cabinet SET revoked = NULL WHERE id = 'c-one'")
            await sending.take_answers(connection, [("c-one", answer)])
            row = await table.get(connection, company.company_id, placed.number)
            assert row is not None
            assert row.state == "accepted"

    run(body())
