"""One charge from the start to the receipt, over the service's ports."""

from cabinet.model import ChargeLimits, CostLine, EndReason, Fault
from cabinet.records import CurvePoint
from cabinet.service.ports import StartChoice
from cabinet_testing.service_harness import FULL, NOON_MS, ServiceHarness


async def test_a_charge_until_full_is_billed_by_time_and_energy_and_the_rest_refunded(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "key-1")
        assert (view.state, view.held_fen, view.outlet) == ("waiting_for_load", 500, 3)
        assert harness.balance_fen("wallet:1") == 1500
        await harness.charge(service, 3, 3600)
        live = await service.charges.session(1, view.session_id)
        assert (live.state, live.charging_s, live.power_mw) == ("charging", 3600, 150_000)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.state == "settled"
    assert receipt.lines == [
        CostLine("time", 3600, "s", 20, 20, "0-200"),
        CostLine("electricity", 149_000, "mWh", 55, 8, "08:00-22:00"),
        CostLine("service", 149_000, "mWh", 30, 4),
    ]
    assert (receipt.cost_fen, receipt.refund_fen, receipt.end_reason) == (32, 468, EndReason.FULL)
    assert harness.balance_fen("wallet:1") == 2000 - 32
    assert harness.balance_fen("revenue:electricity") == 8
    assert harness.balance_fen("revenue:service") == 24
    assert harness.steps(view.session_id) == ["authorised", "waiting_for_load", "charging", "finished", "settled"]
    (record,) = harness.records()
    assert (record.number, record.total_fen, record.refund_fen) == (1, 32, 468)
    assert (record.card, record.outlet, record.charging_s) == ("****0001", 3, 3600)
    assert (record.peak_power_mw, record.mean_power_mw) == (150_000, 149_997)
    assert record.started.unix_ms == NOON_MS + 1
    harness.check_books()


async def test_the_bill_on_the_page_is_the_bill_of_the_receipt(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 1234)
        live = await service.charges.session(1, view.session_id)
        stopped = await harness.stop(service, 1, view.session_id)
    assert (live.lines, live.cost_fen) == (stopped.lines, stopped.cost_fen)


async def test_a_stop_returns_the_receipt_and_may_be_asked_for_twice(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 60)
        receipt = await harness.stop(service, 1, view.session_id)
        assert (receipt.state, receipt.end_reason) == ("settled", EndReason.STOPPED_BY_RESIDENT)
        again = await service.charges.stop(1, view.session_id)
        assert again == receipt
    assert len(harness.records()) == 1
    harness.check_books()


async def test_no_load_costs_nothing(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 120, power_mw=3000)
        waiting = await service.charges.session(1, view.session_id)
        assert waiting.wait_left_s == 0
        harness.guard.end(1, EndReason.NO_LOAD)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.cost_fen, receipt.refund_fen, receipt.lines) == (0, 500, [])
    assert harness.balance_fen("wallet:1") == 2000
    harness.check_books()


async def test_after_a_trip_energy_is_charged_and_time_is_not(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 3600, power_mw=300_000)
        harness.guard.trip(1, Fault.SHORT_CIRCUIT)
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
        outlet = await service.charges.outlet("A7K2")
    assert [line.kind for line in receipt.lines] == ["electricity", "service"]
    assert (receipt.end_reason, receipt.fault) == (EndReason.TRIPPED, Fault.SHORT_CIRCUIT)
    assert (outlet.condition, outlet.fault, outlet.refusal) == (
        "needs_service",
        Fault.SHORT_CIRCUIT,
        "fault_latched",
    )
    harness.check_books()


async def test_bought_hours_are_the_guards_limit(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", StartChoice("hours", seconds=1800), "key-1")
        # the dearest half hour at 1000 W: 60 fen for time, 55 + 30 for a kWh
        assert view.held_fen == 100
        await harness.charge(service, 1, 1900)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason, receipt.charging_s) == ("settled", EndReason.LIMIT_TIME, 1800)
    harness.check_books()


async def test_a_bought_amount_is_used_up_and_never_passed(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", StartChoice("amount", amount_fen=100), "key-1")
        assert view.held_fen == 100
        for _ in range(20):
            await harness.charge(service, 1, 600, power_mw=350_000)
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.end_reason is EndReason.LIMIT_MONEY
    assert 97 <= receipt.cost_fen <= 100
    harness.check_books()


async def test_the_guard_alone_keeps_within_the_hold_when_the_service_is_dead(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await service.charges.start(1, "A7K2", StartChoice("amount", amount_fen=100), "key-1")
    await harness.charge(service, 1, 30, power_mw=150_000)
    await harness.die(service)
    for power_mw in (150_000, 900_000, 20_000, 400_000) * 20:
        harness.guard.charge(1, 600, power_mw)
    assert harness.guard.outlets[1].session_id is None
    async with harness.running() as service:
        receipt = await service.charges.session(1, view.session_id)
    assert receipt.end_reason is EndReason.LIMIT_MONEY
    assert receipt.cost_fen <= 100
    harness.check_books()


async def test_the_curve_has_a_point_for_every_ten_powered_seconds(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 20, power_mw=180_000)
        await harness.charge(service, 1, 20, power_mw=90_000)
        running = await service.charges.curve(1, view.session_id)
        harness.guard.end(1, EndReason.UNPLUGGED)
        await harness.settle(service)
        stored = await service.charges.curve(1, view.session_id)
    expected = [CurvePoint(10, 180), CurvePoint(20, 180), CurvePoint(30, 90), CurvePoint(40, 90)]
    assert running == expected
    assert stored == expected


async def test_a_service_that_ends_in_order_leaves_the_curve_whole(harness: ServiceHarness) -> None:
    """Some points wait, while the service runs, to be written together with others."""
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", FULL, "key-1")
        await harness.charge(service, 1, 20, power_mw=180_000)
    async with harness.running() as service:
        assert await service.charges.curve(1, view.session_id) == [CurvePoint(10, 180), CurvePoint(20, 180)]


async def test_the_service_itself_ends_a_session_whose_money_is_used_up(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "A7K2", StartChoice("amount", amount_fen=100), "key-1")
        harness.guard.outlets[1].limits = ChargeLimits()  # whatever the guard was told did not hold
        while harness.guard.outlets[1].session_id is not None:
            harness.guard.charge(1, 60, power_mw=900_000)
            harness.guard.show()
            await service.reconcile()
        await harness.settle(service)
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.end_reason, receipt.cost_fen, receipt.refund_fen) == (EndReason.LIMIT_MONEY, 100, 0)
    assert receipt.charging_s < 3000
    harness.check_books()
