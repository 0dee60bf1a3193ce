"""Ticks of a demonstration: few while every outlet is open, and the full scan rate as soon as one is in use."""

import pytest
from msgspec import structs

from cabinet.clock import MS, NS
from cabinet.commands.guard import DEMO_IDLE_NS, DEMO_SCAN_S
from cabinet.model import Fault, Phase
from tests.desk import Desk, demo_config
from tests.unit.guard.charges import reaction_ms

SCAN_NS = round(DEMO_SCAN_S * NS)


@pytest.fixture
def desk(tmp_path):
    config = demo_config()
    desk = Desk(tmp_path, structs.replace(config, guard=structs.replace(config.guard, scan_period_s=DEMO_SCAN_S)))
    desk.guard._idle_period_ns = DEMO_IDLE_NS
    yield desk
    desk.close()


def run(desk: Desk, duration_ns: int, until=lambda: False) -> bool:  # type: ignore[no-untyped-def]
    """Ticks as the loop makes them, at the guard's own period."""
    end_ns = desk.clock.monotonic_ns() + duration_ns
    while desk.clock.monotonic_ns() < end_ns:
        start_ns = desk.clock.monotonic_ns()
        desk.tick()
        desk._wait_until(start_ns + desk.guard.period_ns)
        if until():
            return True
    return False


def periods(desk: Desk) -> set[int]:
    found = set()
    for _ in range(2):
        desk.tick()
        found.add(desk.guard.period_ns)
    return found


def test_only_an_unused_cabinet_has_few_ticks(desk):
    assert periods(desk) == {SCAN_NS, DEMO_IDLE_NS}
    desk.start(3)
    assert desk.guard.period_ns == SCAN_NS, "before the outlet closes"
    desk.tick()
    assert desk.guard.period_ns == SCAN_NS
    assert run(desk, NS, until=lambda: desk.world.truth(3).contacts_closed)
    assert periods(desk) == {SCAN_NS}
    desk.stop(3)
    assert periods(desk) == {SCAN_NS, DEMO_IDLE_NS}


def test_idling_trips_nothing_and_keeps_the_phase_of_the_mains(desk):
    phase = desk.guard._scanner.phase
    assert not run(desk, 15 * NS, until=lambda: phase.from_zero_ns(desk.clock.monotonic_ns()) is None)
    assert [desk.outlet(n).refusal for n in range(1, 11)] == [None] * 10
    assert desk.guard.snapshot().contactor_closed


def test_inrushes_after_idling_trip_nothing(desk):
    for number in range(1, 11):
        desk.plug(number, "demo", 30)
        run(desk, number * 37 * MS)
        desk.start(number)
        assert run(desk, 5 * NS, until=lambda number=number: desk.outlet(number).phase is Phase.CHARGING)
        desk.stop(number)
    assert not [n for n in range(1, 11) if desk.outlet(n).fault]


def test_short_in_a_charge_after_idling_opens_as_fast_as_ever(desk):
    run(desk, NS)
    desk.plug(3, "demo", 30)
    desk.start(3)
    assert run(desk, 5 * NS, until=lambda: desk.outlet(3).phase is Phase.CHARGING)
    desk.world.fault(3, "short", amps=60)
    assert run(desk, NS, until=lambda: desk.ended(3))
    assert desk.outlet(3).fault is Fault.SHORT_CIRCUIT
    assert reaction_ms(desk, 3) < 25
