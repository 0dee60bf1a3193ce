"""Measurements of the simulated ADE7953: physical currents are its input, codes its output."""

import math
import random

import pytest

from cabinet.sim.chips.ade7953 import PIN_IRQ, PIN_ZX
from cabinet.sim.transient import HalfSinePulse
from cabinet.sim.waveform import RESISTIVE, SILENCE, HalfWave, Mains, Periodic, Shape, steady, unit_wave
from cabinet_testing.sim_hardware import FULL_A, FULL_V, MeterChip

PEAK, RMS, POWER, ENERGY_PER_S = 6_500_000, 9_032_007, 4_862_401, 206_900
FULL_W = FULL_A * FULL_V / 2
RSTIAPEAK, IAPEAK, RSTIBPEAK = 0x229, 0x228, 0x22B
CHARGER = Shape.of(2.3, 0.68)


def amps_peak(code: int) -> float:
    return code / PEAK * FULL_A


def amps_rms(code: int) -> float:
    return code / RMS * FULL_A / math.sqrt(2)


def watts(code: int) -> float:
    return code / POWER * FULL_W


def joules(code: int) -> float:
    return code / ENERGY_PER_S * FULL_W


def level(amps: float) -> int:
    return round(amps / FULL_A * PEAK)


def test_full_scale_reads_the_data_sheet_s_codes(meter: MeterChip) -> None:
    mains = Mains(FULL_V, meter.now_ns, 10e6)
    meter.chip.mains(mains, meter.now_ns)
    meter.chip.follow("A", Periodic(mains, [(unit_wave(RESISTIVE), FULL_A)]), meter.now_ns)
    meter.read(0x21E, 3)
    meter.pass_ms(1000)
    assert meter.read(0x21E, 3) == pytest.approx(206_900, rel=1e-4)
    assert meter.read(IAPEAK, 3) == PEAK
    assert meter.read(0x21A, 3) == pytest.approx(RMS, rel=4e-3)  # the rest is ripple
    assert meter.read(0x21C, 3) == pytest.approx(RMS, rel=2e-3)
    assert meter.read(0x212, 3) == pytest.approx(POWER, rel=8e-3)


@pytest.mark.parametrize("channel", ["A", "B"])
def test_a_charger_is_measured_to_a_tenth_of_a_percent_over_a_minute(meter: MeterChip, channel: str) -> None:
    wave = steady(meter.mains, 186.5, CHARGER)
    energy = 0x21E if channel == "A" else 0x21F
    meter.chip.follow(channel, wave, meter.now_ns)
    meter.read(energy, 3)
    total = 0.0
    for _ in range(60):
        meter.pass_ms(1000)
        total += joules(meter.read(energy, 3))
    assert total == pytest.approx(186.5 * 60, rel=1e-4)
    rms = [meter.read(0x21A if channel == "A" else 0x21B, 3)]
    assert amps_rms(rms[0]) == pytest.approx(186.5 / 220 / 0.68, rel=5e-3)
    assert watts(meter.signed(0x212 if channel == "A" else 0x213)) == pytest.approx(186.5, rel=8e-3)
    assert meter.read(0x21F if channel == "A" else 0x21E, 3) == 0, "the other input saw nothing"


def test_the_peak_is_that_since_the_last_read_with_reset(meter: MeterChip) -> None:
    wave = Periodic(meter.mains, [(unit_wave(RESISTIVE), 10.0)])
    start_ns = meter.mains.origin_ns + 10 * 10_000_000
    meter.timeline.advance_to(start_ns)
    meter.chip.follow("A", wave, start_ns)
    meter.read(RSTIAPEAK, 3)
    meter.timeline.advance_to(start_ns + 2_500_000)  # an eighth of a cycle
    assert amps_peak(meter.read(IAPEAK, 3)) == pytest.approx(10 * math.sin(math.pi / 4), rel=1e-3)
    assert amps_peak(meter.read(RSTIAPEAK, 3)) == pytest.approx(10 * math.sin(math.pi / 4), rel=1e-3)
    meter.timeline.advance_to(start_ns + 3_000_000)
    assert amps_peak(meter.read(RSTIAPEAK, 3)) == pytest.approx(10 * math.sin(0.3 * math.pi), rel=1e-3)
    meter.timeline.advance_to(start_ns + 9_000_000)
    assert amps_peak(meter.read(RSTIAPEAK, 3)) == pytest.approx(10.0, rel=1e-3)
    meter.timeline.advance_to(start_ns + 9_500_000)
    assert amps_peak(meter.read(RSTIAPEAK, 3)) == pytest.approx(10 * math.sin(0.9 * math.pi), rel=1e-2)


