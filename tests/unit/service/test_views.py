"""Views of the property company and of visitors: outlets, prices, today's figures, the usage log page by page."""

import asyncio

from cabinet.clock import NS
from cabinet.model import EndReason, Fault
from cabinet.records import UsageFilter
from cabinet.service.ports import BandPrice, PeriodPrice
from cabinet_testing.service_harness import FULL, NOON_MS, ServiceHarness


async def test_an_outlet_goes_from_free_to_in_use_to_needing_service(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        seen = [await service.charges.outlet("C5T4")]
        view = await service.charges.start(1, "C5T4", FULL, "k")
        await harness.charge(service, 3, 60)
        seen.append(await service.charges.outlet("C5T4"))
        harness.guard.trip(3, Fault.OUTLET_HOT)
        await harness.settle(service)
        seen.append(await service.charges.outlet("C5T4"))
        others = [outlet for outlet in await service.charges.outlets() if outlet.number != 3]
    assert [(o.condition, o.refusal, o.fault, o.session_id, o.power_mw) for o in seen] == [
        ("free", None, None, None, 0),
        ("in_use", "outlet_busy", None, view.session_id, 150_000),
        ("needs_service", "fault_latched", Fault.OUTLET_HOT, None, 0),
    ]
    assert [o.energy_today_mwh for o in seen] == [0, 2499, 2499]
    assert {o.condition for o in others} == {"free"}


async def test_an_outlet_that_staff_locked_says_why_and_their_test_is_left_alone(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        locked, tested = harness.guard.outlets[3], harness.guard.outlets[4]
        locked.note, locked.refusal = "插座松动", "out_of_service"
        tested.trial, tested.session_id = True, "test:console:tech"
        for _ in range(3):
            harness.clock.advance_ns(2 * NS)
            await harness.settle(service)
        seen = await service.charges.outlet("C5T4")
        assert (seen.condition, seen.refusal, seen.note) == ("needs_service", "out_of_service", "插座松动")
        assert (await service.charges.outlet("D8R6")).condition == "in_use"
        assert harness.guard.commands == [], "no stray charge is opened"


async def test_the_posted_price_is_the_tariff_with_an_example_from_now(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        noon = await service.charges.price("C5T4", "")
        harness.clock.set_wall(NOON_MS + 9 * 3_600_000, trusted=True)
        evening = await service.charges.price("C5T4", "")
    assert noon.bands == [BandPrice(0, 200, 20), BandPrice(200, 400, 35), BandPrice(400, None, 60)]
    assert noon.periods[1] == PeriodPrice("08:00", "22:00", 55)
    # two hours at 150 W: 40 fen for time, 9 for the service of 0.3 kWh, and electricity
    assert noon.example_fen == 40 + 9 + 16
    assert evening.example_fen == 40 + 9 + 8 + 6


async def test_todays_figures_are_todays(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k1")
        await harness.charge(service, 3, 3600)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        await service.charges.start(2, "A7K2", FULL, "k2")
        await harness.charge(service, 1, 60)
        today = await service.property_.figures.today()
        assert (today.sessions, today.electricity_fen, today.service_fen) == (2, 8, 24)
        assert today.energy_mwh == sum(uwh // 1000 for uwh in harness.guard.delivered_uwh.values())
        assert [view.outlet for view in await service.charges.todays_sessions()] == [1, 3]
    async with harness.running() as service:
        assert await service.property_.figures.today() == today, "the same after a restart"
        harness.clock.advance_ns(86_400 * NS)
        harness.guard.show()
        tomorrow = await service.property_.figures.today()
        assert (tomorrow.sessions, tomorrow.energy_mwh, tomorrow.electricity_fen) == (0, 0, 0)
        assert await service.charges.todays_sessions() == []


async def test_the_usage_log_is_paged_by_number(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(5):
            await service.charges.start(1, "C5T4", FULL, f"k{number}")
            harness.guard.end(3, EndReason.NO_LOAD)
            await harness.settle(service)
        pages = [await service.property_.log.records(UsageFilter(after), 2) for after in (0, 2, 4, 5)]
        assert await service.property_.log.records(UsageFilter(), -1) == []
    assert [[record.number for record in page] for page in pages] == [[1, 2], [3, 4], [5], []]


async def test_a_resident_sees_sessions_newest_first(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(3):
            await service.charges.start(1, "C5T4", FULL, f"k{number}")
            harness.guard.end(3, EndReason.NO_LOAD)
            await harness.settle(service)
        running = await service.charges.start(1, "A7K2", FULL, "k9")
        await harness.charge(service, 1, 20)
        views = await service.charges.sessions(1, limit=3)
    assert [view.order_number for view in views] == ["DEMO-1-00000004", "DEMO-1-00000003", "DEMO-1-00000002"]
    assert (views[0].session_id, views[0].state, views[0].charging_s) == (running.session_id, "charging", 20)


async def test_viewers_of_an_outlet_are_woken_by_what_happens_there_and_nowhere_else(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        watches = {view.number: service.charges.changes(view) for view in (await service.charges.outlets())[2:4]}
        cabinet = service.charges.cabinet_changes()
        for watch in (*watches.values(), cabinet):
            await anext(watch)
        waiting = {outlet: asyncio.ensure_future(anext(watch)) for outlet, watch in watches.items()}
        of_cabinet = asyncio.ensure_future(anext(cabinet))
        harness.clock.advance_ns(NS)
        await service.charges.start(1, "C5T4", FULL, "k")
        async with asyncio.timeout(5):
            await asyncio.gather(waiting[3], of_cabinet)
        assert not waiting[4].done()
        waiting[4].cancel()
