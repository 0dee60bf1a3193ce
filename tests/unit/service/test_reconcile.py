"""Sessions and outlets that disagree: the table of decisions, and every situation."""

import asyncio
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Energise, Open
from cabinet.model import ChargeLimits, EndReason, Fault
from cabinet.service.app import Service
from cabinet.service.ports import SessionView
from cabinet_testing.service_harness import FULL, ServiceHarness


async def charging(harness: ServiceHarness, service: Service, seconds: int = 60) -> SessionView:
    view = await service.charges.start(1, "C5T4", FULL, "key-1")
    await harness.charge(service, 3, seconds)
    return view


def closings(harness: ServiceHarness) -> list[Energise]:
    """Commands that asked for the outlet, without those that renewed limits."""
    held: str | None = None
    found = []
    for command in harness.guard.commands:
        if isinstance(command, Energise) and command.session_id != held:
            found.append(command)
            held = command.session_id
        if isinstance(command, Open):
            held = None
    return found


async def test_a_service_that_comes_back_finds_its_session_charging_and_counts_all_of_it(
    harness: ServiceHarness,
) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    await harness.die(service)
    harness.guard.charge(3, 1800)
    async with harness.running() as service:
        live = await service.charges.session(1, view.session_id)
        assert (live.state, live.charging_s) == ("charging", 1860)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.energy_mwh == sum(harness.guard.delivered_uwh.values()) // 1000
    assert harness.steps(view.session_id) == ["authorised", "waiting_for_load", "charging", "finished", "settled"]
    harness.check_books()


async def test_an_end_while_the_service_was_away_is_told_afterwards_with_its_own_time(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    await harness.die(service)
    harness.guard.charge(3, 100)
    harness.guard.end(3, EndReason.UNPLUGGED)
    ended_ms = harness.clock.wall().unix_ms
    harness.clock.advance_ns(3600 * NS)
    async with harness.running() as service:
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason, receipt.charging_s) == ("settled", EndReason.UNPLUGGED, 160)
    assert receipt.ended is not None
    assert receipt.ended.unix_ms == ended_ms
    harness.check_books()