def test_a_peak_is_kept_when_the_current_has_gone(meter: MeterChip) -> None:
    meter.chip.follow("B", HalfSinePulse(meter.mains, 60.0, meter.now_ns, 1_000_000), meter.now_ns)
    meter.pass_ms(1)
    meter.chip.follow("B", SILENCE, meter.now_ns)
    meter.pass_ms(50)
    assert amps_peak(meter.read(RSTIBPEAK, 3)) == pytest.approx(60.0, rel=1e-3)
    assert meter.read(RSTIBPEAK, 3) == 0


def test_peaks_of_random_scans_agree_with_fine_steps() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    meter = MeterChip()
    for _ in range(5):
        amps = rng.uniform(0.5, 100)
        wave = Periodic(
            meter.mains, [(unit_wave(Shape.of(rng.uniform(1.5, 2.6), 0.5)), amps), (HalfWave.beside([]), 1.0)]
        )
        meter.chip.follow("A", wave, meter.now_ns)
        meter.read(RSTIAPEAK, 3)
        for _ in range(8):
            from_ns = meter.now_ns
            meter.pass_ms(rng.uniform(1, 9))
            exact = max(abs(wave.value_a(at_ns)) for at_ns in (*range(from_ns, meter.now_ns, 4_000), meter.now_ns))
            assert amps_peak(meter.read(RSTIAPEAK, 3)) == pytest.approx(exact, rel=0.01, abs=0.01 * amps)


def test_rms_is_settled_after_200_ms_and_not_before(meter: MeterChip) -> None:
    wave = Periodic(meter.mains, [(unit_wave(RESISTIVE), 10 * math.sqrt(2))])
    meter.chip.follow("A", wave, meter.now_ns)
    meter.pass_ms(20)
    assert amps_rms(meter.read(0x21A, 3)) < 7.0, "useless for finding a short"
    meter.pass_ms(180)
    assert amps_rms(meter.read(0x21A, 3)) == pytest.approx(10.0, rel=0.015)
    meter.chip.follow("A", SILENCE, meter.now_ns)
    meter.pass_ms(20)
    assert amps_rms(meter.read(0x21A, 3)) > 7.0
    meter.pass_ms(400)
    assert amps_rms(meter.read(0x21A, 3)) < 0.3


def test_energy_wraps_when_it_is_not_read(meter: MeterChip) -> None:
    mains = Mains(FULL_V, meter.now_ns, 10e6)
    meter.chip.mains(mains, meter.now_ns)
    meter.chip.follow("A", Periodic(mains, [(unit_wave(RESISTIVE), FULL_A)]), meter.now_ns)
    meter.read(0x21E, 3)
    meter.pass_ms(41_000)  # 40.5 s to 0x7FFFFF, p. 26
    counts = meter.read(0x21E, 3)
    assert counts == pytest.approx(41 * 206_900, rel=1e-4)
    assert counts & 0x800000, "negative by now"
    assert meter.read(0x31E, 4) == 0


def test_without_read_with_reset_the_energy_stays(meter: MeterChip) -> None:
    meter.chip.follow("A", steady(meter.mains, 1000.0, RESISTIVE), meter.now_ns)
    meter.write(0x004, 0x00, 1)
    meter.pass_ms(5000)
    first = meter.read(0x21E, 3)
    assert first == meter.read(0x21E, 3) > 0


def test_a_standby_load_is_billed_as_nothing_until_no_load_is_disabled(meter: MeterChip) -> None:
    meter.chip.follow("A", steady(meter.mains, 3.0, CHARGER), meter.now_ns)  # full scale / 10,000 is 5 W
    meter.read(0x21E, 3)
    meter.pass_ms(100_000)
    assert meter.read(0x21E, 3) == 0
    assert watts(meter.signed(0x212)) == pytest.approx(3.0, abs=0.05), "power still reads"
    meter.write(0x001, 0x07, 1)
    meter.pass_ms(100_000)
    assert joules(meter.read(0x21E, 3)) == pytest.approx(300.0, rel=1e-3)


