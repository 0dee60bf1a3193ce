"""Faults as they reach the controller: at its chips, on its bus, on its lines."""

import errno
import math

import pytest
from smbus2 import i2c_msg

from cabinet.clock import MS
from cabinet.sim.catalogue import make_load
from cabinet.sim.faults import FAULTS
from cabinet_testing.sim_hardware import EXPANDER, METER, THERMOMETER, SimHardware


def peak_a(cabinet: SimHardware, outlet: int) -> float:
    cabinet.select((outlet - 1) // 2)
    answer = i2c_msg.read(METER, 3)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x29 if outlet % 2 else 0x2B]), answer)
    return int.from_bytes(bytes(answer), "big") / 6_500_000 * 200


def half_cycle_peaks(cabinet: SimHardware, outlet: int, count: int) -> list[float]:
    """Peak of each of the next half-cycles of the mains."""
    mains = cabinet.world.mains
    assert mains is not None
    start_ns = mains.next_angle_ns(0, cabinet.clock.monotonic_ns())
    peaks = []
    for half in range(count):
        begin_ns = start_ns + half * 10 * MS
        wave = cabinet.world.outlets[outlet].wave
        peaks.append(wave.peak_a(begin_ns + 100_000, begin_ns + 9_900_000))
    return peaks


def test_a_full_short_flows_in_every_half_cycle_beside_the_load(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("resistor:220"))
    cabinet.close(1)
    cabinet.world.fault(1, "short", amps=60)
    assert half_cycle_peaks(cabinet, 1, 6) == pytest.approx([61 * math.sqrt(2)] * 6, rel=1e-3)
    cabinet.live_ms(20)
    assert peak_a(cabinet, 1) == pytest.approx(61 * math.sqrt(2), rel=1e-3)
    assert peak_a(cabinet, 2) == 0.0, "the chip's other input sees nothing"
    assert cabinet.world.truth(1).power_mw == pytest.approx(61 * 220 * 1000, rel=1e-4)


def test_a_shorted_diode_conducts_in_every_other_half_cycle(cabinet: SimHardware) -> None:
    cabinet.close(1)
    cabinet.world.fault(1, "short", amps=60, shape="half")
    peaks = half_cycle_peaks(cabinet, 1, 8)
    assert peaks == pytest.approx([60 * math.sqrt(2), 0.0] * 4, abs=0.1)


def test_an_arc_skips_half_cycles_but_never_four_in_a_row() -> None:
    for seed in range(10):
        cabinet = SimHardware(seed=seed)
        cabinet.close(1)
        cabinet.world.fault(1, "short", amps=60, shape="intermittent")
        struck = [peak > 30 for peak in half_cycle_peaks(cabinet, 1, 64)]
        assert True in struck
        gaps = "".join("x" if hit else "-" for hit in struck).strip("-").split("x")
        assert max(map(len, gaps)) <= 3


@pytest.mark.parametrize("degrees", [0, 45, 90, 200, 315])
def test_a_short_begins_at_the_phase_asked_for(cabinet: SimHardware, degrees: float) -> None:
    cabinet.close(1)
    cabinet.world.fault(1, "short", at_phase=degrees)
    cabinet.live_ms(25)
    mains = cabinet.world.mains
    assert mains is not None
    began = math.degrees(mains.angle(cabinet.when("fault_onset", 1)))
    assert min(abs(began - degrees), 360 - abs(began - degrees)) < 0.01


def test_the_onset_of_a_short_behind_an_open_relay_is_when_the_relay_closes(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "short")
    cabinet.live_ms(100)
    assert "fault_onset" not in cabinet.kinds(1)
    cabinet.close(1)
    assert cabinet.when("fault_onset", 1) == max(cabinet.when("contacts_closed", 1), cabinet.when("contactor_closed"))


def test_clear_stops_a_short_and_a_plan_for_one(cabinet: SimHardware) -> None:
    cabinet.close(1)
    cabinet.world.fault(1, "short")
    cabinet.live_ms(5)
    cabinet.world.clear(1)
    assert cabinet.world.truth(1).power_mw == 0
    cabinet.world.fault(1, "short", at_phase=90)
    cabinet.world.clear(1)
    cabinet.live_ms(50)
    assert cabinet.world.truth(1).power_mw == 0


@pytest.mark.parametrize(("chip", "address"), [("meter", METER), ("thermometer", THERMOMETER), ("expander", EXPANDER)])
def test_nack_silences_the_chip_asked_for_and_no_other(cabinet: SimHardware, chip: str, address: int) -> None:
    cabinet.select(0)
    cabinet.world.fault(1, "nack", chip=chip)
    for each in {METER, THERMOMETER, EXPANDER} - {address}:
        cabinet.bus.write_quick(each)
    with pytest.raises(OSError, match="EREMOTEIO") as silent:
        cabinet.bus.write_quick(address)
    assert silent.value.errno == errno.EREMOTEIO
    cabinet.world.clear(1)
    cabinet.bus.write_quick(address)


