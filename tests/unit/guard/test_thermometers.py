"""Thermometers that stand still, sleep or lose their settings, through the real guard: found by name, set right."""

import pytest

from cabinet.clock import NS
from cabinet.model import EventKind, Fault
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}
SHUT_DOWN = 0x61E0
AWAKE = 0x60C0  # as set up; the simulated cell has no AL


@pytest.fixture
def sim(prepared):
    return prepared()


@pytest.fixture
def striding(prepared):
    return prepared(demo_config(NO_HEARTBEAT))


def warned(sim: SimCabinet, fault: Fault) -> set[int | None]:
    return {event.outlet for event in sim.seen if event.kind is EventKind.WARNED and event.fault is fault}


def tripped(sim: SimCabinet) -> dict[int | None, Fault | None]:
    return {event.outlet: event.fault for event in sim.seen if event.kind is EventKind.TRIPPED}


def config_of(sim: SimCabinet, outlet: int) -> int:
    return sim.world.thermometers[outlet]._registers[1]


@pytest.mark.after(charging, 3, load="resistor:800")
def test_thermometer_put_to_sleep_while_a_bad_contact_burns_is_awake_in_two_seconds_and_trips_by_its_heat(striding):
    sim = striding
    sim.world.fault(3, "hot", ohms=0.9)
    sim.world.fault(3, "upset", chip="thermometer", register="config", value=SHUT_DOWN)
    assert sim.run(2 * NS, until=lambda: config_of(sim, 3) == AWAKE)
    sim.tick()
    assert warned(sim, Fault.SENSOR_RESET) == {3, 4}
    assert sim.stride(180 * NS, NS, until=lambda: not sim.outlet(3).closed)
    assert tripped(sim) == {3: Fault.OUTLET_HOT}


def test_thermometer_asleep_at_the_start_is_woken(sim):
    sim.world.fault(3, "upset", chip="thermometer", register="config", value=SHUT_DOWN)
    sim.boot()
    assert config_of(sim, 3) == AWAKE
    assert sim.outlet(3).temperature_mc.value == pytest.approx(25_000, abs=100)
    assert sim.outlet(3).refusal is None


@pytest.mark.after(charging, 3, 6)
def test_thermometer_that_cannot_be_woken_costs_its_outlets_and_not_the_meter_beside_it(sim):
    sim.run(NS)
    sim.world.fault(3, "stuck", chip="thermometer", register="config", value=SHUT_DOWN)
    assert sim.run(7 * NS, until=lambda: not sim.outlet(3).closed)
    assert tripped(sim) == {3: Fault.SENSOR_RESET}
    sim.run(NS)
    assert sim.outlet(3).power_mw.value is not None, "its meter is read all the time"
    assert sim.outlet(6).closed
    sim.world.clear(3)
    assert sim.run(3 * NS, until=lambda: sim.outlet(3).refusal is None), "and it comes back by itself"


@pytest.mark.after(charging, 3, 6)
def test_thermometer_that_was_reset_is_set_up_again_and_said_without_a_break(sim):
    sim.run(NS)
    sim.world.fault(3, "chip_reset", chip="thermometer")
    assert sim.run(2 * NS, until=lambda: config_of(sim, 3) == AWAKE)
    sim.run(NS)
    assert warned(sim, Fault.SENSOR_RESET) == {3, 4}
    assert tripped(sim) == {}


@pytest.mark.parametrize("kind", ["stuck", "frozen"])
def test_thermometer_that_shows_25_degrees_while_a_contact_burns_at_700_watts_is_found_within_three_minutes(
    striding, kind
):
    sim = striding
    params = {"register": "temperature"} if kind == "stuck" else {}
    sim.world.fault(3, kind, chip="thermometer", **params)
    sim.world.fault(3, "hot", ohms=0.9)
    charging(sim, 3, 6, load="resistor:700")
    start_ns = sim.clock.monotonic_ns()
    assert sim.stride(300 * NS, NS, until=lambda: not sim.outlet(3).closed)
    assert sim.clock.monotonic_ns() - start_ns < 180 * NS
    assert tripped(sim)[3] is Fault.SENSOR_FROZEN
    assert sim.outlet(3).latched
    assert sim.outlet(6).closed


