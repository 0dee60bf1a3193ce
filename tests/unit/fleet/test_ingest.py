"""Facts are applied exactly once and in order, whatever order they come in, and are acknowledged after the commit."""

import base64
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cabinet import usage_chain
from cabinet.model import Fault
from cabinet.records import Closing, SignedClosing
from cabinet.uplink import messages
from cabinet.uplink.messages import MonthClosed, OrderRefused, SessionSettled, TripReport
from cabinet_testing import fleet_scene as scene
from cabinet_testing.fleet_facts import WALL, payload, simulated
from fleet import housekeeping, ingest, states, verify
from fleet.ingest import Incoming
from fleet.sim.cabinets import SimulatedCabinet
from fleet.states import CabinetState
from fleet.store import database, facts, rows, usage
from fleet.verify import VerifiedLogs


async def prepared(connection):
    company = await scene.add_company(connection)
    await scene.add_cabinet(connection, company, "c-one")
    await scene.add_cabinet(connection, company, "c-two")
    return company


async def tables(connection):
    """Return everything that facts write, without times and ids."""
    return {
        table: sorted(map(repr, await (await connection.execute(f"SELECT {columns} FROM {table}".encode())).fetchall()))
        for table, columns in {
            "fact": "cabinet, epoch, number, kind, body, refused",
            "fact_position": "cabinet, epoch, number, usage_number, usage_hash",
            "usage_record": "cabinet, epoch, number, session_id, order_number, body, record_hash",
            "alarm": "cabinet, outlet, fault, raised_unix_ms, cleared_unix_ms",
            "trip": "cabinet, epoch, fact_number, outlet, fault",
            "log_alarm": "cabinet, epoch, kind, number, detail",
        }.items()
    }


async def in_order(url, sims):
    async with await database.connect(url) as connection:
        await prepared(connection)
    async with database.pool(url, 2) as pool:
        for sim in sims:
            for number in sorted(sim.facts):
                await ingest.take_in(pool, [payload(sim, number)])
    async with await database.connect(url) as connection:
        return await tables(connection)


def test_facts_in_order_are_applied_and_the_log_is_mirrored_without_an_alarm(url, run):
    async def body():
        sim = simulated()
        found = await in_order(url, [sim])
        assert len(found["usage_record"]) == 4
        assert found["log_alarm"] == []
        assert found["fact_position"] == [repr(("c-one", "epoch-1", 13, 4, sim._head))]
        assert len(found["trip"]) == 1

    run(body())


@settings(
    max_examples=25, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data())
