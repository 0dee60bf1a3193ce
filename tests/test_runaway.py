"""Sick batteries, and healthy ones with awkward curves, hours long, through the real guard: who is cut and who not."""

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EndReason, EventKind, Fault
from cabinet.sim.chargers import random_charger
from cabinet_testing.sim_cabinet import NO_HEARTBEAT, SimCabinet, demo_config

STEP_NS = 20 * NS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """Each load on an outlet of its own, at once: the cabinet, and every outlet's true power at each step."""
    sim = SimCabinet(tmp_path_factory.mktemp("state"), demo_config(NO_HEARTBEAT, outlets=6))
    loads = {1: "runaway-48v20ah", 2: "shorted-cell-48v20ah", 3: "boost-48v20ah", 4: "balancing-48v", 5: "fan-60v"}
    for outlet, load in loads.items():
        sim.plug(outlet, load, 40)
        assert isinstance(sim.start(outlet), Done)
    sim.run(4 * NS)
    powers: dict[int, list[float]] = {outlet: [] for outlet in loads}
    while not all(sim.ended(outlet) for outlet in loads):
        sim.stride(STEP_NS, STEP_NS)
        for outlet in loads:
            if not sim.ended(outlet):
                powers[outlet].append(sim.world.truth(outlet).power_mw / 1000)
    yield sim, powers
    sim.close()


def test_battery_that_runs_away_is_cut_within_a_quarter_of_an_hour_and_not_before(courses):
    sim, powers = courses
    end = sim.events(1)[-1]
    assert (end.kind, end.fault, end.latched) == (EventKind.TRIPPED, Fault.THERMAL_RUNAWAY, True)
    course = powers[1]
    lowest = min(range(len(course) // 2, len(course)), key=lambda step: course[step])
    risen = next(step for step in range(lowest, len(course)) if course[step] > 1.15 * course[lowest])
    minutes = (len(course) - risen) * STEP_NS / NS / 60
    print(f"lowest {course[lowest]:.0f} W, cut at {course[-1]:.0f} W, {minutes:.1f} min after it had risen 15 %")
    assert 9 < minutes < 15


def test_battery_with_a_shorted_cell_is_ended_after_the_longest_time_and_locks_nothing(courses):
    sim, powers = courses
    end = sim.events(2)[-1]
    assert (end.kind, end.reason, end.fault, end.latched) == (EventKind.ENDED, EndReason.MAX_DURATION, None, False)
    assert len(powers[2]) * STEP_NS / NS / 3600 == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize(
    ("outlet", "reason"),
    [(3, EndReason.FULL), (4, EndReason.FULL), (5, EndReason.FULL)],
    ids=["topped off", "balancing: idle in between", "with a fan"],
)
def test_healthy_battery_with_an_awkward_curve_ends_by_itself(courses, outlet, reason):
    sim, _ = courses
    end = sim.events(outlet)[-1]
    assert (end.kind, end.reason) == (EventKind.ENDED, reason)


def test_no_made_up_healthy_charger_trips_anything(tmp_path):
    sim = SimCabinet(tmp_path, demo_config(NO_HEARTBEAT))
    chance = sim.world.rng
    for outlet in range(1, 11):
        sim.world.plug(outlet, random_charger(chance, chance.uniform(0, 95)))
        assert isinstance(sim.start(outlet), Done)
    sim.run(4 * NS)
    sim.stride(14 * 3600 * NS, STEP_NS, until=lambda: all(sim.ended(outlet) for outlet in range(1, 11)))
    assert [event for event in sim.seen if event.kind in (EventKind.TRIPPED, EventKind.WARNED)] == []
    assert all(sim.ended(outlet) for outlet in range(1, 11))
