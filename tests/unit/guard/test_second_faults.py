"""A second fault after the first: the first reason stays, a weld holds the contactor open, the siren goes on."""

import pytest

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import CABINET, EventKind, Fault, Trip
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}


@pytest.fixture
def sim(prepared):
    return prepared()


@pytest.fixture
def striding(prepared):
    return prepared(demo_config(NO_HEARTBEAT, outlets=6))


def load_warms_a_thermometer_that_then_freezes(sim: SimCabinet) -> None:
    """It can be found only when the load goes: outlets 3 and 4 share it."""
    sim.stride(600 * NS, 5 * NS)
    sim.world.fault(3, "frozen", chip="thermometer")
    sim.stride(30 * NS, 5 * NS)


def thermometer_is_found(sim: SimCabinet) -> None:
    assert sim.stride(900 * NS, 5 * NS, until=lambda: sim.outlet(4).fault is Fault.SENSOR_FROZEN)
    sim.run(3 * NS)


def tripped(sim: SimCabinet, outlet: int) -> list[Fault | None]:
    return [event.fault for event in sim.events(outlet, EventKind.TRIPPED)]


@pytest.mark.after(charging, 3, 6, load="resistor:700")
def test_weld_holds_the_contactor_open_whatever_is_found_at_its_outlet_later(striding):
    sim = striding
    load_warms_a_thermometer_that_then_freezes(sim)
    sim.world.fault(3, "welded")
    sim.stop(3)
    assert sim.run(500 * MS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    sim.run(500 * MS)
    before = sim.world.journal.last_seq
    thermometer_is_found(sim)
    assert [record for record in sim.world.journal.after(before) if record.kind == "contactor_on"] == []
    assert sim.outlet(3).fault is Fault.RELAY_WELDED
    assert tripped(sim, 3) == [Fault.RELAY_WELDED]


@pytest.mark.after(charging, 3, 6, load="resistor:700")
def test_short_keeps_its_name_and_a_second_cause_trips_once_the_latch_is_cleared(striding):
    sim = striding
    load_warms_a_thermometer_that_then_freezes(sim)
    sim.world.fault(3, "short", amps=60)
    sim.run(NS)
    assert sim.outlet(3).latched
    thermometer_is_found(sim)
    assert (sim.outlet(3).fault, sim.outlet(3).latched) == (Fault.SHORT_CIRCUIT, True)
    assert tripped(sim, 3) == [Fault.SHORT_CIRCUIT]
    assert isinstance(sim.clear(3), Done)
    sim.run(NS)
    assert (sim.outlet(3).fault, sim.outlet(3).latched) == (Fault.SENSOR_FROZEN, True)
    assert sim.outlet(6).closed


@pytest.mark.after(charging, 3, 6, load="resistor:500")
def test_weld_behind_a_sensor_that_is_latched_already_takes_the_contactor(sim):
    sim.world.fault(3, "frozen", chip="meter")
    assert sim.run(8 * NS, until=lambda: sim.outlet(3).fault is Fault.SENSOR_FROZEN)
    sim.run(NS)
    sim.world.clear(3)  # the meter measures again
    sim.world.fault(3, "welded")
    assert sim.run(NS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    assert not sim.guard.snapshot().contactor_closed


@pytest.mark.after(charging, 3)
def test_fire_that_burns_another_wire_does_not_silence_the_siren(sim):
    sim.world.fault(None, "smoke")
    assert sim.run(500 * MS, until=lambda: sim.guard.snapshot().siren)
    sim.world.clear(None)  # the smoke contact falls back
    sim.world.fault(None, "wire_cut", input="residual")
    sim.run(NS)
    assert (sim.guard.snapshot().fault, sim.guard.snapshot().siren) == (Fault.SMOKE, True)
    assert isinstance(sim.clear(CABINET), Done)
    assert sim.run(NS, until=lambda: sim.guard.snapshot().fault is Fault.RESIDUAL_CURRENT)
    assert not sim.guard.snapshot().siren


@pytest.mark.after(charging, 3)
def test_fire_after_a_leak_sounds_the_siren(sim):
    sim.world.fault(None, "wire_cut", input="residual")
    assert sim.run(NS, until=lambda: sim.guard.snapshot().fault is Fault.RESIDUAL_CURRENT)
    sim.world.clear(None)
    sim.run(NS)
    sim.world.fault(None, "smoke")
    assert sim.run(500 * MS, until=lambda: sim.guard.snapshot().siren)
    assert sim.guard.snapshot().fault is Fault.SMOKE


@pytest.mark.parametrize("second", [Fault.SENSOR_DISAGREES, Fault.SMOKE, Fault.WATER, Fault.RESIDUAL_CURRENT])
def test_two_faults_of_the_cabinet_are_told_once_each(sim, second):
    """They may be found in turn for as long as both are there."""
    for _ in range(3):
        for fault in (second, Fault.CONTACTOR_WELDED):
            sim.guard.switching.trip_cabinet(Trip(fault, None, sim.clock.monotonic_ns(), True, {}))
    sim.tick()
    events = [event.fault for event in sim.seen if event.kind is EventKind.TRIPPED and event.outlet is None]
    assert events == [second, Fault.CONTACTOR_WELDED]
    assert sim.guard.snapshot().siren