def test_any_order_with_duplicates_holes_and_restarts_gives_the_same_tables_and_no_acknowledgement_runs_ahead(
    postgres, run, data
):
    sims = [simulated(2), simulated(2, "c-two")]
    everything = [(sim, number) for sim in sims for number in sim.facts]
    order = data.draw(st.permutations(everything))
    again = data.draw(st.lists(st.sampled_from(everything), max_size=8))
    arriving = order[: len(order) // 2] + again + order[len(order) // 2 :]
    cuts = data.draw(st.lists(st.integers(1, len(arriving)), max_size=6).map(sorted))
    batches = [arriving[start:end] for start, end in zip([0, *cuts], [*cuts, len(arriving)], strict=True)]

    async def body(url):
        async with await database.connect(url) as connection:
            await prepared(connection)
        for batch in batches:
            async with database.pool(url, 2) as pool:  # each batch is another life of the worker
                acknowledged = await ingest.take_in(pool, [payload(sim, number) for sim, number in batch])
            async with await database.connect(url) as connection:
                for cabinet, epoch, number, _ in acknowledged:
                    cursor = await connection.execute(
                        "SELECT count(*) FROM fact WHERE cabinet = %s AND epoch = %s AND number <= %s",
                        (cabinet, epoch, number),
                    )
                    assert (await cursor.fetchone()) == (number,), "all facts up to the acknowledged one are committed"
        async with await database.connect(url) as connection:
            return await tables(connection)

    one, two = postgres.fresh(), postgres.fresh()
    try:
        assert run(body(one)) == run(in_order(two, sims))
    finally:
        postgres.drop(one)
        postgres.drop(two)


def test_facts_after_a_hole_wait_for_it_and_are_applied_when_it_is_filled(url, run):
    async def body():
        sim = simulated()
        async with await database.connect(url) as connection:
            await prepared(connection)
        async with database.pool(url, 2) as pool:
            assert await ingest.take_in(pool, [payload(sim, 1, 2)]) == [("c-one", "epoch-1", 2, False)]
            assert await ingest.take_in(pool, [payload(sim, 4, 5, 6)]) == [("c-one", "epoch-1", 2, True)]
            assert await ingest.take_in(pool, [payload(sim, 3)]) == [("c-one", "epoch-1", 6, False)]
            assert await ingest.take_in(pool, [payload(sim, 6)]) == [("c-one", "epoch-1", 6, False)], (
                "its answer was lost"
            )

    run(body())


BAD = {
    "no object": b"17",
    "unknown kind": b'{"kind":"invented","x":1}',
    "bad value": b'{"kind":"order_refused","order":17}',
    "nul": b'{"kind":"order_refused","order":"A\\u0000BCDEFGH","code":"x"}',
    "too large": json.dumps(
        {"kind": "trip", "outlet": 2**70, "fault": "overpower", "at": {"unix_ms": 1, "trusted": True}}
    ).encode(),
    "beyond bigint": json.dumps(
        {"kind": "trip", "outlet": 1, "fault": "overpower", "at": {"unix_ms": 2**63, "trusted": True}}
    ).encode(),
    "beyond int": json.dumps(
        {"kind": "trip", "outlet": 2**40, "fault": "overpower", "at": {"unix_ms": 1, "trusted": True}}
    ).encode(),
    "unknown order": messages.encode_fact(OrderRefused("FNOT-HERE-AT-ALL", "no_money")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_fact_that_cannot_be_taken_up_is_set_aside_and_stops_nothing(url, run, bad):
    async def body():
        sim = simulated(1)
        sim._number += 1
        sim.facts[sim._number] = bad
        sim.start(4)
        sim.settle(4)
        async with await database.connect(url) as connection:
            company = await prepared(connection)
        async with database.pool(url, 2) as pool:
            last = max(sim.facts)
            done = await ingest.take_in(
                pool, [payload(sim, *range(1, last + 1)), payload(simulated(1, "c-two"), 1, 2, 3)]
            )
            assert sorted(done) == [("c-one", "epoch-1", last, False), ("c-two", "epoch-1", 3, False)]
        async with await database.connect(url) as connection:
            aside = await facts.set_aside(connection, company.company_id)
            assert [(each.number, bool(each.refused)) for each in aside] == [(5, True)]
            sums = await usage.sums(connection, company.company_id, usage.FleetUsageFilter())
            assert sums.records == 3, "the records before and after it are here"
            assert await usage.log_alarms(connection, company.company_id) == []

    run(body())


def test_a_message_that_cannot_be_read_or_is_of_an_unknown_or_revoked_cabinet_is_not_acknowledged(url, run):
    async def body():
        async with await database.connect(url) as connection:
            await prepared(connection)
            await connection.execute("UPDATE cabinet SET revoked = now() WHERE id = 'c-two'")
        async with database.pool(url, 2) as pool:
            batch = [
                Incoming("c-one", b"\xff\xfe"),
                payload(simulated(1, "c-two"), 1),
                payload(simulated(1, "c-unknown"), 1),
                payload(simulated(1), 1),
            ]
            assert await ingest.take_in(pool, batch) == [("c-one", "epoch-1", 1, False)]

    run(body())


async def alarms_of(url, sims_and_numbers):
    async with await database.connect(url) as connection:
        company = await prepared(connection)
    async with database.pool(url, 2) as pool:
        for sim, numbers in sims_and_numbers:
            done = await ingest.take_in(pool, [payload(sim, *numbers)])
            assert done[0].number >= max(numbers), "an alarm blocks nothing"
    async with await database.connect(url) as connection:
        found = await usage.log_alarms(connection, company.company_id)
        return company, sorted((each.kind, each.number) for each in found)


def settled(sim, fact_number):
    fact = messages.decode_fact(sim.facts[fact_number])
    assert isinstance(fact, SessionSettled)
    return fact


def change_record(sim, fact_number, **fields):
    """Change the record of a fact, and give it the hash of its new contents."""
    fact = settled(sim, fact_number)
    record = msgspec.structs.replace(fact.record, **fields)
    if "record_hash" not in fields:
        record = msgspec.structs.replace(record, record_hash=usage_chain.hash_of(record))
    sim.facts[fact_number] = messages.encode_fact(SessionSettled(record, fact.order))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"energy_mwh": 7, "record_hash": "0" * 64}, [("bad_hash", 2), ("rewrite", 3)]),
        ({"previous_hash": "1" * 64}, [("rewrite", 2), ("rewrite", 3)]),
        ({"number": 3}, [("fork", 3), ("gap", 2)]),
        ({"number": 1}, [("fork", 1), ("gap", 2)]),
    ],
    ids=["edited", "rewritten", "gap", "fork"],
)
def test_a_log_that_is_not_as_it_was_written_raises_an_alarm_that_names_the_number(url, run, fields, expected):
    async def body():
        sim = simulated(3)
        change_record(sim, 6, **fields)
        _, found = await alarms_of(url, [(sim, sorted(sim.facts))])
        assert found == expected

    run(body())