async def test_a_guard_that_restarts_resumes_the_session_with_what_it_used(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.charge(3, 4)  # counted by the keeper, seen by nobody
        harness.guard.restart()
        await harness.guard.connect()
        await service.reconcile()
        assert (await service.charges.session(1, view.session_id)).state == "charging"
        resumed = harness.guard.commands[-1]
        assert isinstance(resumed, Energise)
        assert (resumed.session_id, resumed.had_load) == (view.session_id, True)
        assert (resumed.used_charging_ms, resumed.used_powered_ms) == (64_000, 64_000)
        await harness.charge(service, 3, 36)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.charging_s == 100
    assert receipt.energy_mwh == sum(harness.guard.delivered_uwh.values()) // 1000
    assert harness.steps(view.session_id) == [
        "authorised", "waiting_for_load", "charging", "suspended", "charging", "finished", "settled",
    ]  # fmt: skip
    harness.check_books()


async def test_after_a_power_cut_counters_begin_again_and_nothing_is_billed_twice(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    harness.guard.charge(3, 7)
    await harness.die(service)
    harness.guard.restart(new_epoch=True)
    harness.boot = "boot-2"
    harness.clock.advance_ns(600 * NS)
    async with harness.running() as service:
        await harness.charge(service, 3, 40)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.charging_s == 100, "the 7 s after the last checkpoint are lost, in the resident's favour"
    harness.check_books()


async def test_an_outage_too_long_ends_the_session_when_it_was_last_seen(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        seen_ms = harness.clock.wall().unix_ms
        harness.guard.restart()
        harness.clock.advance_ns(1801 * NS)
        await harness.guard.connect()
        await service.reconcile()
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason) == ("settled", EndReason.POWER_LOST)
    assert (receipt.charging_s, receipt.refund_fen) == (60, 500), "a minute costs less than a fen"
    assert receipt.ended is not None
    assert receipt.ended.unix_ms == seen_ms
    assert len(closings(harness)) == 1
    harness.check_books()


@pytest.mark.parametrize("trusted_later", [True, False], ids=["the time is learnt", "it never is"])
async def test_a_pi_that_just_booted_waits_until_it_knows_the_time(
    harness: ServiceHarness, trusted_later: bool
) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    await harness.die(service)
    harness.guard.restart(new_epoch=True)
    harness.boot = "boot-2"
    now_ms = harness.clock.wall().unix_ms
    harness.clock.set_wall(now_ms - 86_400_000, trusted=False)
    async with harness.running() as service:
        assert (await service.charges.session(1, view.session_id)).state == "charging"
        assert len(closings(harness)) == 1
        if trusted_later:
            harness.clock.set_wall(now_ms + 60_000, trusted=True)
        else:
            harness.clock.advance_ns(180 * NS)
        await harness.settle(service)
        after = await service.charges.session(1, view.session_id)
    if trusted_later:
        assert after.state == "charging"
        assert harness.guard.outlets[3].session_id == view.session_id
    else:
        assert (after.state, after.end_reason) == ("settled", EndReason.POWER_LOST)
    harness.check_books()


async def test_a_latched_outlet_ends_the_session_as_tripped_though_its_event_died_with_the_guard(
    harness: ServiceHarness,
) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.disconnect()
        harness.guard.trip(3, Fault.SHORT_CIRCUIT)
        harness.guard.restart()
        await harness.guard.connect()
        await service.reconcile()
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason, receipt.fault) == (
        "settled",
        EndReason.TRIPPED,
        Fault.SHORT_CIRCUIT,
    )
    assert len(closings(harness)) == 1
    harness.check_books()


def test_what_may_pass_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    async def story(refusals: int) -> tuple[str, int]:
        harness = ServiceHarness(tmp_path / str(refusals))
        async with harness.running() as service:
            view = await charging(harness, service)
            harness.guard.restart()
            harness.guard.refuse[Energise] = ["not_ready", "sensor_lost"] * refusals
            await harness.guard.connect()
            await service.reconcile()
            assert (await service.charges.session(1, view.session_id)).state == "suspended"
            for _ in range(130):
                harness.clock.advance_ns(NS)
                await harness.settle(service)
            found = await service.charges.session(1, view.session_id)
        harness.check_books()
        return found.state, found.charging_s

    assert asyncio.run(story(3)) == ("charging", 60)
    assert asyncio.run(story(500)) == ("settled", 60)


async def test_a_refusal_that_does_not_pass_ends_it_at_once(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.restart()
        harness.guard.refuse[Energise] = ["outlet_hot"]
        await harness.guard.connect()
        await service.reconcile()
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason) == ("settled", EndReason.POWER_LOST)
    harness.check_books()


async def test_nothing_is_decided_before_the_events_of_the_snapshot_are_in(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.end(3, EndReason.FULL)
        harness.guard.show()  # the snapshot overtakes the event
        await service.reconcile()
        assert (await service.charges.session(1, view.session_id)).state == "charging"
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.end_reason is EndReason.FULL
    harness.check_books()


async def test_a_stop_that_the_guard_did_not_hear_is_carried_out_when_it_is_back(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    harness.guard.disconnect()
    session = service.context.sessions.get(view.session_id)
    assert session is not None
    stopping = asyncio.create_task(service.charges.stop(1, view.session_id))
    while session.stop_reason is None or session.retry_ns == 0:
        await asyncio.sleep(0)
    stopping.cancel()
    await harness.die(service)
    harness.guard.charge(3, 30)
    async with harness.running() as service:
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason) == ("settled", EndReason.STOPPED_BY_RESIDENT)
    harness.check_books()


async def test_a_stopped_session_does_not_resume_after_the_guard_died(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        session = service.context.sessions.get(view.session_id)
        assert session is not None
        harness.guard.disconnect()
        session.stop_reason = EndReason.STOPPED_BY_RESIDENT
        harness.guard.restart()
        await harness.guard.connect()
        await service.reconcile()
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.end_reason is EndReason.STOPPED_BY_RESIDENT
    assert len(closings(harness)) == 1
    harness.check_books()


async def test_an_outlet_that_charges_for_a_session_nobody_knows_is_opened(harness: ServiceHarness) -> None:
    harness.guard.handle(Energise(1, 5, "of a database that is gone", ChargeLimits()))
    harness.guard.charge(5, 10)
    async with harness.running() as service:
        await harness.settle(service)
        assert harness.guard.outlets[5].session_id is None
        assert (await service.charges.outlet("E2W7")).condition == "free"
    assert not harness.guard.events.kept
    assert harness.records() == []
    assert [type(command) for command in harness.guard.commands] == [Energise, Open]


async def test_a_session_of_an_outlet_taken_out_of_the_cabinet_is_settled(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    await harness.die(service)
    del harness.guard.outlets[3]
    async with harness.running() as service:
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason, receipt.charging_s) == ("settled", EndReason.POWER_LOST, 60)
    harness.check_books()