def test_calibration_registers_scale_what_they_should(meter: MeterChip) -> None:
    meter.write(0x280, 0x400000 * 5 // 4, 3)  # AIGAIN x 1.25
    meter.write(0x282, 0x400000 * 3 // 4, 3)  # AWGAIN x 0.75
    meter.chip.follow("A", steady(meter.mains, 1000.0, RESISTIVE), meter.now_ns)
    meter.pass_ms(500)
    rms = 1000 / 220
    assert amps_rms(meter.read(0x21A, 3)) == pytest.approx(1.25 * rms, rel=4e-3)
    assert amps_peak(meter.read(IAPEAK, 3)) == pytest.approx(1.25 * rms * math.sqrt(2), rel=1e-3)
    assert watts(meter.signed(0x212)) == pytest.approx(1000 * 1.25 * 0.75, rel=8e-3)


def test_a_gain_stage_saturates_where_its_range_ends(meter: MeterChip) -> None:
    meter.write(0x008, 1, 1)  # PGA_IA x 2: 250 mV is full scale
    meter.chip.follow("A", Periodic(meter.mains, [(unit_wave(RESISTIVE), 80.0)]), meter.now_ns)
    meter.pass_ms(20)
    assert meter.read(RSTIAPEAK, 3) == pytest.approx(2 * level(80.0), rel=1e-3)
    meter.chip.follow("A", Periodic(meter.mains, [(unit_wave(RESISTIVE), 150.0)]), meter.now_ns)
    meter.pass_ms(20)
    assert meter.read(RSTIAPEAK, 3) == PEAK


@pytest.mark.parametrize(("code", "gain"), [(2, 4), (4, 16)])
def test_the_voltages_gain_stage_saturates_too_at_any_gain(meter: MeterChip, code: int, gain: int) -> None:
    meter.write(0x007, code, 1)  # PGA_V
    meter.pass_ms(500)
    assert gain * 220 * math.sqrt(2) > FULL_V
    assert meter.read(0x21C, 3) == pytest.approx(RMS * math.sqrt(2), rel=2e-3)  # of a square wave at most


def test_period_voltage_and_samples(meter: MeterChip) -> None:
    assert meter.read(0x10E, 2) == 4474
    meter.pass_ms(500)
    assert meter.read(0x21C, 3) / RMS * FULL_V / math.sqrt(2) == pytest.approx(220.0, rel=2e-3)
    meter.timeline.advance_to(meter.mains.origin_ns + 65 * 10_000_000 + 5_000_000)
    assert meter.signed(0x218) / PEAK * FULL_V == pytest.approx(-220 * math.sqrt(2), rel=2e-3)
    meter.chip.follow("A", Periodic(meter.mains, [(unit_wave(RESISTIVE), 14.0)]), meter.now_ns)
    assert meter.signed(0x216) / PEAK * FULL_A == pytest.approx(-14.0, rel=2e-3)


@pytest.mark.parametrize(("channel", "pin", "enable", "status"), [
    ("A", PIN_IRQ, 0x22C, 0x22E), ("B", PIN_ZX, 0x22F, 0x231),
])  # fmt: skip
def test_an_over_current_pulls_its_pin_at_the_first_sample_above_the_level(
    meter: MeterChip, channel: str, pin: str, enable: int, status: int
) -> None:
    meter.read(0x22E, 3)
    meter.write(0x225, level(150.0), 3)
    meter.write(0x110, 0x000A, 2)
    meter.write(enable, 1 << 13, 3)
    meter.pins.clear()
    start_ns = meter.mains.origin_ns + 20 * 10_000_000
    meter.timeline.advance_to(start_ns)
    wave = Periodic(meter.mains, [(unit_wave(RESISTIVE), 170.0)])
    meter.chip.follow(channel, wave, start_ns)
    exact_ns = start_ns + math.asin(150 / 170) / math.pi * 10e6
    meter.pass_ms(8)
    assert [(each[0], each[1]) for each in meter.pins] == [(pin, False)]
    assert 0 <= meter.pins[0][2] - exact_ns <= 143_100 + 40_000
    assert meter.read(status, 3) & 1 << 13
    released_ns = meter.now_ns
    assert meter.pins[-1] == (pin, True, released_ns), "reading RSTIRQSTAT lets go"
    meter.pass_ms(10)
    again = meter.pins[2:]
    assert [(each[0], each[1]) for each in again] == [(pin, False)], "and the next half-cycle pulls it again"
    assert 0 <= again[0][2] - (exact_ns + 10e6) <= 143_100 + 40_000


def test_below_the_level_there_is_no_alert_and_disabled_it_is_latched_all_the_same(meter: MeterChip) -> None:
    meter.read(0x22E, 3)
    meter.pins.clear()
    meter.write(0x225, level(150.0), 3)
    meter.chip.follow("A", Periodic(meter.mains, [(unit_wave(RESISTIVE), 149.0)]), meter.now_ns)
    meter.pass_ms(40)
    assert not meter.read(0x22D, 3) & 1 << 13
    meter.chip.follow("A", Periodic(meter.mains, [(unit_wave(RESISTIVE), 151.0)]), meter.now_ns)
    meter.pass_ms(20)
    assert meter.read(0x22D, 3) & 1 << 13
    assert meter.pins == []
    meter.write(0x22C, 1 << 13, 3)
    assert meter.pins == [(PIN_IRQ, False, meter.now_ns)]


def test_missing_mains_is_an_interrupt_after_the_timeout(meter: MeterChip) -> None:
    meter.read(0x22E, 3)
    meter.write(0x100, 1400, 2)  # 100 ms
    meter.chip.mains(None, meter.now_ns)
    meter.pass_ms(99)
    assert not meter.read(0x22D, 3) & 1 << 14
    meter.pass_ms(2)
    assert meter.read(0x22D, 3) & 1 << 14


def test_sag_and_overvoltage_have_their_levels(meter: MeterChip) -> None:
    meter.read(0x22E, 3)
    volts = 220 * math.sqrt(2) / FULL_V * PEAK
    meter.write(0x200, round(volts * 0.8), 3)
    meter.write(0x000, 4, 1)
    meter.write(0x224, round(volts * 1.2), 3)
    meter.chip.mains(meter.mains._replace(peak_v=meter.mains.peak_v * 0.7), meter.now_ns)
    meter.pass_ms(39)
    assert not meter.read(0x22D, 3) & 1 << 19
    meter.pass_ms(2)
    assert meter.read(0x22D, 3) & (1 << 19 | 1 << 16) == 1 << 19
    meter.chip.mains(meter.mains._replace(peak_v=meter.mains.peak_v * 1.3), meter.now_ns)
    meter.pass_ms(11)
    assert meter.read(0x22E, 3) & 1 << 16


def test_frozen_registers_stay_as_they_were_and_thaw() -> None:
    meter = MeterChip(seed=7)
    meter.chip.follow("A", steady(meter.mains, 500.0, CHARGER), meter.now_ns)
    meter.pass_ms(500)
    lively = {meter.read(0x21A, 3) for _ in range(5)}
    assert len(lively) == 5, "a real chip is never twice the same"
    meter.chip.freeze(meter.now_ns)
    frozen = {(meter.read(0x21A, 3), meter.read(0x212, 3), meter.read(RSTIAPEAK, 3)) for _ in range(5)}
    meter.chip.follow("A", SILENCE, meter.now_ns)
    meter.pass_ms(5000)
    frozen.add((meter.read(0x21A, 3), meter.read(0x212, 3), meter.read(RSTIAPEAK, 3)))
    assert len(frozen) == 1
    assert meter.read(0x21E, 3) == 0
    meter.chip.thaw(meter.now_ns)
    assert meter.read(0x21A, 3) < min(lively) / 10


def test_power_factor_and_angle_follow_the_waveform(meter: MeterChip) -> None:
    meter.chip.follow("A", steady(meter.mains, 500.0, CHARGER), meter.now_ns)
    meter.pass_ms(1000)
    factor = meter.read(0x10A, 2)
    factor -= 0x10000 if factor & 0x8000 else 0
    assert factor / 0x8000 == pytest.approx(-0.68, abs=0.01), "a rectifier's pulse leads: capacitive, negative"
    assert meter.signed(0x214) < 0
