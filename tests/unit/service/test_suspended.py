"""Charges that the guard interrupts for something that passes, and faults of the cabinet as a whole."""

import asyncio

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Energise
from cabinet.model import EndReason, Fault
from cabinet.service.app import Service
from cabinet.service.ports import SessionView
from cabinet_testing.service_harness import FULL, ServiceHarness


async def charging(
    harness: ServiceHarness, service: Service, resident_id: int = 1, code: str = "C5T4", seconds: int = 60
) -> SessionView:
    view = await service.charges.start(resident_id, code, FULL, f"key-{resident_id}")
    for passed in range(0, seconds, 5):
        harness.guard.charge_all(min(5, seconds - passed))
        await harness.settle(service)
    return view


async def pass_time(harness: ServiceHarness, service: Service, seconds: int) -> None:
    for _ in range(seconds):
        harness.clock.advance_ns(NS)
        await harness.settle(service)


def details(harness: ServiceHarness, session_id: str) -> list[tuple[str, str]]:
    with harness.database() as connection:
        rows = connection.execute(
            "SELECT to_state, detail FROM session_transition WHERE session_id = ? ORDER BY id", (session_id,)
        ).fetchall()
    return [(row[0], row[1]) for row in rows]


async def test_a_charge_paused_for_voltage_goes_on_by_itself_and_is_not_billed_meanwhile(
    harness: ServiceHarness,
) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.charge(3, 3)  # counted by the guard, told with the event and not before
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await harness.settle(service)
        paused = await service.charges.session(1, view.session_id)
        assert (paused.state, paused.suspended_for, paused.power_mw) == ("suspended", Fault.UNDERVOLTAGE, None)
        assert paused.charging_s == 63
        await pass_time(harness, service, 300)
        still = await service.charges.session(1, view.session_id)
        assert (still.state, still.charging_s, still.cost_fen) == ("suspended", 63, paused.cost_fen)
        harness.guard.let_close()
        await pass_time(harness, service, 2)
        resumed = [command for command in harness.guard.commands if isinstance(command, Energise)][-1]
        assert (resumed.used_charging_ms, resumed.had_load) == (63_000, True)
        again = await service.charges.session(1, view.session_id)
        assert (again.state, again.suspended_for) == ("charging", None)
        await harness.charge(service, 3, 37)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.charging_s, receipt.fault) == ("settled", 100, None)
    assert receipt.energy_mwh == sum(harness.guard.delivered_uwh.values()) // 1000
    assert [state for state, _ in details(harness, view.session_id)] == [
        "waiting_for_load", "charging", "suspended", "charging", "finished", "settled",
    ]  # fmt: skip
    assert ("suspended", "undervoltage") in details(harness, view.session_id)
    harness.check_books()


