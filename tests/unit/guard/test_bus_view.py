"""The guard's report on its bus: registers as read, failures counted, unexpected chips found."""

import errno
from typing import Any

import msgspec
import pytest

from cabinet.clock import MS, NS
from cabinet.guard.probe import Prober, ProbeTarget, probe_targets
from cabinet.hardware.bus import Muxes
from cabinet.link import guard_protocol
from cabinet_testing.sim_cabinet import SimCabinet


@pytest.fixture
def sim(prepared):
    return prepared(noise=False)


def segment_of(sim: SimCabinet, outlet: int) -> guard_protocol.SegmentView:
    return next(s for s in sim.guard.bus_view().segments if outlet in s.inputs.values())


def test_every_outlet_is_on_one_input_and_its_registers_are_shown_unscaled(sim):
    sim.plug(3, "resistor:200")
    sim.start(3)
    assert sim.run(5 * NS, until=lambda: (sim.outlet(3).power_mw.value or 0) > 150_000)
    view = sim.guard.bus_view()
    assert sorted(outlet for s in view.segments for outlet in s.inputs.values()) == list(range(1, 11))
    segment = segment_of(sim, 3)
    meter, thermometer = segment.chips
    input_ = next(name for name, outlet in segment.inputs.items() if outlet == 3)
    scale = 200_000 * 500_000 / 2 / 1000 / 4_862_401  # data sheet p. 24: full-scale power of this hardware
    assert abs(meter.raw[f"{input_}WATT"]) * scale == pytest.approx(sim.outlet(3).power_mw.value, rel=0.02)
    assert 0 < thermometer.raw["TEMPERATURE"] < 0x8000
    assert segment.up
    assert segment.errors == {}


def test_failed_transfers_are_counted_by_kind_at_their_segment_only(sim):
    real = sim.guard._scanner.segments[1].chip.port._bus.transfer
    failing = sim.guard._scanner.segments[1].chip

    def nack(messages):
        if sim.guard._scanner._muxes.selected == (failing.port.mux, failing.port.channel):
            raise OSError(errno.EREMOTEIO, "no acknowledge")
        return real(messages)

    failing.port._bus.transfer = nack
    sim.run(30 * MS)
    bad = sim.guard.bus_view().segments[1]
    assert set(bad.errors) == {"EREMOTEIO"}
    assert bad.last_error.startswith("ADE7953 at 0x38")
    assert [s.errors for i, s in enumerate(sim.guard.bus_view().segments) if i != 1 and s.errors] == []
    assert sim.guard.bus_view().errors == sum(bad.errors.values())


def test_search_asks_no_chip_that_is_in_use(sim):
    hardware = sim.config.hardware
    places = {(place.mux, place.channel, place.address) for place in probe_targets(sim.config)}
    assert places.isdisjoint({(None, None, a) for a in (*hardware.expanders, *hardware.muxes)})
    assert places.isdisjoint({(o.meter.mux, o.meter.channel, 0x38) for o in sim.config.outlet})
    assert places.isdisjoint({(t.mux, t.channel, t.address) for o in sim.config.outlet if (t := o.thermometer)})
    assert (None, None, hardware.inside_thermometer) not in places


def test_search_of_a_cabinet_as_configured_finds_nothing_and_opens_nothing(sim):
    sim.plug(3, "resistor:200")
    sim.start(3)
    assert sim.run(2 * NS, until=lambda: sim.outlet(3).closed)
    assert sim.guard.bus_view(scan=True).scan.running
    assert sim.run(5 * NS, until=lambda: not sim.guard.bus_view().scan.running)
    scan = sim.guard.bus_view().scan
    assert (scan.asked, scan.found, scan.stopped_by) == (scan.places, [], "")
    assert scan.places > 30
    assert sim.outlet(3).closed
    assert sim.guard.snapshot().health.bus_errors == 0


def test_search_finds_a_chip_that_is_not_in_the_configuration(sim):
    inside = sim.config.hardware.inside_thermometer
    hardware = msgspec.structs.replace(sim.config.hardware, inside_thermometer=None)
    places = probe_targets(msgspec.structs.replace(sim.config, hardware=hardware))
    sim.guard._scanner._new_prober = lambda: Prober(sim.open_bus(), Muxes(sim.open_bus(), hardware.muxes), places)
    sim.guard.bus_view(scan=True)
    assert sim.run(5 * NS, until=lambda: not sim.guard.bus_view().scan.running)
    assert [(c.chip, c.address, c.mux) for c in sim.guard.bus_view().scan.found] == [("TMP102", inside, None)]


def test_hanging_bus_ends_the_search():
    class HangingBus:
        def write_byte(self, address, value):
            pass

        def read_byte(self, address):
            raise OSError(errno.ETIMEDOUT, "timed out")

    bus: Any = HangingBus()
    prober = Prober(bus, Muxes(bus, []), [ProbeTarget("TMP102", 0x49), ProbeTarget("TMP102", 0x4A)])
    assert prober.step()
    assert prober.done
    assert "ETIMEDOUT" in prober.view().stopped_by
