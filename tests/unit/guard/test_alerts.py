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
from cabinet.sim.gpio import SimPinFactory
from cabinet.sim.world import World
from tests.desk import Desk, demo_config
from tests.unit.chips.wire import FakeBus, Registers
from tests.unit.guard.charges import charging, reaction_ms

OVER_CEILING = {"amps": 300, "at_phase": 60}


def at_expander(address: int) -> dict[str, str]:
    """Outlets 3 to 5 have their alert lines at pins 10 to 12 of an expander."""
    order = {2: "gpio:6", 3: "gpio:12", 4: "gpio:13"}
    changes = {f'alert = "{line}"': f'alert = "expander:{address:#04x}/{8 + index}"' for index, line in order.items()}
    return {**changes, "muxes =": f"alert_expanders = [{{ address = {address:#04x}, interrupt_pin = 14 }}]\nmuxes ="}


@pytest.fixture(params=[0x20, 0x21], ids=["with relays", "of its own"])
def desk(request, tmp_path) -> Desk:
    return Desk(tmp_path, demo_config(at_expander(request.param)))


def test_short_over_the_ceiling_opens_within_three_milliseconds(desk):
    charging(desk, 3)
    desk.world.fault(3, "short", **OVER_CEILING)
    assert desk.run(NS, until=lambda: desk.ended(3))
    assert reaction_ms(desk, 3) < 3
    assert desk.events(3)[-1].fault is Fault.SHORT_CIRCUIT


def test_line_that_stays_low_hides_no_other_one(desk):
    """An alert is latched in the meter until it is taken: the second short comes while the first holds its line."""
    charging(desk, 3, 5)
    desk.world.fault(3, "short", **OVER_CEILING)
    assert desk.run(NS, until=lambda: not desk.outlet(3).closed)
    desk.world.fault(5, "short", **OVER_CEILING)
    assert desk.run(NS, until=lambda: desk.ended(5))
    assert reaction_ms(desk, 5) < 3


def test_interrupts_lost_in_a_brown_out_are_set_up_again(desk):
    address = desk.config.hardware.alert_expanders[0].address
    desk.world.expanders[address].power_up(desk.clock.monotonic_ns())
    desk.run(5 * NS)
    charging(desk, 3)
    desk.world.fault(3, "short", **OVER_CEILING)
    assert desk.run(NS, until=lambda: desk.ended(3))
    assert reaction_ms(desk, 3) < 3


def test_without_its_expander_a_short_is_found_by_polling(tmp_path, caplog):
    desk = Desk(tmp_path, demo_config(at_expander(0x21)))
    charging(desk, 2, 3)
    desk.world.expanders[0x21].present = False
    with caplog.at_level(logging.WARNING):
        desk.run(2 * NS)
        desk.world.fault(3, "short", amps=60)
        assert desk.run(NS, until=lambda: desk.ended(3))
        assert reaction_ms(desk, 3) < 20
        desk.world.expanders[0x21].present = True
        desk.run(2 * NS)
    assert desk.outlet(2).closed
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
    desk = Desk(tmp_path, cabinet_of(40))
    charging(desk, 12, 31, 38)
    for outlet, amps, within_ms in ((31, 300, 3), (38, 60, 20)):
        desk.world.fault(outlet, "short", amps=amps, at_phase=60)
        assert desk.run(2 * NS, until=lambda which=outlet: desk.ended(which))
        assert reaction_ms(desk, outlet) < within_ms
        desk.run(3 * NS)
    assert desk.outlet(12).closed


def test_alert_of_an_inrush_that_nobody_looked_at_in_time_does_not_silence_the_line(tmp_path):
    """The meter holds its line until it is asked: a guard that was away meanwhile asks when it is back."""
    desk = Desk(tmp_path, demo_config({"heartbeat_pin = 27\n": ""}))
    lines, pin = desk.world.lines, 6  # of outlet 3
    desk.start(3)
    desk.run(NS, until=lambda: desk.outlet(3).closed)
    desk.plug(3, "resistor:300")
    desk.world.fault(3, "short", amps=40, shape="full")
    desk.run(20_000_000, until=lambda: not lines.level(pin))
    desk.world.clear(3)
    assert not lines.level(pin)
    desk.stride(2 * NS, NS)
    desk.run(NS // 20)
    assert lines.level(pin)


@pytest.mark.parametrize(
    ("stamped_before_ns", "taken_before_ns"),
    [(0, 0), (3 * MS, 3 * MS), (NS, 0), (-5 * MS, 0)],
    ids=["at once", "late", "by a clock that is behind", "by a clock that is ahead"],
)
def test_edge_is_from_when_the_line_fell_and_not_from_when_it_was_told(stamped_before_ns, taken_before_ns):
    clock = ManualClock(100 * NS)
    world = World(clock, 400_000, 230.0, 50.0, 20.0, seed=1, fault_table=FaultTable(FAULTS))
    told = {}
    world.lines.watch = lambda number, on_edge: told.update({number: on_edge})
    world.lines.wire(5, level=True)
    lines = AlertLines({3: 5}, [], SimPinFactory(world), clock)
    try:
        told[5](False, clock.monotonic_ns() - stamped_before_ns)
        assert lines.take() == {3: clock.monotonic_ns() - taken_before_ns}
    finally:
        lines.close()
