"""What the guard tells of its bus: registers as read, failures counted, chips found that nobody expects."""

import errno

import msgspec
import pytest

from cabinet.clock import MS, NS
from cabinet.guard.probe import Prober, ProbeTarget, probe_targets
from cabinet.hardware.bus import Muxes
from cabinet.link import protocol
from tests.desk import Desk


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path, noise=False)


def segment_of(desk: Desk, outlet: int) -> protocol.SegmentView:
    return next(s for s in desk.guard.bus_view().segments if outlet in s.inputs.values())


def test_every_outlet_is_on_one_input_and_its_registers_are_shown_unscaled(desk):
    desk.plug(3, "resistor:200")
    desk.start(3)
    assert desk.run(5 * NS, until=lambda: (desk.outlet(3).power_mw.value or 0) > 150_000)
    view = desk.guard.bus_view()
    assert sorted(outlet for s in view.segments for outlet in s.inputs.values()) == list(range(1, 11))
    segment = segment_of(desk, 3)
    meter, thermometer = segment.chips
    input_ = next(name for name, outlet in segment.inputs.items() if outlet == 3)
    scale = 200_000 * 500_000 / 2 / 1000 / 4_862_401  # data sheet p. 24: full-scale power of this hardware
    assert abs(meter.raw[f"{input_}WATT"]) * scale == pytest.approx(desk.outlet(3).power_mw.value, rel=0.02)
    assert 0 < thermometer.raw["TEMPERATURE"] < 0x8000
    assert segment.up
    assert segment.errors == {}


def test_failed_transfers_are_counted_by_kind_at_their_segment_only(desk):
    real = desk.guard._scanner.segments[1].chip.port._bus.i2c_rdwr
    failing = desk.guard._scanner.segments[1].chip

    def nack(*messages):
        if desk.guard._scanner._muxes._selected == (failing.port.mux, failing.port.channel):
            raise OSError(errno.EREMOTEIO, "no acknowledge")
        real(*messages)

    failing.port._bus.i2c_rdwr = nack
    desk.run(30 * MS)
    bad = desk.guard.bus_view().segments[1]
    assert set(bad.errors) == {"EREMOTEIO"}
    assert bad.last_error.startswith("ADE7953 at 0x38")
    assert [s.errors for i, s in enumerate(desk.guard.bus_view().segments) if i != 1 and s.errors] == []
    assert desk.guard.bus_view().errors == sum(bad.errors.values())


def test_search_asks_no_chip_that_is_in_use(desk):
    hardware = desk.config.hardware
    places = {(place.mux, place.channel, place.address) for place in probe_targets(desk.config)}
    assert places.isdisjoint({(None, None, a) for a in (*hardware.expanders, *hardware.muxes)})
    assert places.isdisjoint({(o.meter.mux, o.meter.channel, 0x38) for o in desk.config.outlet})
    assert places.isdisjoint({(t.mux, t.channel, t.address) for o in desk.config.outlet if (t := o.thermometer)})
    assert (None, None, hardware.inside_thermometer) not in places


def test_search_of_a_cabinet_as_configured_finds_nothing_and_opens_nothing(desk):
    desk.plug(3, "resistor:200")
    desk.start(3)
    assert desk.run(2 * NS, until=lambda: desk.outlet(3).closed)
    assert desk.guard.bus_view(scan=True).scan.running
    assert desk.run(5 * NS, until=lambda: not desk.guard.bus_view().scan.running)
    scan = desk.guard.bus_view().scan
    assert (scan.asked, scan.found, scan.stopped_by) == (scan.places, [], "")
    assert scan.places > 30
    assert desk.outlet(3).closed
    assert desk.guard.snapshot().health.bus_errors == 0


def test_search_finds_a_chip_that_is_not_in_the_configuration(desk):
    inside = desk.config.hardware.inside_thermometer
    hardware = msgspec.structs.replace(desk.config.hardware, inside_thermometer=None)
    places = probe_targets(msgspec.structs.replace(desk.config, hardware=hardware))
    desk.guard._scanner._new_prober = lambda: Prober(desk.open_bus(), Muxes(desk.open_bus(), hardware.muxes), places)
    desk.guard.bus_view(scan=True)
    assert desk.run(5 * NS, until=lambda: not desk.guard.bus_view().scan.running)
    assert [(c.chip, c.address, c.mux) for c in desk.guard.bus_view().scan.found] == [("TMP102", inside, None)]


def test_hanging_bus_ends_the_search():
    class HangingBus:
        def write_byte(self, address, value):
            pass

        def read_byte(self, address):
            raise OSError(errno.ETIMEDOUT, "timed out")

    prober = Prober(HangingBus(), Muxes(HangingBus(), []), [ProbeTarget("TMP102", 0x49), ProbeTarget("TMP102", 0x4A)])
    assert prober.step()
    assert prober.done
    assert "ETIMEDOUT" in prober.view().stopped_by
