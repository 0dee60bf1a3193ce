"""Registers that stand still, one at a time, through the real guard: found by name before they are needed."""

import pytest

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EventKind, Fault
from cabinet_testing.sim_cabinet import NO_HEARTBEAT, SimCabinet, demo_config
from cabinet_testing.sim_charges import charging

FULL_SCALE_A = 200
CODE_PER_A_PEAK = 6_500_000 / FULL_SCALE_A
CODE_PER_A_RMS = 9_032_007 / FULL_SCALE_A * 2**0.5
LOAD = "resistor:300"  # 1.36 A


@pytest.fixture
def sim(prepared):
    return prepared()


def faults(sim: SimCabinet) -> dict[int | None, Fault | None]:
    """Every outlet, or the cabinet (None), that tripped, and its first fault."""
    found: dict[int | None, Fault | None] = {}
    for event in sim.seen:
        if event.kind is EventKind.TRIPPED:
            found.setdefault(event.outlet, event.fault)
    return found


@pytest.mark.after(charging, 3, 6, load=LOAD)
@pytest.mark.after(SimCabinet.run, 2 * NS)
@pytest.mark.parametrize("amps", [0.0, 0.1, 0.3, 1.3, 3.0, 25.0])
def test_peak_that_stands_still_under_load_opens_its_outlet_within_six_seconds(sim, amps):
    sim.world.fault(3, "stuck", register="peak_a", value=round(amps * CODE_PER_A_PEAK))
    limit_ns = (4 if amps <= 1 else 6) * NS
    assert sim.run(limit_ns, until=lambda: not sim.outlet(3).closed)
    sim.run(3 * NS)
    assert faults(sim) == {3: Fault.SENSOR_FROZEN}, "and what it still shows is no weld"
    assert sim.outlet(3).latched
    assert sim.outlet(6).closed


@pytest.mark.after(charging, 3, 6, load=LOAD)
@pytest.mark.after(SimCabinet.run, 2 * NS)
@pytest.mark.parametrize("register", ["rms_a", "power_a", "voltage"])
@pytest.mark.parametrize("value", [None, 0])
def test_slow_register_that_stands_still_under_load_opens_its_outlet_within_six_seconds(sim, register, value):
    sim.world.fault(3, "stuck", register=register, **({} if value is None else {"value": value}))
    assert sim.run(6 * NS, until=lambda: not sim.outlet(3).closed)
    sim.run(3 * NS)
    expected = Fault.UNDERVOLTAGE if (register, value) == ("voltage", 0) else Fault.SENSOR_FROZEN
    if expected is Fault.SENSOR_FROZEN:
        assert faults(sim) in ({3: expected}, {3: expected, 4: expected}), "the other outlet of its chip at most"
    assert sim.outlet(6).closed


# Seconds before a gain is lost: its turn to be checked comes every 4.5 s, so one of these waits for it for 3 s.
MOMENTS_S = (2.0, 3.5, 5.0)


@pytest.mark.after(charging, 3, 6, load=LOAD)
@pytest.mark.parametrize("moment_s", MOMENTS_S)
@pytest.mark.parametrize("register", ["aigain", "pga_ia"])
def test_short_behind_a_gain_that_was_lost_under_load_is_dead_within_a_third_of_a_second(sim, register, moment_s):
    """A gain of 0, or 1/500, makes peak, RMS and power alike too low: none contradicts another."""
    sim.run(round(moment_s * NS))
    sim.world.fault(3, "stuck", register=register, value=0 if register == "aigain" else 7)
    sim.world.fault(3, "breaker", acts="never")
    sim.world.fault(3, "short", amps=60)
    assert sim.run(330 * MS, until=lambda: not sim.world.truth(3).conducting)
    assert not sim.outlet(3).closed
    assert not sim.world.truth(3).welded


