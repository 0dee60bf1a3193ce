"""Alert lines that end at an expander: as fast as lines of the computer, and never the only way to find a short."""

import logging

import pytest

from bench.scan import cabinet_of
from cabinet.clock import MS, NS, ManualClock
from cabinet.guard.alerts import AlertExpander, AlertLines
from cabinet.hardware.bus import ChipPort
from cabinet.hardware.mcp23017 import Mcp23017
from cabinet.model import Fault
from cabinet.sim.faults import FAULTS, FaultTable
from cabinet.sim.world import World
from cabinet_testing.fake_bus import FakeBus, Registers
from cabinet_testing.sim_adapters import SimPinFactory
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging, reaction_ms

OVER_CEILING = {"amps": 300, "at_phase": 60}


def at_expander(address: int) -> dict[str, str]:
    """Outlets 3 to 5 have their alert lines at pins 10 to 12 of an expander."""
    order = {2: "gpio:6", 3: "gpio:12", 4: "gpio:13"}
    changes = {f'alert = "{line}"': f'alert = "expander:{address:#04x}/{8 + index}"' for index, line in order.items()}
    return {**changes, "muxes =": f"alert_expanders = [{{ address = {address:#04x}, interrupt_pin = 14 }}]\nmuxes ="}


@pytest.fixture(params=[0x20, 0x21], ids=["with relays", "of its own"])
def sim(request, prepared) -> SimCabinet:
    return prepared(demo_config(at_expander(request.param)))


@pytest.mark.after(charging, 3)
def test_short_over_the_ceiling_opens_within_three_milliseconds(sim):
    sim.world.fault(3, "short", **OVER_CEILING)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert reaction_ms(sim, 3) < 3
    assert sim.events(3)[-1].fault is Fault.SHORT_CIRCUIT


@pytest.mark.after(charging, 3, 5)
def test_line_that_stays_low_hides_no_other_one(sim):
    """An alert is latched in the meter until it is taken: the second short comes while the first holds its line."""
    sim.world.fault(3, "short", **OVER_CEILING)
    assert sim.run(NS, until=lambda: not sim.outlet(3).closed)
    sim.world.fault(5, "short", **OVER_CEILING)
    assert sim.run(NS, until=lambda: sim.ended(5))
    assert reaction_ms(sim, 5) < 3


def test_interrupts_lost_in_a_brown_out_are_set_up_again(sim):
    address = sim.config.hardware.alert_expanders[0].address
    sim.world.expanders[address].power_up(sim.clock.monotonic_ns())
    sim.run(5 * NS)
    charging(sim, 3)
    sim.world.fault(3, "short", **OVER_CEILING)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert reaction_ms(sim, 3) < 3


def test_without_its_expander_a_short_is_found_by_polling(tmp_path, caplog):
    sim = SimCabinet(tmp_path, demo_config(at_expander(0x21)))
    charging(sim, 2, 3)
    sim.world.expanders[0x21].present = False
    with caplog.at_level(logging.WARNING):
        sim.run(2 * NS)
        sim.world.fault(3, "short", amps=60)
        assert sim.run(NS, until=lambda: sim.ended(3))
        assert reaction_ms(sim, 3) < 20
        sim.world.expanders[0x21].present = True
        sim.run(2 * NS)
    assert sim.outlet(2).closed
    told = [record.getMessage() for record in caplog.records if "alerts" in record.getMessage()]
    assert told == [
        "alerts of outlets 3, 4, 5 do not come, shorts there are found by polling: "
        "MCP23017 at 0x21 register 0x000: EREMOTEIO",
        "alerts of outlets 3, 4, 5 come again",
    ]


def test_interrupt_whose_edge_nobody_saw_is_answered_at_the_next_check():
    cells = {"00": "FF FF", "02": "00 00", "04": "00 04", "08": "00 00", "0A": "40 40", "12": "00 00"}
    bus = FakeBus({0x21: Registers(1, dict(cells))})
    expander = AlertExpander(Mcp23017(ChipPort(bus, "MCP23017", 0x21)), 14, {10: 3})
    assert expander.fallen(100) == []
    expander.check(200, interrupt_low=True)
    assert expander.fallen(300) == [(3, 200)]
    expander.check(400, interrupt_low=False)
    assert expander.fallen(500) == []


def test_forty_outlets_are_as_safe_as_ten(tmp_path):
    """A scan of forty takes more than half a mains cycle: only their alert lines can keep the 20 ms."""
    sim = SimCabinet(tmp_path, cabinet_of(40))
    charging(sim, 12, 31, 38)
    for outlet, amps, within_ms in ((31, 300, 3), (38, 60, 20)):
        sim.world.fault(outlet, "short", amps=amps, at_phase=60)
        assert sim.run(2 * NS, until=lambda which=outlet: sim.ended(which))
        assert reaction_ms(sim, outlet) < within_ms
        sim.run(3 * NS)
    assert sim.outlet(12).closed


def test_alert_of_an_inrush_that_nobody_looked_at_in_time_does_not_silence_the_line(tmp_path):
    """The meter holds its line until it is asked: a guard that was away meanwhile asks when it is back."""
    sim = SimCabinet(tmp_path, demo_config({"heartbeat_pin = 27\n": ""}))
    lines, pin = sim.world.lines, 6  # of outlet 3
    sim.start(3)
    sim.run(NS, until=lambda: sim.outlet(3).closed)
    sim.plug(3, "resistor:300")
    sim.world.fault(3, "short", amps=40, shape="full")
    sim.run(20_000_000, until=lambda: not lines.level(pin))
    sim.world.clear(3)
    assert not lines.level(pin)
    sim.stride(2 * NS, NS)
    sim.run(NS // 20)
    assert lines.level(pin)


@pytest.mark.parametrize(
    ("stamped_before_ns", "taken_before_ns"),
    [(0, 0), (3 * MS, 3 * MS), (NS, 0), (-5 * MS, 0)],
    ids=["at once", "late", "by a clock that is behind", "by a clock that is ahead"],
)
def test_edge_is_from_when_the_line_fell_and_not_from_when_it_was_told(monkeypatch, stamped_before_ns, taken_before_ns):
    clock = ManualClock(100 * NS)
    world = World(clock, 400_000, 230.0, 50.0, 20.0, seed=1, fault_table=FaultTable(FAULTS))
    told = {}
    monkeypatch.setattr(world.lines, "watch", lambda number, on_edge: told.update({number: on_edge}))
    world.lines.wire(5, level=True)
    lines = AlertLines({3: 5}, [], SimPinFactory(world), clock)
    try:
        told[5](False, clock.monotonic_ns() - stamped_before_ns)
        assert lines.take() == {3: clock.monotonic_ns() - taken_before_ns}
    finally:
        lines.close()
