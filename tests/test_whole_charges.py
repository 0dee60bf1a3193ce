"""Whole charges, hours long, through the real guard and drivers over the simulated chips, in seconds."""

from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EndReason, EventKind
from cabinet_testing.sim_cabinet import NO_HEARTBEAT, SimCabinet, demo_config
from cabinet_testing.sim_habits import HABITS, LOAD_W, HabitLoad

RECORDED = Path(__file__).parent / "data" / "charge-scooter-36v-lithium.csv"
MAX_NS = 14 * 3600 * NS
STEP_NS = 20 * NS

# load, state of charge at the start, what it must end with, and the hours it may take
CHARGES = [
    ("lead-acid-36v12ah", 20, EndReason.FULL, (5, 10)),
    ("lead-acid-48v20ah", 20, EndReason.FULL, (5, 10)),
    ("lithium-48v", 10, EndReason.FULL, (3, 9)),
    ("lithium-60v", 10, EndReason.FULL, (3, 9)),
    ("demo", 10, EndReason.FULL, (0.5, 0.6)),
    (f"replay:{RECORDED}", None, EndReason.ENDED_BY_LOAD, (1.6, 1.8)),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    """Every charge on an outlet of its own, at once, until all have ended."""
    sim = SimCabinet(tmp_path_factory.mktemp("state"), demo_config(NO_HEARTBEAT, outlets=len(CHARGES)))
    for outlet, (load, percent, _, _) in enumerate(CHARGES, 1):
        sim.plug(outlet, load, percent)
        assert isinstance(sim.start(outlet), Done)
    sim.run(2 * NS)
    sim.stride(MAX_NS, STEP_NS, until=lambda: all(sim.ended(n) for n in range(1, len(CHARGES) + 1)))
    yield sim
    sim.close()


@pytest.mark.parametrize(
    ("outlet", "load", "reason", "hours"),
    [(n, load, reason, hours) for n, (load, _, reason, hours) in enumerate(CHARGES, 1)],
    ids=[Path(load).stem for load, _, _, _ in CHARGES],
)
def test_charge_ends_for_the_right_reason_and_is_billed_what_was_delivered(sim, outlet, load, reason, hours):
    end = sim.events(outlet)[-1]
    truth_mwh = sim.world.truth(outlet).energy_mwh
    took_h = end.charge_count.powered_ms / 3_600_000
    error = end.charge_count.energy_mwh / truth_mwh - 1
    print(f"{Path(load).stem}: {took_h:.2f} h, billed {end.charge_count.energy_mwh} mWh, error {100 * error:+.3f} %")
    assert (end.kind, end.reason) == (EventKind.ENDED, reason)
    assert hours[0] < took_h < hours[1]
    assert abs(error) < 0.005


def test_no_protection_found_anything_wrong_with_ordinary_charges(sim):
    assert [event for event in sim.seen if event.kind in (EventKind.TRIPPED, EventKind.WARNED)] == []


@pytest.fixture(scope="module")
def habits_desk(tmp_path_factory):
    """Every habit of a charger on an outlet of its own, at once, until all have ended."""
    sim = SimCabinet(tmp_path_factory.mktemp("habits"), demo_config(NO_HEARTBEAT))
    for outlet, habit in enumerate(HABITS, 1):
        sim.world.plug(outlet, HabitLoad(habit.name, habit.watts, step_s=5.0))
        assert isinstance(sim.start(outlet), Done)
    sim.run(2 * NS)
    sim.stride(MAX_NS, STEP_NS, until=lambda: all(sim.ended(n) for n in range(1, len(HABITS) + 1)))
    yield sim
    sim.close()


@pytest.mark.parametrize(("outlet", "habit"), list(enumerate(HABITS, 1)), ids=[habit.name for habit in HABITS])
def test_charger_with_a_habit_ends_rightly_and_is_charged_for_its_load(habits_desk, outlet, habit):
    end = habits_desk.events(outlet)[-1]
    took_s = end.charge_count.powered_ms / 1000
    load_s = sum(habit.watts(second) >= LOAD_W for second in range(int(took_s)))
    print(
        f"{habit.name}: {end.reason} after {took_s / 3600:.2f} h, {end.charge_count.charging_ms / 3.6e6:.2f} h charged"
    )
    assert end.kind is EventKind.ENDED
    assert end.reason in habit.allowed
    assert took_s >= habit.not_before_s
    assert end.charge_count.charging_ms / 1000 == pytest.approx(load_s, rel=0.02)


def test_no_protection_found_anything_wrong_with_a_habit(habits_desk):
    assert [event for event in habits_desk.seen if event.kind in (EventKind.TRIPPED, EventKind.WARNED)] == []
