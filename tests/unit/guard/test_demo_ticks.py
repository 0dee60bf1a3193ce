"""Ticks of a demonstration: few while every outlet is open, and the full scan rate as soon as one is in use."""

import pytest
from msgspec import structs

from cabinet.clock import MS, NS
from cabinet.commands.guard import DEMO_IDLE_NS, DEMO_SCAN_S
from cabinet.guard.loop import Loop
from cabinet.model import Fault, Phase
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import reaction_ms

SCAN_NS = round(DEMO_SCAN_S * NS)


@pytest.fixture
def sim(tmp_path):
    config = demo_config()
    sim = SimCabinet(tmp_path, structs.replace(config, guard=structs.replace(config.guard, scan_period_s=DEMO_SCAN_S)))
    yield sim
    sim.close()


def demo_loop(sim: SimCabinet) -> Loop:
    return Loop(sim.config, sim.guard, None, None, sim.clock, 0, DEMO_IDLE_NS)  # type: ignore[arg-type]


def run(sim: SimCabinet, duration_ns: int, until=lambda: False) -> bool:
    """Ticks as the loop makes them, at the guard's own period."""
    loop = demo_loop(sim)
    end_ns = sim.clock.monotonic_ns() + duration_ns
    while sim.clock.monotonic_ns() < end_ns:
        start_ns = sim.clock.monotonic_ns()
        sim.tick()
        loop._odd_tick = not loop._odd_tick
        sim._wait_until(start_ns + loop.period_ns)
        if until():
            return True
    return False


def periods(sim: SimCabinet) -> set[int]:
    loop, found = demo_loop(sim), set()
    for loop._odd_tick in (False, True):
        found.add(loop.period_ns)
    return found


def test_only_an_unused_cabinet_has_few_ticks(sim):
    assert periods(sim) == {SCAN_NS, DEMO_IDLE_NS}
    sim.start(3)
    assert periods(sim) == {SCAN_NS}, "before the outlet closes"
    assert run(sim, NS, until=lambda: sim.world.truth(3).contacts_closed)
    assert periods(sim) == {SCAN_NS}
    sim.stop(3)
    assert periods(sim) == {SCAN_NS, DEMO_IDLE_NS}


def test_idling_trips_nothing_and_keeps_the_phase_of_the_mains(sim):
    phase = sim.guard._scanner.phase
    assert not run(sim, 15 * NS, until=lambda: phase.from_zero_ns(sim.clock.monotonic_ns()) is None)
    assert [sim.outlet(n).refusal for n in range(1, 11)] == [None] * 10
    assert sim.guard.snapshot().contactor_closed


def test_inrushes_after_idling_trip_nothing(sim):
    for number in range(1, 11):
        sim.plug(number, "demo", 30)
        run(sim, number * 37 * MS)
        sim.start(number)
        assert run(sim, 5 * NS, until=lambda number=number: sim.outlet(number).phase is Phase.CHARGING)
        sim.stop(number)
    assert not [n for n in range(1, 11) if sim.outlet(n).fault]


def test_short_in_a_charge_after_idling_opens_as_fast_as_ever(sim):
    run(sim, NS)
    sim.plug(3, "demo", 30)
    sim.start(3)
    assert run(sim, 5 * NS, until=lambda: sim.outlet(3).phase is Phase.CHARGING)
    sim.world.fault(3, "short", amps=60)
    assert run(sim, NS, until=lambda: sim.ended(3))
    assert sim.outlet(3).fault is Fault.SHORT_CIRCUIT
    assert reaction_ms(sim, 3) < 25