def test_a_store_set_back_to_an_older_copy_is_a_fork_and_loses_no_bill(url, run):
    """The same epoch, and numbers that were used before with other contents."""

    async def body():
        first, second = simulated(2), simulated(1)
        second.start(7)
        second.settle(7, cost_fen=99)
        _, found = await alarms_of(url, [(first, sorted(first.facts)), (second, [4, 5, 6])])
        assert ("fork", 2) in found
        async with await database.connect(url) as connection:
            cursor = await connection.execute("SELECT number, kind FROM fact_fork ORDER BY number")
            assert [number for number, _ in await cursor.fetchall()] == [4, 5, 6]

    run(body())


def copied(sim, epoch, *, records):
    """A cabinet whose new epoch repeats the log of `sim`, up to a record."""
    copy = SimulatedCabinet(sim.cabinet, {}, lambda *_: None, epoch=epoch)
    for fact in map(messages.decode_fact, sim.facts.values()):
        if isinstance(fact, SessionSettled) and fact.record.number <= records:
            copy.write(fact)
            copy._records, copy._head = fact.record.number, fact.record.record_hash
    return copy


def test_a_new_store_begins_another_log_which_is_told_once(url, run):
    async def body():
        old, new = simulated(2), simulated(2, epoch="epoch-2")
        company, found = await alarms_of(url, [(old, sorted(old.facts)), (new, sorted(new.facts))])
        assert found == [("new_log", 1)]
        async with await database.connect(url) as connection:
            places = await facts.positions(connection, company.company_id, "c-one")
            assert [(each.epoch, each.usage_number) for each in places] == [("epoch-2", 2), ("epoch-1", 2)]
            sums = await usage.sums(connection, company.company_id, usage.FleetUsageFilter())
            assert sums.records == 4

    run(body())


def test_two_logs_that_begin_in_one_batch_are_told_too(url, run):
    async def body():
        async with await database.connect(url) as connection:
            company = await prepared(connection)
        old, new = simulated(2), simulated(2, epoch="epoch-2")
        async with database.pool(url, 2) as pool:
            await ingest.take_in(pool, [payload(old, *old.facts), payload(new, *new.facts)])
            async with pool.connection() as connection:
                found = await usage.log_alarms(connection, company.company_id)
                assert [(each.epoch, each.kind, each.number) for each in found] == [("epoch-2", "new_log", 1)]
        third = copied(old, "epoch-3", records=2)
        fourth = copied(old, "epoch-4", records=2)
        async with database.pool(url, 2) as pool:
            await ingest.take_in(pool, [payload(third, *third.facts), payload(fourth, *fourth.facts)])
            async with pool.connection() as connection:
                assert len(await usage.log_alarms(connection, company.company_id)) == 1, "copies are no other logs"

    run(body())


def test_epochs_of_one_cabinet_are_bounded_with_an_alarm_and_the_known_ones_go_on(url, run, monkeypatch):
    monkeypatch.setattr(ingest, "MAX_EPOCHS", 3)

    async def body():
        async with await database.connect(url) as connection:
            company = await prepared(connection)
        first = simulated(2)
        others = [simulated(1, epoch=f"epoch-{number}") for number in range(2, 8)]
        async with database.pool(url, 2) as pool:
            await ingest.take_in(pool, [payload(first, 1, 2, 3)])
            done = await ingest.take_in(pool, [payload(each, 1, 2) for each in others])
            assert [each.epoch for each in done] == ["epoch-2", "epoch-3"]
            assert await ingest.take_in(pool, [payload(others[-1], 1, 2)]) == []
            done = await ingest.take_in(pool, [payload(others[-1], 1, 2), payload(first, 4, 5)])
            assert [(each.epoch, each.number) for each in done] == [("epoch-1", 5)]
            other = await ingest.take_in(pool, [payload(simulated(1, "c-two", "epoch-9"), 1)])
            assert [each.number for each in other] == [1]
            async with pool.connection() as connection:
                found = await usage.log_alarms(connection, company.company_id)
                assert [(each.cabinet, each.kind) for each in found if each.kind != "new_log"] == [
                    ("c-one", "many_logs")
                ]
                assert len(await facts.positions(connection, company.company_id, "c-one")) == 3

    run(body())


