"""Orders of a fleet: once or never, fresh or refused, paid by the order itself."""

import asyncio
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.signing import SigningKey

from cabinet.clock import NS
from cabinet.errors import CabinetError
from cabinet.link import uplink_protocol
from cabinet.link.guard_protocol import Energise
from cabinet.model import EndReason, Fault
from cabinet.reports import ledger_csv
from cabinet.service.accounts import admin, wallets
from cabinet.service.app import Service
from cabinet.store import backup, ledger_books, outbox, sessions
from cabinet.uplink import orders
from cabinet.uplink.messages import Answer, OrderRefused, SessionSettled, SessionStarted
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.service_harness import FULL, ServiceHarness


@pytest.fixture
def fleet(harness: ServiceHarness) -> FleetHarness:
    return FleetHarness(harness)


def closings(harness: ServiceHarness) -> int:
    """Return how often the guard was asked to close an outlet for a new session."""
    return len({command.session_id for command in harness.guard.commands if isinstance(command, Energise)})


async def accepted(fleet: FleetHarness, service: Service, **changes: Any) -> tuple[Any, Answer]:
    order = await fleet.order(service, **changes)
    answer = await fleet.send(service, order)
    assert answer is not None
    assert answer.outcome == "accepted", answer
    return order, answer


async def test_an_order_charges_and_its_account_ends_at_nothing(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        order, answer = await accepted(fleet, service)
        await harness.charge(service, 3, 3600)
        state = await fleet.state(service)
        outlet = state.outlets[2]
        assert (outlet.condition, outlet.order, outlet.session_id) == ("in_use", order.order, answer.session_id)
        assert outlet.energy_mwh > 0
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        over = await fleet.send(service, fleet.ask(order))
        started, settled = await fleet.facts(service)
    assert isinstance(started, SessionStarted)
    assert isinstance(settled, SessionSettled)
    assert (started.order, settled.order) == (order.order, order.order)
    assert (started.holder, settled.record.holder, settled.record.card) == ("", "", "")
    assert settled.record.total_fen > 0
    assert over is not None
    assert (over.outcome, over.end_reason) == ("ended", EndReason.FULL)
    harness.check_books()
    assert harness.balance_fen(f"order:{order.order}") == 0
    assert harness.balance_fen("cash") == -3 * 2000 - settled.record.total_fen
    with harness.database() as connection:
        kinds = [row[0] for row in connection.execute("SELECT kind FROM ledger_transaction ORDER BY id DESC LIMIT 4")]
    assert kinds == ["order_out", "settle", "hold", "order_in"]


async def test_the_same_number_again_gets_the_same_answer_and_no_second_start(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        answers = await asyncio.gather(*(fleet.send(service, order) for _ in range(5)))
        again = await fleet.send(service, order)
    assert {answer.outcome for answer in [*answers, again] if answer is not None} == {"accepted"}
    assert len({answer.session_id for answer in answers if answer is not None}) == 1
    assert closings(harness) == 1
    async with harness.running() as service:
        later = await fleet.send(service, order)
        assert later is not None
        assert (later.outcome, later.session_id) == ("accepted", answers[0].session_id if answers[0] else None)
    assert closings(harness) == 1


async def test_an_order_with_other_contents_under_the_same_number_is_refused(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order, _ = await accepted(fleet, service)
        other = await fleet.send(service, msgspec.structs.replace(order, outlet=4))
    assert other is not None
    assert (other.outcome, other.code) == ("refused", "order_changed")
    assert closings(harness) == 1


def let_time_pass(harness: ServiceHarness, service: Service) -> None:
    harness.clock.advance_ns(61 * NS)
    harness.guard.show()


def lose_the_clock(harness: ServiceHarness, service: Service) -> None:
    harness.clock.trusted = False
    harness.clock.advance_ns(60 * NS)
    harness.guard.show()


def set_the_clock_back(harness: ServiceHarness, service: Service) -> None:
    """Without a synchronised clock the wall time proves nothing."""
    harness.clock.set_wall(harness.clock.wall().unix_ms - 3_600_000, trusted=False)
    harness.clock.advance_ns(61 * NS)
    harness.guard.show()


def give_two_challenges(harness: ServiceHarness, service: Service) -> None:
    for _ in range(2):
        harness.clock.advance_ns(20 * NS)
        service.fleet_orders.challenges.current()
    harness.guard.show()


def nothing(harness: ServiceHarness, service: Service) -> None: ...


def latch(harness: ServiceHarness, service: Service) -> None:
    harness.guard.trip(3, Fault.SHORT_CIRCUIT)
    harness.guard.show()


def fill_the_disk(harness: ServiceHarness, service: Service) -> None:
    service.context.storage.full = True


def lose_the_guard(harness: ServiceHarness, service: Service) -> None:
    harness.guard.disconnect()


def leave_no_power(harness: ServiceHarness, service: Service) -> None:
    harness.guard.fill_up()
    harness.guard.show()


@pytest.mark.parametrize(
    ("prepare", "changes", "code"),
    [
        (let_time_pass, {}, "order_expired"),
        (lose_the_clock, {}, "order_expired"),
        (set_the_clock_back, {}, "order_expired"),
        (give_two_challenges, {}, "order_expired"),
        (nothing, {"challenge": "never-given"}, "order_expired"),
        (nothing, {"boot": "another boot"}, "order_expired"),
        (nothing, {"epoch": "another store"}, "wrong_epoch"),
        (nothing, {"not_after_unix_ms": 1}, "order_expired"),
        (nothing, {"tariff_version": "another"}, "tariff_changed"),
        (nothing, {"outlet": 77}, "unknown_outlet"),
        (nothing, {"held_fen": 99}, "no_money"),
        (nothing, {"choice": "amount", "choice_amount": 1}, "bad_choice"),
        (nothing, {"choice": "package", "choice_amount": 77}, "bad_choice"),
        (latch, {}, "fault_latched"),
        (leave_no_power, {}, "feed_full"),
        (fill_the_disk, {}, "storage_full"),
        (lose_the_guard, {}, "guard_unreachable"),
    ],
)
async def test_a_refused_order_does_nothing_and_is_refused_again(
    harness: ServiceHarness,
    fleet: FleetHarness,
    prepare: Callable[[ServiceHarness, Service], None],
    changes: dict[str, Any],
    code: str,
) -> None:
    async with harness.running() as service:
        order = await fleet.order(service, **changes)
        prepare(harness, service)
        answers = [await fleet.send(service, order) for _ in range(2)]
        service.context.storage.full = False
        asked = await fleet.send(service, fleet.ask(order))
    assert [(answer.outcome, answer.code) for answer in [*answers, asked] if answer] == [("refused", code)] * 3
    assert closings(harness) == 0
    assert harness.balance_fen("cash") == -3 * 2000
    with harness.database() as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone()[0] == 0


async def test_a_busy_outlet_refuses_an_order_and_an_order_makes_it_busy(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k")
        busy = await fleet.send(service, await fleet.order(service))
        await accepted(fleet, service, outlet=4)
        harness.clock.advance_ns(5 * NS)
        harness.guard.show()
        again = await fleet.send(service, await fleet.order(service, outlet=4))
    assert [answer.code for answer in (busy, again) if answer] == ["outlet_busy", "outlet_busy"]


async def test_an_order_that_was_asked_for_before_it_came_is_dead(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        asked = await fleet.send(service, fleet.ask(order))
        late = await fleet.send(service, order)
        stopped = await fleet.order(service)
        unknown = await fleet.send(service, fleet.stop(stopped))
        later = await fleet.send(service, stopped)
    assert [answer.outcome for answer in (asked, unknown) if answer] == ["unknown", "unknown"]
    assert [(answer.outcome, answer.code) for answer in (late, later) if answer] == [("refused", "order_expired")] * 2
    assert closings(harness) == 0


async def test_an_order_of_before_a_restart_is_refused(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
    async with harness.running() as service:
        await fleet.state(service)
        answer = await fleet.send(service, order)
    assert answer is not None
    assert (answer.outcome, answer.code) == ("refused", "order_expired")


async def test_a_stop_ends_the_order_however_often_it_comes(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        order, _ = await accepted(fleet, service)
        await harness.charge(service, 3, 600)
        stopping = [asyncio.create_task(fleet.send(service, fleet.stop(order))) for _ in range(3)]
        while not any(type(command).__name__ == "Open" for command in harness.guard.commands):
            await asyncio.sleep(0)
        await harness.guard.tell()
        answers = [await task for task in stopping]
        answers.append(await fleet.send(service, fleet.stop(order)))
    assert {(answer.outcome, answer.end_reason) for answer in answers if answer} == {
        ("ended", EndReason.STOPPED_BY_RESIDENT)
    }
    harness.check_books()
    assert harness.balance_fen(f"order:{order.order}") == 0


async def test_a_guard_that_refuses_ends_the_order_without_a_record(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    harness.guard.refuse[Energise] = ["not_ready"]
    async with harness.running() as service:
        order = await fleet.order(service)
        answer, again = await fleet.send(service, order), await fleet.send(service, order)
        facts = await fleet.facts(service)
    assert [(each.outcome, each.code) for each in (answer, again) if each] == [("refused", "not_ready")] * 2
    assert facts == [OrderRefused(order.order, "not_ready")]
    assert harness.records() == []
    assert harness.balance_fen("cash") == -3 * 2000
    harness.check_books()


async def test_limits_of_an_order_only_lower_the_cabinets(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        await accepted(fleet, service, max_energy_mwh=1_000_000, max_charging_s=1200)
    async with harness.running() as service:
        await service.checkpoint()
        sent = [command.limits for command in harness.guard.commands if isinstance(command, Energise)]
        assert {(limits.charging_s, limits.energy_mwh) for limits in sent} == {(1200, 1_000_000)}
        await harness.charge(service, 3, 1300)
    (record,) = harness.records()
    assert record.end_reason is EndReason.LIMIT_TIME
    assert record.charging_s == 1200


async def test_starts_are_paced_by_outlet_and_by_cabinet(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        harness.guard.refuse[Energise] = ["not_ready"] * 30
        first = await fleet.send(service, await fleet.order(service))
        soon = await fleet.send(service, await fleet.order(service))
        harness.clock.advance_ns(5 * NS)
        harness.guard.show()
        then = await fleet.send(service, await fleet.order(service))
        codes = [answer.code for answer in (first, soon, then) if answer]
        assert codes == ["not_ready", "too_many_requests", "not_ready"]
        for number in range(18):
            if number % 4 == 0:
                harness.clock.advance_ns(5 * NS)
                harness.guard.show()
            answer = await fleet.send(service, await fleet.order(service, outlet=5 + number % 4))
            assert answer is not None
            assert answer.code == "not_ready", number
        all_ = await fleet.send(service, await fleet.order(service, outlet=2))
    assert all_ is not None
    assert all_.code == "too_many_requests"


async def test_only_the_fleets_keys_move_anything(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        own, stranger = fleet.key, SigningKey(bytes(32))
        fleet.key = stranger
        assert (await fleet.hand_over(service, order)).refusal == uplink_protocol.UNTRUSTED
        fleet.trust(own, stranger)  # two keys are valid at once, for rotation
        assert (await fleet.hand_over(service, order)).answer
        fleet.trust(own)
        assert (await fleet.hand_over(service, order)).refusal == uplink_protocol.UNTRUSTED
        fleet.key = own
        assert (await fleet.hand_over(service, order, retained=True)).refusal == uplink_protocol.RETAINED
        elsewhere = msgspec.structs.replace(order, cabinet="demo-2")
        assert (await fleet.hand_over(service, elsewhere)).refusal == uplink_protocol.UNTRUSTED
        payload = bytearray(orders.sign(own, order))
        payload[-2] ^= 1
        reply = await service.uplink.answer(uplink_protocol.hand_over(bytes(payload)))
        assert getattr(reply, "refusal", None) == uplink_protocol.UNTRUSTED
        uplink_protocol.keys_file(Path(harness.config.paths.state)).unlink()
        assert (await fleet.hand_over(service, order)).refusal == uplink_protocol.UNTRUSTED
    with harness.database() as connection:
        reported = connection.execute("SELECT subject, staff FROM audit_entry ORDER BY number").fetchall()
    assert [tuple(row) for row in reported] == [("untrusted", "fleet"), ("retained", "fleet")]


async def test_money_of_an_order_is_given_back_by_the_fleet_and_named_in_the_ledger(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order, _ = await accepted(fleet, service)
        await harness.charge(service, 3, 3600)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
    (record,) = harness.records()
    with harness.administering() as database:
        with pytest.raises(CabinetError, match=f"{order.order} of the fleet"):
            wallets.give_back(database, harness.clock, record.order_number, 1, "k", "why")
        with database.reading() as connection:
            entries = list(ledger_books.entries(connection))
            orders_of = {entry.kind: sessions.order_of_key(connection, entry.key) for entry in entries}
            lines = ledger_csv.csv_lines(
                (ledger_csv.Row(entry, "", "") for entry in entries), "en", zoneinfo.ZoneInfo("Asia/Shanghai")
            )
            text = "".join(lines)
    assert orders_of["order_in"] == orders_of["order_out"] == orders_of["hold"] == record.order_number
    assert "order of the fleet, paid in" in text
    assert "orders of the fleet" in text
    assert backup.problems(admin.database_path(harness.config)) == []


async def test_a_guard_whose_answer_is_lost_owes_nothing_and_the_order_stays_refused(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        harness.guard.deaf = True  # it closes the outlet, and its answer does not arrive
        answer = await fleet.send(service, order)
        harness.guard.deaf = False
        again = await fleet.send(service, order)
        harness.clock.advance_ns(2 * NS)
        for _ in range(2):
            await harness.settle(service)
        late = await fleet.send(service, fleet.ask(order))
        facts = await fleet.facts(service)
        assert harness.guard.outlets[3].session_id is None
    assert [(each.outcome, each.code) for each in (answer, again, late) if each] == [
        ("refused", "guard_unreachable")
    ] * 3
    assert [fact.record.total_fen for fact in facts if isinstance(fact, SessionSettled)] == [0]
    assert harness.balance_fen("cash") == -3 * 2000
    harness.check_books()


@pytest.mark.parametrize(("waited_s", "outcome"), [(74, "accepted"), (76, "refused")])
async def test_an_order_that_waited_too_long_for_the_disk_is_not_started(
    harness: ServiceHarness, fleet: FleetHarness, waited_s: int, outcome: str
) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        authorise = service.fleet_orders._authorise

        def slowly(*arguments: Any) -> Any:
            harness.clock.advance_ns(waited_s * NS)
            return authorise(*arguments)

        service.fleet_orders._authorise = slowly  # type: ignore[method-assign, assignment]
        answer = await fleet.send(service, order)
        facts = await fleet.facts(service)
    assert answer is not None
    assert answer.outcome == outcome
    assert closings(harness) == (outcome == "accepted")
    if outcome == "refused":
        assert facts == [OrderRefused(order.order, "order_expired")]
        assert harness.balance_fen("cash") == -3 * 2000


async def test_an_order_of_an_earlier_epoch_is_known_and_can_be_stopped(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order, answer = await accepted(fleet, service)
        await service.context.storage.write(outbox.forget)
    async with harness.running() as service:
        await harness.settle(service)
        asked = await fleet.send(service, fleet.ask(order))
        assert asked is not None
        assert (asked.outcome, asked.session_id) == ("accepted", answer.session_id)
        assert asked.epoch != order.epoch
        unknown = await fleet.send(service, fleet.ask(msgspec.structs.replace(order, order="F7777777")))
        assert unknown is not None
        assert (unknown.outcome, unknown.epoch) == ("unknown", asked.epoch)
        stopping = asyncio.create_task(fleet.send(service, fleet.stop(order)))
        while not stopping.done():
            await harness.guard.tell()
            await asyncio.sleep(0)
        stopped = await stopping
        assert stopped is not None
        assert stopped.outcome == "ended"
        assert [fact.order for fact in await fleet.facts(service) if isinstance(fact, SessionSettled)] == [order.order]


async def test_the_last_two_challenges_are_good_for_six_minutes(harness: ServiceHarness, fleet: FleetHarness) -> None:
    harness.clock.trusted = True
    async with harness.running() as service:
        first = await fleet.state(service)
        harness.clock.advance_ns(19 * NS)
        assert (await fleet.state(service)).challenge == first.challenge
        harness.clock.advance_ns(NS)
        second = await fleet.state(service)
        assert second.challenge != first.challenge
        harness.clock.advance_ns(339 * NS)
        harness.guard.show()
        tariff = (await service.charges.price("C5T4", "")).version
        old = fleet.order_from(first, outlet=3, tariff_version=tariff)
        answer = await fleet.send(service, old)
        harness.clock.advance_ns(2 * NS)
        harness.guard.show()
        older = await fleet.send(service, fleet.order_from(first, outlet=4, tariff_version=tariff))
        newer = await fleet.send(service, fleet.order_from(second, outlet=4, tariff_version=tariff))
    assert [each.outcome for each in (answer, older, newer) if each] == ["accepted", "refused", "accepted"]