async def test_a_charge_paused_before_its_first_load_waits_for_one_again(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        harness.guard.suspend(Fault.OVERVOLTAGE)
        await harness.settle(service)
        assert (await service.charges.session(1, view.session_id)).state == "suspended"
        harness.guard.let_close()
        await pass_time(harness, service, 2)
        assert (await service.charges.session(1, view.session_id)).state == "waiting_for_load"
    assert harness.guard.outlets[3].session_id == view.session_id


async def test_a_pause_longer_than_sessions_may_be_interrupted_ends_them(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await harness.settle(service)
        harness.clock.advance_ns(1790 * NS)
        await harness.settle(service)
        assert (await service.charges.session(1, view.session_id)).state == "suspended"
        await pass_time(harness, service, 12)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason, receipt.charging_s) == ("settled", EndReason.POWER_LOST, 60)
    harness.check_books()


async def test_a_service_killed_during_a_pause_still_knows_what_it_is_for_and_resumes(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await charging(harness, service)
    harness.guard.suspend(Fault.OVERVOLTAGE)
    await harness.settle(service)
    await harness.die(service)
    harness.clock.advance_ns(200 * NS)
    async with harness.running() as service:
        paused = await service.charges.session(1, view.session_id)
        assert (paused.state, paused.suspended_for) == ("suspended", Fault.OVERVOLTAGE)
        await pass_time(harness, service, 200)
        assert (await service.charges.session(1, view.session_id)).state == "suspended"
        harness.guard.let_close()
        await pass_time(harness, service, 2)
        after = await service.charges.session(1, view.session_id)
    assert (after.state, after.charging_s) == ("charging", 60)


async def test_the_guard_may_die_during_a_pause_and_nothing_is_counted_twice(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.charge(3, 4)
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await harness.guard.tell()
        harness.guard.restart()
        await harness.guard.connect()
        await service.reconcile()
        await pass_time(harness, service, 2)
        after = await service.charges.session(1, view.session_id)
    assert (after.state, after.charging_s) == ("charging", 64)


async def test_stopped_during_a_pause_it_is_settled_at_once_and_never_resumes(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await harness.settle(service)
        stopping = asyncio.create_task(service.charges.stop(1, view.session_id))
        session = service.context.sessions.get(view.session_id)
        assert session is not None
        while session.stop_reason is None:
            await asyncio.sleep(0)
        await harness.settle(service)
        receipt = await stopping
        assert (receipt.state, receipt.end_reason) == ("settled", EndReason.STOPPED_BY_RESIDENT)
        asked = len(harness.guard.commands)
        harness.guard.let_close()
        await pass_time(harness, service, 3)
    assert len(harness.guard.commands) == asked
    assert receipt.charging_s == 60
    harness.check_books()


async def test_where_there_is_no_room_for_all_the_oldest_resumes_first(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        views = {}
        for resident_id, code in ((2, "E2W7"), (1, "C5T4"), (3, "A7K2")):
            views[code] = await charging(harness, service, resident_id, code, 10)
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await pass_time(harness, service, 2)
        before = len(harness.guard.commands)
        harness.guard.let_close()
        harness.guard.refuse[Energise] = ["feed_full", "feed_full"]
        await pass_time(harness, service, 1)
        asked = [command.outlet for command in harness.guard.commands[before:] if isinstance(command, Energise)]
        assert set(asked) == {5}, "the younger ones do not ask for the power that the oldest waits for"
        await pass_time(harness, service, 4)
        asked = [command.outlet for command in harness.guard.commands[before:] if isinstance(command, Energise)]
        assert list(dict.fromkeys(asked)) == [5, 3, 1]
        states = [(await service.charges.session(r, views[c].session_id)).state for r, c in ((2, "E2W7"), (1, "C5T4"))]
    assert states == ["charging", "charging"]


@pytest.mark.parametrize("event_arrives", [True, False], ids=["told by its event", "the event died with the guard"])
async def test_a_fault_of_the_whole_cabinet_ends_every_charge_with_its_name(
    harness: ServiceHarness, event_arrives: bool
) -> None:
    async with harness.running() as service:
        first = await charging(harness, service, 1, "C5T4", 10)
        second = await charging(harness, service, 2, "A7K2", 10)
        harness.guard.trip_all(Fault.SMOKE)
        if not event_arrives:
            harness.guard.restart()
            for place in harness.guard.outlets.values():
                place.refusal = "cabinet_fault"
            await harness.guard.connect()
        await harness.settle(service)
        for resident_id, view in ((1, first), (2, second)):
            receipt = await service.charges.session(resident_id, view.session_id)
            assert (receipt.state, receipt.end_reason, receipt.fault) == (
                "settled", EndReason.TRIPPED, Fault.SMOKE,
            )  # fmt: skip
        cabinet = service.charges.cabinet()
        assert (cabinet.fault, cabinet.latched, cabinet.siren) == (Fault.SMOKE, True, True)
        outlet = await service.charges.outlet("E2W7")
        assert (outlet.condition, outlet.refusal) == ("needs_service", "cabinet_fault")
    assert {record.fault for record in harness.records()} == {Fault.SMOKE}
    harness.check_books()


async def test_an_outlet_kept_open_by_the_mains_needs_no_service(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await harness.settle(service)
        outlet = await service.charges.outlet("C5T4")
    assert (outlet.condition, outlet.refusal) == ("free", "voltage_out_of_band")


async def test_heat_in_the_cabinet_is_waited_for_by_a_charge_that_is_to_go_on(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await charging(harness, service)
        harness.guard.restart()
        harness.guard.refuse[Energise] = ["cabinet_hot"] * 3
        await harness.guard.connect()
        await pass_time(harness, service, 8)
        assert (await service.charges.session(1, view.session_id)).state == "charging"