@pytest.mark.after(charging, 3, 4, load=LOAD)
@pytest.mark.parametrize("moment_s", MOMENTS_S)
@pytest.mark.parametrize(("outlet", "register"), [(3, "aigain"), (4, "bigain")])
def test_short_that_a_shrunken_gain_shows_as_the_load_before_it_is_dead_within_half_a_second(
    sim, outlet, register, moment_s
):
    """A disturbance hits the chip as the short begins: 100 A are shown as 1.3 A, and nothing contradicts.

    Were the other outlet of the chip open, the short's crosstalk would be taken for a weld there.
    """
    sim.run(round(moment_s * NS))
    for number in (3, 4):  # their turns come at the same moment
        sim.unit(number)._rechecked_at_ns = sim.clock.monotonic_ns()
    sim.world.fault(outlet, "stuck", register=register, value=0x400000 // 75)
    sim.world.fault(outlet, "breaker", acts="never")
    sim.world.fault(outlet, "short", amps=100)
    assert sim.run(500 * MS, until=lambda: not sim.world.truth(outlet).conducting)
    assert faults(sim)[outlet] is Fault.SENSOR_RESET
    assert not sim.outlet(outlet).closed
    assert not sim.world.truth(outlet).welded


@pytest.mark.parametrize("moment_s", MOMENTS_S)
def test_gain_that_is_lost_while_nothing_is_plugged_in_is_found_within_two_seconds(sim, moment_s):
    sim.run(3 * NS)
    assert isinstance(sim.start(3), Done)
    sim.run(round(moment_s * NS))
    sim.world.fault(3, "stuck", register="aigain", value=0)
    assert sim.run(2 * NS, until=lambda: not sim.outlet(3).closed)
    assert faults(sim)[3] is Fault.SENSOR_RESET


@pytest.mark.after(charging, 3, load="resistor:900")
def test_rms_that_stands_still_too_low_is_found_by_the_power(sim):
    sim.run(2 * NS)
    sim.world.fault(3, "stuck", register="rms_a", value=round(0.5 * CODE_PER_A_RMS))
    assert sim.run(4 * NS, until=lambda: not sim.outlet(3).closed)
    assert faults(sim) == {3: Fault.SENSOR_FROZEN}
    assert set(sim.outlet(3).why) == {"power_mw", "current_ma", "voltage_mv"}


def test_energy_that_stands_still_is_found_within_two_minutes(tmp_path):
    sim = SimCabinet(tmp_path, demo_config(NO_HEARTBEAT, outlets=4))  # two intervals of a minute, whatever the turn
    values = {1: 0, 3: 4000}
    charging(sim, *values, 4, load=LOAD)
    for outlet, value in values.items():
        sim.world.fault(outlet, "stuck", register="energy_a", value=value)
    assert sim.stride(125 * NS, 200 * MS, until=lambda: not any(sim.outlet(outlet).closed for outlet in values))
    assert faults(sim) == dict.fromkeys(values, Fault.SENSOR_FROZEN)
    assert sim.outlet(4).closed


def test_peak_that_stands_still_while_idle_is_found_before_a_charge(sim):
    sim.world.fault(3, "stuck", register="peak_a", value=3000)
    assert sim.run(6 * NS, until=lambda: sim.outlet(3).fault is Fault.SENSOR_FROZEN)
    assert sim.outlet(3).refusal == "fault_latched"
    assert [o.outlet for o in sim.guard.snapshot().outlets if o.fault is not None] == [3]


@pytest.mark.after(charging, 3, 6, load=LOAD)
@pytest.mark.after(SimCabinet.run, 2 * NS)
def test_relay_that_welds_behind_a_peak_that_stands_still_is_found_by_the_rms(sim):
    sim.world.fault(3, "welded")
    sim.world.fault(3, "stuck", register="peak_a", value=0)
    assert sim.run(6 * NS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    sim.run(100 * MS)
    assert sim.world.truth(3).current_ma == 0, "the contactor has taken its power away"


def test_weld_check_at_the_start_does_not_rest_on_the_peak_alone(sim):
    sim.plug(3, LOAD)
    sim.world.fault(3, "welded")
    sim.world.fault(3, "stuck", register="peak_a", value=0)
    sim.boot()
    assert sim.outlet(3).fault is Fault.RELAY_WELDED


@pytest.mark.after(charging, 3, 6, load=LOAD)
@pytest.mark.after(SimCabinet.run, 2 * NS)
def test_cabinets_meter_that_stands_still_opens_nothing_and_is_named(sim):
    sim.world.fault(3, "stuck", chip="feed_meter", register="power_a")
    sim.run(6 * NS)
    sim.stop(6)
    sim.run(13 * NS)
    assert faults(sim) == {}
    assert sim.outlet(3).closed
    assert [(e.outlet, e.fault) for e in sim.seen if e.kind is EventKind.WARNED] == [(None, Fault.SENSOR_FROZEN)]
    assert sim.guard.snapshot().feed_compared is False


def test_voltage_samples_that_stand_still_do_not_cost_the_mains_phase(sim):
    segment = sim.guard._scanner.segments[0]
    outlet = sim.guard.units[segment.inputs[0].index].number
    sim.world.fault(outlet, "stuck", register="voltage_sample", value=0x100000)
    sim.run(NS)
    assert sim.guard._scanner.phase.from_zero_ns(sim.clock.monotonic_ns()) is not None