def test_clearing_one_outlet_leaves_the_same_fault_of_its_neighbour_on_their_chip(cabinet: SimHardware) -> None:
    cabinet.select(0)
    cabinet.world.fault(1, "nack")
    cabinet.world.fault(2, "nack")
    cabinet.world.clear(1)
    with pytest.raises(OSError, match="EREMOTEIO"):
        cabinet.bus.write_quick(METER)
    cabinet.world.clear(2)
    cabinet.bus.write_quick(METER)


def test_an_expander_that_resets_drops_every_relay(cabinet: SimHardware) -> None:
    cabinet.close(1, 2, 3)
    cabinet.world.fault(1, "chip_reset", chip="expander")
    cabinet.live_ms(20)
    assert [cabinet.world.truth(outlet).contacts_closed for outlet in (1, 2, 3)] == [False] * 3
    assert cabinet.bus.read_word_data(EXPANDER, 0x00) == 0xFFFF
    assert cabinet.world.truth(1).faults == {}, "it has happened; nothing lasts"


def test_a_meter_that_resets_is_at_its_defaults_at_once_or_silent_for_66_ms(cabinet: SimHardware) -> None:
    cabinet.select(0)
    cabinet.bus.write_i2c_block_data(METER, 0x02, [0x25, 0x12, 0x34, 0x56])

    def level() -> bytes:
        answer = i2c_msg.read(METER, 3)
        cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x25]), answer)
        return bytes(answer)

    assert level() == b"\x12\x34\x56"
    cabinet.world.fault(2, "chip_reset")
    assert level() == b"\xff\xff\xff"
    cabinet.world.fault(2, "chip_reset", down=1)
    with pytest.raises(OSError, match="EREMOTEIO"):
        level()
    cabinet.live_ms(70)
    assert level() == b"\xff\xff\xff"


def test_a_frozen_meter_goes_on_answering_with_what_was(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("resistor:500"))
    cabinet.close(1)
    cabinet.live_ms(100)
    cabinet.world.fault(1, "frozen")
    frozen = peak_a(cabinet, 1)
    cabinet.world.fault(1, "short", amps=100)
    cabinet.live_ms(100)
    assert peak_a(cabinet, 1) == frozen > 3
    cabinet.world.clear(1)
    cabinet.live_ms(100)


def test_hot_plug_pulls_pushes_in_and_bounces_on_a_live_outlet(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("lithium-60v"))
    cabinet.close(1)
    cabinet.live_ms(2000)
    assert cabinet.world.truth(1).power_mw > 300_000
    cabinet.world.fault(1, "hot_plug")
    assert cabinet.world.truth(1).load is None
    cabinet.live_ms(85)
    assert cabinet.world.truth(1).load is None, "bounced off again"
    cabinet.live_ms(2000)
    truth = cabinet.world.truth(1)
    assert (truth.load, truth.stage) == ("lithium-60v", "constant current")


def test_every_fault_can_be_set_cleared_and_set_again(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("lithium-48v"))
    cabinet.close(1)
    for kind, fault in FAULTS.items():
        for _ in range(2):
            cabinet.world.fault(None if fault.cabinet else 1, kind)
            cabinet.live_ms(200)
            cabinet.world.clear()
            cabinet.live_ms(100)
    assert cabinet.world.truth(1).faults == {}
    assert cabinet.world.state()["faults"] == {}
    cabinet.live_ms(2000)
    assert cabinet.world.truth(1).power_mw > 150_000, "and the charge goes on"


def test_swapped_coils_close_each_others_contacts(cabinet: SimHardware) -> None:
    cabinet.world.fault(3, "relays_swapped", other=7)
    cabinet.close(3)
    assert [cabinet.world.truth(n).contacts_closed for n in (3, 7)] == [False, True]
    cabinet.world.clear(3)
    cabinet.live_ms(20)
    assert [cabinet.world.truth(n).contacts_closed for n in (3, 7)] == [True, False]


def test_reversed_sensor_shows_the_same_peak_and_the_power_with_a_minus(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("resistor:220"))
    cabinet.close(1)
    cabinet.world.fault(1, "current_reversed")
    cabinet.live_ms(500)
    cabinet.select(0)
    answer = i2c_msg.read(METER, 3)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x02, 0x12]), answer)
    assert int.from_bytes(bytes(answer), "big", signed=True) < 0
    assert peak_a(cabinet, 1) == pytest.approx(math.sqrt(2), rel=0.02)


def test_swapped_thermometers_and_meters_show_the_other_outlet(cabinet: SimHardware) -> None:
    cabinet.world.fault(1, "thermometers_swapped", other=5)
    cabinet.world.fault(1, "warmed", kelvin=20)
    cabinet.live_ms(20_000)
    now_ns = cabinet.clock.monotonic_ns()
    chips = cabinet.world.thermometers
    assert chips[5].temperature_c(now_ns) - chips[1].temperature_c(now_ns) > 10
    cabinet.world.plug(1, make_load("resistor:220"))
    cabinet.world.fault(1, "meters_swapped", other=5)
    cabinet.close(1)
    cabinet.live_ms(100)
    assert peak_a(cabinet, 5) == pytest.approx(math.sqrt(2), rel=0.02)
    assert peak_a(cabinet, 1) < 0.1
