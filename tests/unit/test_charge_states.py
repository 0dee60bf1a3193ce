"""States of a charge follow repeated readings: loads, pauses, tapers and ends."""

import math

import pytest

from cabinet.model import EndReason, MeterCount, Phase
from cabinet_testing import sim_habits as habits
from cabinet_testing.charge_harness import ChargeHarness, S


def test_inrush_is_no_load_and_a_charger_that_wakes_after_ninety_seconds_is_waited_for():
    outlet = ChargeHarness()
    assert outlet.draw(60, 1) is None
    assert outlet.draw(2, 89) is None
    phases = [outlet.charge.phase]
    assert outlet.draw(160, 600) is None
    phases.append(outlet.charge.phase)
    assert phases == [Phase.WAITING_FOR_LOAD, Phase.CHARGING]
    assert outlet.count.charging_ms == 599_000


@pytest.mark.parametrize("idle_w", [0.0, 2.0])
def test_inrush_does_not_shorten_or_lengthen_the_wait_for_a_load(idle_w):
    outlet = ChargeHarness()
    outlet.draw(60, 1)
    assert outlet.draw(idle_w, 118) is None
    assert outlet.draw(idle_w, 1) is EndReason.NO_LOAD


def test_load_that_begins_at_the_end_of_the_wait_is_given_its_readings():
    outlet = ChargeHarness()
    outlet.draw(2, 118)
    assert outlet.draw(160, 100) is None


def test_neighbours_load_is_no_load_here():
    outlet = ChargeHarness()
    assert outlet.draw(5.2, 119, neighbour_w=1000) is None
    assert outlet.draw(5.2, 1, neighbour_w=1000) is EndReason.NO_LOAD


@pytest.mark.parametrize("pulse_w", [25, 60])
def test_pulses_of_an_idle_charger_do_not_keep_it_from_being_full(pulse_w):
    curve = habits.pulsing(habits.charge(160, 1, 0.2), pulse_w, 230)
    outlet = ChargeHarness()
    assert outlet.follow(curve, 4, step_s=0.1) is EndReason.FULL
    low_s = 3600 + 0.2 * 3600 * math.log(1 / 0.12)
    assert (outlet.now_ns - 50 * S) / S == pytest.approx(low_s + 1800, abs=15)


@pytest.mark.parametrize("watts", [8, 12.4, 20, 24])
def test_small_charger_is_not_full_while_it_charges_and_is_when_it_came_down(watts):
    outlet = ChargeHarness()
    assert outlet.draw(watts, 6 * 3600) is None
    for share in (0.8, 0.6, 0.5, 0.4, 0.3):
        outlet.draw(watts * share, 60)
    assert outlet.draw(1, 1801) is EndReason.FULL


def test_small_charger_that_goes_on_after_an_outage_is_not_full_while_it_charges():
    used = MeterCount(energy_mwh=12_400, powered_ms=3_600_000, charging_ms=3_600_000)
    outlet = ChargeHarness(used=used, had_load=True)
    assert outlet.draw(12.4, 2 * 3600) is None


@pytest.mark.parametrize("idle_w", [1, 3, 4.2, 4.9])
def test_hot_pack_that_pauses_is_not_called_full_and_goes_on(idle_w):
    outlet = ChargeHarness()
    outlet.draw(160, 3600)
    assert outlet.draw(idle_w, 40 * 60) is None
    assert outlet.draw(160, 3600) is None


def test_charger_that_idles_without_having_tapered_stopped_by_itself():
    outlet = ChargeHarness()
    outlet.draw(160, 3600)
    assert outlet.draw(3, 4 * 1800 - 1) is None
    assert outlet.draw(3, 2) is EndReason.ENDED_BY_LOAD


def test_charger_that_tapered_and_idles_is_full_after_half_an_hour():
    outlet = ChargeHarness()
    outlet.draw(160, 3600)
    for watts in (140, 120, 90, 60, 40):
        outlet.draw(watts, 20)
    assert outlet.draw(3, 1800) is None
    assert outlet.draw(3, 1) is EndReason.FULL


@pytest.mark.parametrize("on_s", [20, 90, 240])
@pytest.mark.parametrize("off_s", [30, 150])
def test_slow_taper_behind_a_fan_that_starts_and_stops_is_full_after_half_an_hour(on_s, off_s):
    outlet = ChargeHarness()
    outlet.draw(400, 3600)
    seconds = 0
    watts = 80.0
    while watts > 48:  # 15 % in ten minutes, down to the limit of a charger of 400 W
        watts *= 0.85 ** (1 / 600)
        seconds += 1
        assert outlet.draw(watts + 4 * (seconds % (on_s + off_s) < on_s), 1) is None
    assert outlet.draw(3, 1790) is None
    assert outlet.draw(3, 11) is EndReason.FULL


@pytest.mark.parametrize("steps", [(300, 180), (300, 240, 200)])
@pytest.mark.parametrize("each_s", [100, 300, 450])
def test_pauses_of_a_hot_pack_and_steps_of_derating_are_no_slow_taper(steps, each_s):
    outlet = ChargeHarness()
    outlet.draw(300, 3600)
    for watts in steps:
        outlet.draw(3, 60)
        outlet.draw(watts, each_s)
    assert outlet.draw(3, 40 * 60) is None


def test_derated_charger_that_pauses_did_not_taper():
    outlet = ChargeHarness()
    outlet.draw(300, 3600)
    outlet.draw(180, 300)
    assert outlet.draw(3, 40 * 60) is None


def test_meter_that_reads_nothing_once_pulls_no_plug():
    outlet = ChargeHarness()
    outlet.draw(160, 600)
    for _ in range(10):
        assert outlet.draw(0, 1) is None
        assert outlet.draw(160, 120) is None
    assert outlet.draw(0, 61) is EndReason.UNPLUGGED


def test_noise_at_an_empty_outlet_does_not_keep_it_plugged_in():
    outlet = ChargeHarness()
    outlet.draw(160, 600)
    outlet.draw(0, 30)
    outlet.draw(0.9, 1)
    assert outlet.draw(0, 31) is EndReason.UNPLUGGED


@pytest.mark.parametrize(("on_s", "off_s"), [(0.3, 0.3), (1, 1), (1.5, 0.5)])
def test_charger_that_charges_in_pulses_is_a_load_and_full_when_it_came_down(on_s, off_s):
    """A refresher for lead-acid batteries, or a charger in hiccup mode: no load of its lasts two seconds."""
    taper = habits.charge(200, 1, 0.2)
    harness = ChargeHarness()
    ended = harness.follow(lambda t: taper(t) if t % (on_s + off_s) < on_s else 0.4, 4, step_s=0.19)
    assert ended is EndReason.FULL
    assert 0.2 * habits.HOUR < harness.count.charging_ms / 1000 < on_s / (on_s + off_s) * habits.tapered_s(1, 0.2)