def test_forks_of_one_cabinet_are_bounded_with_an_alarm(url, run, monkeypatch):
    monkeypatch.setattr(ingest, "MAX_FORKS", 3)

    async def body():
        async with await database.connect(url) as connection:
            company = await prepared(connection)
        sim = simulated(4)
        numbers = sorted(sim.facts)
        async with database.pool(url, 2) as pool:
            await ingest.take_in(pool, [payload(sim, *numbers)])
            for word in ("one", "two"):
                for number in numbers[:2]:
                    trip = TripReport(3, Fault.OVERPOWER, WALL, None, word)
                    sim.facts[number] = messages.encode_fact(trip)
                done = await ingest.take_in(pool, [payload(sim, *numbers[:2])])
                assert done[0].number == numbers[-1], "still acknowledged: the cabinet is not to send them for ever"
            async with pool.connection() as connection:
                assert await rows.value(connection, "SELECT count(*) FROM fact_fork") == 3
                found = {each.kind for each in await usage.log_alarms(connection, company.company_id)}
                assert found == {"fork", "many_forks"}

    run(body())


def test_an_epoch_that_repeats_the_whole_log_counts_each_record_once(url, run):
    async def body():
        old = simulated(3)
        key = SigningKey(bytes(32))
        old.write(closing(key, old))
        new = copied(old, "epoch-2", records=3)
        new.write(messages.decode_fact(old.facts[max(old.facts)]))
        new.start(5)
        new.settle(5)
        company, found = await alarms_of(url, [(old, sorted(old.facts)), (new, sorted(new.facts))])
        assert found == []
        async with await database.connect(url) as connection:
            sums = await usage.sums(connection, company.company_id, usage.FleetUsageFilter())
            assert sums.records == 4
            assert len(await usage.closings(connection, company.company_id, "c-one")) == 1
            verified = VerifiedLogs()
            assert [str(each) async for each in verify.problems(connection, company.company_id, verified)] == []
            assert (verified.records, verified.closings) == (4, 1)

    run(body())


def test_a_store_restored_under_a_new_epoch_is_a_fork_at_its_first_new_record(url, run):
    async def body():
        old = simulated(3)
        new = copied(old, "epoch-2", records=1)
        for _ in range(3):
            new.start(5)
            new.settle(5, cost_fen=77)
        company, found = await alarms_of(url, [(old, sorted(old.facts)), (new, sorted(new.facts))])
        assert found == [("fork", 2)]
        async with await database.connect(url) as connection:
            sums = await usage.sums(connection, company.company_id, usage.FleetUsageFilter())
            assert sums.records == 6, "no bill is lost"
            verified = VerifiedLogs()
            assert [each async for each in verify.problems(connection, company.company_id, verified)] == []

    run(body())


def test_facts_that_a_restored_fleet_lacks_are_asked_for_again(url, run):
    async def body():
        sim = simulated()
        async with await database.connect(url) as connection:
            await prepared(connection)
        async with database.pool(url, 2) as pool:
            done = await ingest.take_in(pool, [payload(sim, 8, 9)])
            assert done == [("c-one", "epoch-1", 0, True)], "1 to 7 were committed in the database that is lost"
            assert await ingest.take_in(pool, [payload(sim, *range(1, 8))]) == [("c-one", "epoch-1", 9, False)]
            async with pool.connection() as connection:
                state = msgspec.structs.replace(scene.state_of(), facts=13, acked=13)
                await states.take_states(connection, [CabinetState("c-one", state)])
                assert await housekeeping.behind(connection) == [("c-one", "epoch-1", 9)]

    run(body())


def closing(key, sim, number=1, last_hash=None):
    made = Closing(
        number, "SIM", "2026-11", 1, 1, last_hash or settled(sim, 3).record.record_hash,
        10_000, 10, 0, WALL, base64.b64encode(bytes(key.verify_key)).decode(),
    )  # fmt: skip
    signature = key.sign(usage_chain.canonical_closing(made)).signature
    return MonthClosed(SignedClosing(made, base64.b64encode(signature).decode()))


def test_closings_are_checked_against_the_first_key_and_the_mirrored_log(url, run):
    async def body():
        key, other = SigningKey(bytes(32)), SigningKey(bytes([1] * 32))
        sim = simulated(1)
        sim.write(closing(key, sim))
        sim.write(closing(other, sim, 2))
        sim.write(closing(key, sim, 3, "f" * 64))
        forged = closing(key, sim, 4)
        sim.write(MonthClosed(msgspec.structs.replace(forged.signed, signature=forged.signed.signature[::-1])))
        company, found = await alarms_of(url, [(sim, sorted(sim.facts))])
        assert found == [("bad_signature", 4), ("other_key", 2), ("rewrite", 1)]
        async with await database.connect(url) as connection:
            assert len(await usage.closings(connection, company.company_id, "c-one")) == 4

    run(body())