@pytest.mark.after(charging, 3, load="resistor:150")
def test_register_that_stands_still_at_a_small_load_is_found_by_the_chips_own_comparison_when_it_is_hot(striding):
    sim = striding
    sim.world.fault(3, "stuck", chip="thermometer", register="temperature")
    sim.world.fault(3, "hot", ohms=12)
    assert sim.stride(600 * NS, NS, until=lambda: not sim.outlet(3).closed)
    assert tripped(sim)[3] is Fault.SENSOR_FROZEN
    assert sim.world.thermometers[3].temperature_c(sim.clock.monotonic_ns()) < 85


@pytest.mark.after(charging, 3)
def test_thermometer_inside_that_stands_still_warns_and_its_value_is_none(striding):
    sim = striding
    sim.world.fault(3, "frozen", chip="inside_thermometer")
    for _ in range(40):
        sim.world.ambient_c += 0.1
        sim.stride(20 * NS, 10 * NS)
    assert warned(sim, Fault.SENSOR_FROZEN) == {None}
    assert sim.guard.snapshot().inside_mc.value is None
    assert sim.outlet(3).closed, "each outlet has its own"


def test_thermometer_inside_that_was_asleep_is_woken_and_said(sim):
    sim.world.fault(3, "upset", chip="inside_thermometer", register="config", value=SHUT_DOWN)
    sim.run(3 * NS)
    assert sim.world.inside_thermometer._registers[1] == AWAKE
    assert warned(sim, Fault.SENSOR_RESET) == {None}


def test_warm_morning_with_charges_at_any_load_trips_nothing(striding):
    sim = striding
    for outlet, watts in zip(range(1, 9), (60, 120, 200, 350, 480, 650, 800, 950), strict=True):
        sim.plug(outlet, f"resistor:{watts}")
        sim.start(outlet)
    for _ in range(360):
        sim.world.ambient_c += 0.02
        sim.stride(20 * NS, 10 * NS)
    for outlet in range(1, 9):
        sim.stop(outlet)
    sim.stride(1800 * NS, 10 * NS)
    assert tripped(sim) == {}
    assert warned(sim, Fault.SENSOR_FROZEN) == set()


@pytest.mark.after(charging, 3, 6)
@pytest.mark.parametrize(
    ("register", "value", "wanted"),
    [("ipol", 0xFFFF, 0), ("iocon", 0x2020, 0)],
    ids=["inputs inverted", "no counting on"],
)
def test_settings_of_the_relays_expander_are_set_right_and_said_and_charges_go_on(sim, register, value, wanted):
    sim.world.fault(3, "upset", chip="expander", register=register, value=value)
    sim.run(3 * NS)
    expander = sim.world.expanders[sim.world.coil_place[3][0]]
    assert expander._present(expander._addresses(register)[0], 0) == wanted
    assert warned(sim, Fault.SENSOR_RESET) == {None}
    assert sim.outlet(3).closed
    assert sim.outlet(6).closed


@pytest.mark.after(charging, 3, 6)
def test_mux_that_joins_one_channel_too_many_is_found_within_a_second_and_set_right(sim):
    sim.run(NS)
    sim.world.fault(3, "upset", chip="mux", register="channels", value=0x03)
    sim.run(NS)
    sim.run(NS)
    assert sim.outlet(3).closed
    assert sim.outlet(6).closed


@pytest.mark.after(charging, 3, 6)
def test_mux_that_keeps_one_channel_shows_no_outlet_the_readings_of_another(sim):
    sim.run(NS)
    sim.world.fault(3, "stuck", chip="mux", register="channels", value=0x02)
    assert sim.run(NS, until=lambda: not sim.outlet(6).closed)
    assert set(tripped(sim).values()) <= {Fault.SENSOR_RESET, Fault.SENSOR_LOST}
    sim.run(2 * NS)
    assert sim.outlet(3).closed, "its channel is the one that is joined"
