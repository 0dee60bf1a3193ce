"""Facts for a fleet: each once, in order, without gaps; without a fleet, none at all."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest

from cabinet.clock import NS, WallTime
from cabinet.errors import LinkError
from cabinet.link import uplink_protocol
from cabinet.link.uplink_protocol import (
    AskFacts,
    AskOnline,
    AskState,
    Changed,
    FactRows,
    HandedOver,
    OnlineBody,
    StateBody,
    TakeEnrolment,
    UplinkRefusal,
    WatchChanges,
)
from cabinet.model import EndReason, Fault
from cabinet.records import SignedClosing, UsageRecord
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.charges.live import CABINET
from cabinet.store import backup, month_closing, outbox, residents
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import AlarmChanged, Look, MonthClosed, SessionSettled, SessionStarted, TripReport
from cabinet.uplink.service_client import ServiceSocket
from cabinet_testing import fleet_harness
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.service_harness import FULL, ServiceHarness

MONTH_MS = 31 * 86_400_000


async def charge(harness: ServiceHarness, service: Service, key: str, resident_id: int = 1) -> None:
    await service.charges.start(resident_id, "C5T4", FULL, key)
    await harness.charge(service, 3, 300)
    harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)


def rows(harness: ServiceHarness, table: str) -> int:
    with harness.database() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def next_month(harness: ServiceHarness, service: Service) -> None:
    harness.clock.set_wall(harness.clock.wall().unix_ms + MONTH_MS, trusted=True)
    await service.housekeeping.close_month()


async def test_without_a_fleet_nothing_is_written(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await charge(harness, service, "k")
        harness.guard.trip(3, Fault.SHORT_CIRCUIT)
        await harness.settle(service)
        await next_month(harness, service)
        assert await service.uplink.answer(AskState()) == UplinkRefusal("uplink_off")
    tables = ("uplink", "outbox", "reported_alarm", "fleet_order", "desired_version")
    assert {table: rows(harness, table) for table in tables} == dict.fromkeys(tables, 0)
    assert rows(harness, "resident") == 3


async def test_log_and_closings_of_before_come_first_and_in_order(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(2):
            await charge(harness, service, f"before {number}")
            await next_month(harness, service)
        await charge(harness, service, "open")
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "after")
        facts = await fleet.facts(service)
        again = await fleet.facts(service, after=4)
    kinds = [type(fact) for fact in facts]
    assert kinds == [
        SessionSettled, MonthClosed, SessionSettled, MonthClosed, SessionSettled, SessionStarted, SessionSettled
    ]  # fmt: skip
    records = [fact.record for fact in facts if isinstance(fact, SessionSettled)]
    assert records == as_written(harness)
    closings = [fact.signed for fact in facts if isinstance(fact, MonthClosed)]
    assert closings == signed_closings(harness)
    assert again == facts[4:]


def as_written(harness: ServiceHarness) -> list[UsageRecord]:
    """Return the usage log without cards, which can be erased."""
    return [msgspec.structs.replace(record, card="") for record in harness.records()]


def signed_closings(harness: ServiceHarness) -> list[SignedClosing]:
    with harness.database() as connection:
        return list(month_closing.all_signed(connection))


async def test_a_fact_is_the_same_bytes_after_its_resident_is_erased(harness: ServiceHarness) -> None:
    FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "k")
        before = await service.uplink.answer(AskFacts(0))
        await service.context.storage.write(lambda c: residents.erase(c, 1))
        after = await service.uplink.answer(AskFacts(0))
    assert uplink_protocol.encode(before) == uplink_protocol.encode(after)


async def test_a_months_closing_is_a_fact_once(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "k")
        await next_month(harness, service)
        await service.housekeeping.close_month()
        facts = await fleet.facts(service)
    assert [fact.signed for fact in facts if isinstance(fact, MonthClosed)] == signed_closings(harness)
    assert len(facts) == 3


async def test_a_trip_and_its_alarm_are_facts_and_so_is_the_end(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        await harness.charge(service, 3, 60)
        harness.guard.trip(3, Fault.SHORT_CIRCUIT)
        await harness.settle(service)
    async with harness.running() as service:  # an alarm that stands is not raised again
        harness.guard.outlets[3].forget()
        await harness.settle(service)
        facts = await fleet.facts(service)
    trips = [fact for fact in facts if isinstance(fact, TripReport)]
    assert [(trip.outlet, trip.fault, trip.session_id) for trip in trips] == [(3, Fault.SHORT_CIRCUIT, view.session_id)]
    alarms = [(fact.outlet, fact.fault, fact.raised) for fact in facts if isinstance(fact, AlarmChanged)]
    assert alarms == [(3, Fault.SHORT_CIRCUIT, True), (3, Fault.SHORT_CIRCUIT, False)]
    assert rows(harness, "reported_alarm") == 0


async def test_a_full_disk_delays_facts_and_loses_none(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "k")
        with harness.administering() as database, database.transaction() as connection:
            connection.execute("CREATE TRIGGER no_room BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END")
        harness.guard.trip(4, Fault.OUTLET_HOT)
        await harness.settle(service)
        assert len(await fleet.facts(service)) == 2
        with harness.administering() as database, database.transaction() as connection:
            connection.execute("DROP TRIGGER no_room")
        await service.checkpoint()
        facts = await fleet.facts(service)
    assert [type(fact) for fact in facts[2:]] == [TripReport, AlarmChanged]


async def test_acknowledged_facts_are_deleted_after_a_month_and_numbers_go_on(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "first")
        state = await fleet.state(service)
        assert (state.facts, state.acked) == (2, 0)
        assert (await fleet.hand_over(service, fleet.ack("another", 2))).refusal == "wrong_epoch"
        assert (await fleet.hand_over(service, fleet.ack(state.epoch, 3))).refusal == "bad_request"
        for number in (1, 2, 1):
            assert (await fleet.hand_over(service, fleet.ack(state.epoch, number))).refusal is None
        assert (await fleet.state(service)).acked == 2
        wall = harness.clock.wall()
        late = WallTime(wall.unix_ms + MONTH_MS + 1, True)
        assert await service.context.storage.write(lambda c: outbox.delete_old(c, wall)) == 0
        assert await service.context.storage.write(lambda c: outbox.delete_old(c, late)) == 2
        await charge(harness, service, "second")
        assert len(await fleet.facts(service, after=2)) == 2


async def test_a_fleet_restored_from_a_backup_gets_again_what_it_lacks_and_is_kept(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        for key in ("first", "second"):
            await charge(harness, service, key)
        epoch = (await fleet.state(service)).epoch
        await fleet.hand_over(service, fleet.ack(epoch, 4))
        assert (await fleet.hand_over(service, await fleet.again(service, 5))).refusal == "bad_request"
        assert (await fleet.hand_over(service, await fleet.again(service, 1))).refusal is None
        assert (await fleet.state(service)).acked == 1
        assert len(await fleet.facts(service, after=1)) == 3
        await service.context.storage.write(lambda c: c.execute("DELETE FROM outbox WHERE number <= 2"))
        await fleet.hand_over(service, await fleet.again(service, 0))
        assert (await fleet.state(service)).acked == 1, "nothing is sent again that was not asked for"
        await fleet.hand_over(service, fleet.ack(epoch, 4))
        await fleet.hand_over(service, await fleet.again(service, 0))
        assert (await fleet.state(service)).acked == 2, "the facts before are deleted"


async def test_a_recorded_wish_of_the_fleet_does_nothing_at_another_time(harness: ServiceHarness) -> None:
    """Sent again by a broker that is not trusted, each would cost mobile data without end."""
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        for key in ("first", "second"):
            await charge(harness, service, key)
        state = await fleet.state(service)
        again = await fleet.again(service, 1)
        look = Look(cabinet=fleet_harness.CABINET, challenge=state.challenge)
        assert (await fleet.hand_over(service, look)).look_s == 30
        await fleet.hand_over(service, fleet.ack(state.epoch, 4))
        harness.clock.advance_ns(600 * NS)
        for message in (look, again, msgspec.structs.replace(again, challenge="")):
            handed = await fleet.hand_over(service, message)
            assert (handed.refusal, handed.look_s) == (uplink_protocol.STALE, None)
        assert (await fleet.state(service)).acked == 4


async def test_a_restored_backup_begins_a_new_epoch_with_the_whole_log(harness: ServiceHarness) -> None:
    fleet = FleetHarness(harness)
    path = admin.database_path(harness.config)
    async with harness.running() as service:
        await charge(harness, service, "first")
        copy = backup.make(path, harness.clock.wall())
        await charge(harness, service, "lost")
        before = await fleet.state(service)
        order = await fleet.order(service)
    backup.restore(path, copy, harness.clock.wall())
    async with harness.running() as service:
        after = await fleet.state(service)
        facts = await fleet.facts(service)
        answer = await fleet.send(service, order)
    assert after.epoch != before.epoch
    assert [type(fact) for fact in facts] == [SessionSettled]
    assert answer is not None
    assert answer.code == "wrong_epoch"


async def test_a_fleet_that_was_given_up_gets_the_whole_log_when_it_comes_back(harness: ServiceHarness) -> None:
    alone = harness.config
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        await charge(harness, service, "first")
        before = await fleet.state(service)
    harness.config, with_fleet = alone, harness.config
    async with harness.running() as service:
        await charge(harness, service, "alone")
    assert rows(harness, "outbox") == 0
    harness.config = with_fleet
    async with harness.running() as service:
        assert (await fleet.state(service)).epoch != before.epoch
        assert [type(fact) for fact in await fleet.facts(service)] == [SessionSettled, SessionSettled]


async def test_the_fleets_row_is_no_resident(harness: ServiceHarness) -> None:
    FleetHarness(harness)
    async with harness.running() as service:
        found = await service.context.storage.read(residents.all_residents)
        assert len(found) == 3
    assert rows(harness, "resident") == 4


# --- the socket ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(harness: ServiceHarness) -> Path:
    return uplink_protocol.path_in(Path(harness.config.paths.run))


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while not path.exists():
        await asyncio.sleep(0)
    return await asyncio.open_unix_connection(path, limit=uplink_protocol.MAX_LINE)


async def test_the_uplink_asks_and_is_told_of_changes(harness: ServiceHarness, path: Path) -> None:
    FleetHarness(harness)
    async with harness.running() as service:
        serving = asyncio.create_task(service.uplink.serve())
        reader, writer = await connected(path)
        replies = []
        for question in (AskOnline(), AskState(signal_dbm=-77), AskFacts(0), TakeEnrolment()):
            writer.write(uplink_protocol.encode(question))
            replies.append(uplink_protocol.decode_reply(await reader.readline()))
        online, state = replies[:2]
        assert isinstance(online, OnlineBody)
        assert isinstance(state, StateBody)
        assert messages.decode_online(bytes(online.body)).usage_key
        assert messages.decode_state(bytes(state.body)).signal == -77
        writer.write(uplink_protocol.encode(WatchChanges()))
        first = uplink_protocol.decode_reply(await reader.readline())
        service.context.enrolment_code = "ABCD-EFGH"
        service.context.changes.touch(CABINET)
        second = uplink_protocol.decode_reply(await reader.readline())
        assert isinstance(first, Changed)
        assert second == msgspec.structs.replace(first, state=first.state + 1, enrol=True)
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_the_end_of_the_service_waits_for_no_connection(harness: ServiceHarness, path: Path) -> None:
    FleetHarness(harness)
    async with harness.running() as service:
        serving = asyncio.create_task(service.uplink.serve())
        reader, writer = await connected(path)
        writer.write(uplink_protocol.encode(WatchChanges()))
        await reader.readline()
        serving.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(serving, return_exceptions=True)
            assert await reader.read() == b""
        writer.close()
    assert not path.exists()


async def test_other_users_learn_and_do_nothing(harness: ServiceHarness, path: Path) -> None:
    FleetHarness(harness)
    async with harness.running() as service:
        service.uplink._uids = frozenset({4711})
        serving = asyncio.create_task(service.uplink.serve())
        reader, writer = await connected(path)
        assert uplink_protocol.decode_reply(await reader.readline()) == UplinkRefusal("not_allowed")
        assert await reader.read() == b""
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_the_uplinks_own_client_carries_an_order_and_its_facts(harness: ServiceHarness, path: Path) -> None:
    fleet = FleetHarness(harness)
    async with harness.running() as service:
        serving = asyncio.create_task(service.uplink.serve())
        while not path.exists():
            await asyncio.sleep(0)
        uplink = ServiceSocket(path)
        async with contextlib.aclosing(uplink.changes()) as changes:  # type: ignore[type-var]
            first = await anext(changes)
            order = uplink_protocol.hand_over(orders.sign(fleet.key, await fleet.order(service)))
            handed = await uplink.ask(order, HandedOver)
            assert messages.decode_answer(handed.answer.encode()).outcome == "accepted"
            while (change := await anext(changes)).facts == first.facts:
                pass
        assert change.state > first.state
        found = await uplink.ask(AskFacts(0), FactRows)
        assert [getattr(messages.decode_fact(row.body), "order", None) for row in found.facts] == ["F0000001"]
        with pytest.raises(LinkError, match="bad_request"):
            await uplink.ask(uplink_protocol.HandOver("no base64!"), HandedOver)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
