"""The guard's own measurements: the bus at its start, the p99 of its turns."""

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.bus_speed import measure_bus
from cabinet.guard.health import TURNS_OVER_NS, TurnTimes
from cabinet.system.computer_state import guard_problems
from cabinet.system.computers import COMPUTERS
from cabinet_testing import sim_computer
from cabinet_testing.sim_cabinet import SimCabinet, demo_config


@pytest.fixture
def sim(tmp_path):
    sim = SimCabinet(tmp_path, demo_config(outlets=2))
    yield sim
    sim.close()


@pytest.fixture
def slow_computer():
    sim_computer.choose("pi4-200khz")
    yield COMPUTERS["pi4-200khz"]
    sim_computer.choose("here")


def test_bus_as_configured_is_measured_and_no_problem(sim):
    sim.guard.measure_bus()
    health = sim.guard.snapshot().health
    assert health.bus_hz == pytest.approx(400_000, rel=0.01)
    assert health.transfer_us == pytest.approx(75 / 0.4, rel=0.02)
    assert guard_problems(health, sim.config) == []


def test_bus_slower_than_configured_is_reported(sim, caplog):
    sim.world.fault(None, "slow_bus", hz=160_000)
    sim.guard.measure_bus()
    assert sim.guard.snapshot().health.bus_hz == pytest.approx(160_000, rel=0.01)
    assert guard_problems(sim.guard.snapshot().health, sim.config) == ["bus_slow"]
    assert "the bus is slower than the 400000 Hz configured" in caplog.text
    sim.world.clear(None)
    sim.guard.measure_bus()
    assert guard_problems(sim.guard.snapshot().health, sim.config) == []


def test_slow_processor_is_not_taken_for_a_slow_bus(tmp_path, slow_computer):
    """The true clock is found although each transfer takes the computer's own time as well."""
    sim = SimCabinet(tmp_path, demo_config(outlets=2))
    sim.guard.measure_bus()
    health = sim.guard.snapshot().health
    assert health.bus_hz == pytest.approx(200_000, rel=0.01)
    assert health.transfer_us is not None
    assert health.transfer_us * 1000 > 2 * 75 * NS / 400_000 + slow_computer.kernel_ns
    sim.close()


def test_turn_of_the_simulated_computer_is_the_one_that_check_computes(tmp_path):
    """The model that refuses a period and the one that the campaigns run with are the same."""
    sim_computer.choose("pi4")
    try:
        sim = SimCabinet(tmp_path)
        assert sim.config.guard.scan_period_s == COMPUTERS["pi4"].period_ns(demo_config()) / NS
        turns_ns = []
        for _ in range(50):
            start_ns = sim.clock.monotonic_ns()
            sim.tick()
            turns_ns.append(sim.clock.monotonic_ns() - start_ns)
        sim.close()
    finally:
        sim_computer.choose("here")
    assert sorted(turns_ns)[25] == pytest.approx(COMPUTERS["pi4"].turn_ns(demo_config()), rel=0.05)


def test_unknown_computer_cannot_be_chosen():
    with pytest.raises(KeyError):
        sim_computer.choose("pi9")
    assert sim_computer.chosen() is None


def test_bus_without_an_answering_meter_is_not_measured(sim):
    for segment in sim.guard._scanner.segments:
        segment.up = False
    assert measure_bus(sim.guard._scanner.segments, sim.clock) is None
    assert sim.guard.snapshot().health.bus_hz is None


def test_bus_is_measured_at_another_meter_if_one_falls_silent(sim):
    sim.world.fault(1, "nack", chip="meter")
    sim.guard.measure_bus()
    assert sim.guard.snapshot().health.bus_hz == pytest.approx(400_000, rel=0.01)
    sim.world.fault(None, "noise_reads", share=1.0)
    sim.guard.measure_bus()
    assert sim.guard.snapshot().health.bus_hz is None


def test_p99_of_turns_is_the_one_that_a_hundredth_exceeds():
    turns = TurnTimes(0)
    for number in range(1000):
        turns.note(2 * MS + 50_000 if number % 100 else 9 * MS, number)
        assert turns.p99_ns is None
    turns.note(40 * MS, TURNS_OVER_NS)  # 11 of 1001 are long: the p99 is one of them
    assert turns.p99_ns == pytest.approx(9.1 * MS)
    for number in range(1000):
        turns.note(2 * MS, TURNS_OVER_NS + number)
    turns.note(2 * MS, 2 * TURNS_OVER_NS)
    assert turns.p99_ns == pytest.approx(2.1 * MS), "each span has its own"
