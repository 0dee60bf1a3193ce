"""Parts that differ from the nominal ones: contacts, coils, breakers, sensors, the mains itself."""

import itertools
import math
import random

import pytest

from cabinet.clock import MS
from cabinet.sim.catalogue import make_load
from cabinet.sim.parts import BREAKER, RELAY
from cabinet.sim.transient import Magnetising
from cabinet.sim.waveform import RESISTIVE, Harmonic, Mains, steady
from cabinet_testing import sim_tolerances
from cabinet_testing.sim_hardware import FULL_A, MeterChip, SimHardware

RSTIAPEAK, RSTIBPEAK, IRMSA, IRMSB, BWATT, VRMS, VPEAK = 0x229, 0x22B, 0x21A, 0x21B, 0x213, 0x21C, 0x226
PEAK_A = FULL_A / 6_500_000
RMS_A = FULL_A / math.sqrt(2) / 9_032_007
MAINS = Mains(311.0, 0, 10 * MS)


class TestContacts:
    def test_they_weld_on_breaking_more_than_they_can_and_not_on_less(self) -> None:
        for amps, welded in ((60, True), (5, False)):
            cabinet = SimHardware()
            cabinet.world.fault(1, "weak_contacts", breaking_amps=10)
            cabinet.close(1)
            cabinet.world.fault(1, "short", amps=amps, at_phase=0)
            cabinet.live_ms(24)  # released 3 to 5 ms later, about the crest
            cabinet.coils()
            cabinet.live_ms(40)
            assert cabinet.world.truth(1).welded is welded

    def test_they_weld_when_they_close_onto_a_short(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "weak_contacts", breaking_amps=1000, making_amps=80)
        cabinet.world.fault(1, "short", amps=200)
        cabinet.close(2)
        cabinet.coils(1, 2)
        cabinet.live_ms(30)
        assert cabinet.world.truth(1).welded
        (weld,) = [each for each in cabinet.world.journal.after(0, 1) if each.kind == "welded"]
        assert weld.detail["when"] == "closing"

    def test_they_stick_by_chance_only_with_current(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "weak_contacts", breaking_amps=1000, making_amps=5000, share=1)
        cabinet.close(1)
        cabinet.coils()
        cabinet.live_ms(40)
        assert not cabinet.world.truth(1).welded
        cabinet.world.plug(1, make_load("resistor:500"))
        cabinet.close(1)
        cabinet.coils()
        cabinet.live_ms(40)
        assert cabinet.world.truth(1).welded

    def test_cleared_they_are_as_fitted(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "weak_contacts")
        cabinet.world.fault(1, "slow_release")
        cabinet.world.clear(1)
        assert cabinet.world.outlets[1].part == RELAY

    def test_a_bounce_is_bridged_by_its_arc_unless_the_current_passes_zero(self) -> None:
        cabinet = SimHardware()
        cabinet.world.outlets[1].part = RELAY._replace(bounce_ns=4 * MS)
        cabinet.world.plug(1, make_load("resistor:1000"))
        interrupted = 0
        for turn in range(20):
            cabinet.close(1)
            cabinet.live_ms(30)
            assert cabinet.world.truth(1).conducting
            interrupted = cabinet.kinds(1).count("current_zero") - turn
            cabinet.coils()
            cabinet.live_ms(30 + turn)
        assert 0 < interrupted < 20

    def test_a_slow_coil_lets_go_when_it_says(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "slow_release", ms=25)
        cabinet.close(1)
        cabinet.coils()
        cabinet.live_ms(60)
        assert cabinet.when("contacts_opened", 1) - cabinet.when("coil_off", 1) == 25 * MS

    def test_a_slow_contactor_lets_go_when_it_says(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(None, "contactor_slow", ms=24)
        cabinet.close(1)
        cabinet.contactor(False)
        cabinet.live_ms(60)
        assert cabinet.when("contactor_opened") - cabinet.when("contactor_off") == 24 * MS


class TestBreakers:
    @pytest.mark.parametrize(("acts", "amps", "trips"), [
        ("nominal", 60, False), ("nominal", 130, True), ("quick", 60, True), ("slow", 130, False),
        ("never", 400, False),
    ])  # fmt: skip
    def test_the_magnet_of_each_kind(self, cabinet: SimHardware, acts: str, amps: float, trips: bool) -> None:
        cabinet.world.fault(1, "breaker", acts=acts)
        cabinet.close(1)
        cabinet.world.fault(1, "short", amps=amps)
        cabinet.live_ms(40)
        assert cabinet.world.truth(1).breaker_closed is not trips

    def test_none_never_opens_by_heat_either(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "breaker", acts="never")
        cabinet.close(1)
        cabinet.world.fault(1, "short", amps=60)
        cabinet.live_ms(30_000)
        assert cabinet.world.truth(1).breaker_closed

    def test_the_upstream_one_takes_the_mains_from_all_and_gives_it_back_when_it_is_cleared(
        self, cabinet: SimHardware
    ) -> None:
        cabinet.world.fault(None, "upstream_breaker", acts="quick", amps=16)
        cabinet.world.plug(2, make_load("resistor:500"))
        cabinet.close(1, 2)
        cabinet.world.fault(1, "breaker", acts="never")
        cabinet.world.fault(1, "short", amps=100)
        cabinet.live_ms(40)
        assert "upstream_breaker_tripped" in cabinet.kinds()
        assert cabinet.world.truth(2).power_mw == 0
        cabinet.world.clear()
        cabinet.live_ms(40)
        assert cabinet.world.truth(2).power_mw == pytest.approx(500_000)


class TestSensors:
    def test_a_saturated_transformer_shows_less_of_a_short_in_peak_rms_and_alert(self, cabinet: SimHardware) -> None:
        cabinet.close(1)
        cabinet.world.fault(1, "saturates", amps=35)
        cabinet.world.fault(1, "short", amps=20)
        cabinet.live_ms(400)
        assert cabinet.read(RSTIAPEAK, 0) * PEAK_A == pytest.approx(20 * math.sqrt(2), rel=0.01), (
            "below, nothing is off"
        )
        cabinet.world.fault(1, "short", amps=100)
        cabinet.live_ms(400)
        assert cabinet.read(RSTIAPEAK, 0) * PEAK_A == pytest.approx(35 + 0.05 * (100 * math.sqrt(2) - 35), rel=0.01)
        assert 25 < cabinet.read(IRMSA, 0) * RMS_A < 40
        cabinet.world.clear(1)
        cabinet.world.fault(1, "short", amps=100)
        cabinet.live_ms(400)
        cabinet.read(RSTIAPEAK, 0)
        cabinet.live_ms(40)
        assert cabinet.read(RSTIAPEAK, 0) * PEAK_A == pytest.approx(100 * math.sqrt(2), rel=0.01)

    def test_a_level_above_the_saturation_is_crossed_only_by_much_more_current(self, meter: MeterChip) -> None:
        mains = meter.mains
        meter.read(0x22E, 3)
        meter.pins.clear()
        meter.chip.saturate("A", 50.0, meter.now_ns)
        meter.write(0x22C, 1 << 13, 3)
        meter.write(0x225, round(60 / PEAK_A), 3)
        for amps, alerts in ((70, False), (200, True)):
            meter.chip.follow("A", steady(mains, amps * mains.peak_v / math.sqrt(2), RESISTIVE), meter.now_ns)
            meter.pass_ms(40)
            assert any(pin == "IRQ" and not high for pin, high, _ in meter.pins) is alerts

    def test_crosstalk_everywhere_shows_in_peak_rms_and_power_of_the_empty_outlet(self, cabinet: SimHardware) -> None:
        cabinet.world.plug(1, make_load("resistor:880"))
        cabinet.world.fault(2, "crosstalk", share=0.01)
        cabinet.close(1)
        cabinet.live_ms(600)
        cabinet.read(RSTIBPEAK, 0)
        cabinet.live_ms(40)
        assert cabinet.read(RSTIBPEAK, 0) * PEAK_A == pytest.approx(0.04 * math.sqrt(2), rel=0.01)
        assert cabinet.read(IRMSB, 0) * RMS_A == pytest.approx(0.04, rel=0.02)
        watts = cabinet.read(BWATT, 0) / 4_862_401 * FULL_A * 500 / 2
        assert watts == pytest.approx(8.8, rel=0.02), "100 W elsewhere read as 1 W here"
        cabinet.world.clear(2)
        cabinet.live_ms(600)
        assert cabinet.read(IRMSB, 0) * RMS_A < 0.001

    def test_a_thermometer_flickers_between_two_codes_and_no_more(self) -> None:
        cabinet = SimHardware(noise=True)
        cabinet.select(0)
        shown = set()
        for _ in range(60):
            cabinet.live_ms(300)
            shown.add(cabinet.celsius())
        assert len(shown) == 2
        assert max(shown) - min(shown) == 0.0625


class TestMains:
    def test_harmonics_show_in_the_voltage_and_survive_a_cut_and_a_sag(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(None, "mains_harmonics", third=5, fifth=6, seventh=5, crest="pointed")
        crest_v = 220 * math.sqrt(2)
        for disturb in (lambda: None, lambda: cabinet.world.set_mains(cut=True), lambda: cabinet.world.set_mains(230)):
            disturb()
            cabinet.live_ms(50)
            cabinet.world.set_mains(volts=220, cut=False)
            cabinet.live_ms(600)
            mains = cabinet.world.mains
            assert mains is not None
            assert mains.crest_v > 1.05 * crest_v
            volts = cabinet.read(VRMS, 0) / 9_032_007 * 500 / math.sqrt(2)
            assert volts == pytest.approx(220 * math.sqrt(1 + 0.05**2 + 0.06**2 + 0.05**2), rel=2e-3)
        cabinet.world.clear()
        assert cabinet.world.mains is not None
        assert cabinet.world.mains.harmonics == ()

    def test_a_flat_voltage_and_its_zero_crossings(self) -> None:
        flat = MAINS._replace(harmonics=(Harmonic(3, 0.05, 0.0),))
        assert flat.crest_v < MAINS.crest_v
        assert flat.value_v(0) == pytest.approx(0.0)
        assert flat.value_v(5 * MS) == pytest.approx(0.95 * 311.0)

    def test_the_frequency_wanders_within_its_bounds_and_the_phase_goes_on(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(None, "mains_wander", hz=0.5, seconds=0.1)
        seen = set()
        for _ in range(100):
            before = cabinet.world.mains
            assert before is not None
            cabinet.live_ms(50)
            after = cabinet.world.mains
            assert after is not None
            seen.add(round(cabinet.world.frequency_hz, 4))
            if after is not before:
                change_ns = cabinet.clock.monotonic_ns()
                assert abs(after.angle(change_ns) - before.angle(change_ns)) % (2 * math.pi) < 0.4
        assert len(seen) > 20
        assert 49.5 <= min(seen) < 49.8 or 50.2 < max(seen) <= 50.5
        cabinet.world.clear()
        still = cabinet.world.mains
        cabinet.live_ms(500)
        assert cabinet.world.mains == still


class TestIronCore:
    def test_crests_of_one_sign_fall_from_cycle_to_cycle(self) -> None:
        inrush = Magnetising(MAINS, 40.0, 30e6, 0.7, 0)
        crests = [inrush.peak_a(cycle * 20 * MS, (cycle + 1) * 20 * MS) for cycle in range(5)]
        assert 25 < crests[0] <= 40
        assert all(later < sooner for sooner, later in itertools.pairwise(crests) if sooner)
        assert crests[4] == 0.0
        assert all(inrush.value_a(at_ns) >= 0 for at_ns in range(0, 100 * MS, MS // 2))

    def test_switched_on_at_the_crest_of_the_voltage_without_remanence_there_is_none(self) -> None:
        assert Magnetising(MAINS, 40.0, 30e6, 0.0, 5 * MS).max_a() == 0.0

    def test_it_takes_hardly_any_energy(self) -> None:
        inrush = Magnetising(MAINS, 40.0, 100e6, 0.5, 0)
        crests = sum(inrush.peak_a(cycle * 20 * MS, (cycle + 1) * 20 * MS) for cycle in range(10))
        assert abs(inrush.energy_j(0, 500 * MS)) < 0.05 * 311 * crests * 0.005, "a coil gives back what it took"

    def test_a_charger_with_an_iron_core_draws_it_and_then_charges(self) -> None:
        greatest = []
        for seed in range(12):
            cabinet = SimHardware(seed=seed)
            cabinet.world.plug(1, make_load("iron-36v12ah"))
            cabinet.close(1)
            cabinet.live_ms(200)
            greatest.append(cabinet.read(RSTIAPEAK, 0) * PEAK_A)
            cabinet.live_ms(2000)
            assert cabinet.world.truth(1).stage == "constant current"
            assert cabinet.world.truth(1).power_mw > 70_000
        assert max(greatest) > 15
        assert min(greatest) < 10, "it depends on the moment and on what is left in the core"


def test_a_loose_plug_makes_and_loses_contact_for_seconds_and_then_sits(cabinet: SimHardware) -> None:
    cabinet.world.plug(1, make_load("lithium-60v"))
    cabinet.close(1)
    cabinet.live_ms(1500)
    cabinet.world.fault(1, "loose_plug", seconds=2)
    plugged = set()
    for _ in range(200):
        cabinet.live_ms(10)
        plugged.add(cabinet.world.outlets[1].load is not None)
    assert plugged == {True, False}
    cabinet.live_ms(3000)
    assert cabinet.world.truth(1).load == "lithium-60v"
    assert cabinet.world.truth(1).faults == {}
    cabinet.world.fault(1, "loose_plug")
    cabinet.world.clear(1)
    assert cabinet.world.truth(1).load == "lithium-60v"


def test_a_sparse_arc_strikes_in_eight_of_fifty_half_cycles(cabinet: SimHardware) -> None:
    cabinet.close(1)
    cabinet.world.fault(1, "short", amps=60, shape="sparse")
    mains = cabinet.world.mains
    assert mains is not None
    start_ns = mains.next_angle_ns(0, cabinet.clock.monotonic_ns())
    wave = cabinet.world.outlets[1].wave
    peaks = [wave.peak_a(start_ns + n * 10 * MS + 100_000, start_ns + n * 10 * MS + 9_900_000) for n in range(50)]
    assert sum(peak > 30 for peak in peaks) == 8


def test_a_drawn_cabinet_is_another_each_time_the_same_for_one_seed_and_keeps_its_parts_when_cleared() -> None:
    def parts(seed: int) -> tuple[object, ...]:
        cabinet = SimHardware(noise=True)
        sim_tolerances.draw(cabinet.world, random.Random(seed))
        world = cabinet.world
        before = (
            [outlet.part for outlet in world.outlets.values()],
            [outlet.breaker.part for outlet in world.outlets.values()],
            world.contactor_part,
            world.mains,
        )
        for kind in ("weak_contacts", "slow_release", "breaker", "saturates", "crosstalk"):
            world.fault(1, kind)
        world.fault(None, "mains_harmonics")
        world.fault(None, "contactor_slow")
        world.clear()
        assert before == (
            [outlet.part for outlet in world.outlets.values()],
            [outlet.breaker.part for outlet in world.outlets.values()],
            world.contactor_part,
            world.mains,
        )
        return before

    assert parts(1) == parts(1)
    assert parts(1) != parts(2)
    assert any(part != BREAKER for part in parts(3)[1])  # type: ignore[attr-defined]
