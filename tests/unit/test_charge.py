"""Promises about how a charge ends, told by its power alone."""

import random

import pytest

from cabinet.model import ABSENT, ChargeLimits, EndReason, MeterCount, Phase, Quality, Reading
from cabinet_testing import sim_habits as habits
from cabinet_testing.charge_harness import ChargeHarness, S


def test_outlet_without_a_load_ends_after_its_waiting_time():
    outlet = ChargeHarness()
    assert outlet.draw(0.5, 119) is None
    assert outlet.charge.wait_left_ns(outlet.now_ns) == S
    assert outlet.draw(0.5, 1) is EndReason.NO_LOAD


def test_load_seen_begins_charging_and_no_waiting_ends_it_any_more():
    outlet = ChargeHarness()
    assert outlet.draw(0, 100) is None
    phases = [outlet.charge.phase]
    assert outlet.draw(120, 1000) is None
    phases.append(outlet.charge.phase)
    assert phases == [Phase.WAITING_FOR_LOAD, Phase.CHARGING]
    assert outlet.charge.wait_left_ns(outlet.now_ns) is None


@pytest.mark.parametrize(
    ("plateau_w", "taper_w", "full"),
    [(100, 14.9, True), (100, 15.1, False), (400, 47, True), (400, 50, False)],
    ids=["floor reached", "above the floor", "share of the plateau reached", "above the share"],
)
def test_full_is_below_the_floor_or_a_share_of_the_plateau_for_half_an_hour(plateau_w, taper_w, full):
    outlet = ChargeHarness()
    assert outlet.draw(plateau_w, 3600) is None
    assert outlet.draw(taper_w, 1800) is None
    assert outlet.draw(taper_w, 10) is (EndReason.FULL if full else None)


def test_small_rise_during_the_hold_does_not_start_it_over_and_a_real_one_does():
    outlet = ChargeHarness()
    outlet.draw(100, 600)
    assert outlet.draw(10, 1000) is None
    assert outlet.draw(20, 10) is None, "within the hysteresis"
    assert outlet.draw(10, 800) is EndReason.FULL
    outlet = ChargeHarness()
    outlet.draw(100, 600)
    outlet.draw(10, 1000)
    outlet.draw(22, 10)
    assert outlet.draw(10, 1000) is None


def test_soft_start_of_a_charger_is_not_the_beginning_of_the_hold():
    outlet = ChargeHarness(had_load=True)
    outlet.draw(2, 2)
    assert outlet.draw(18, 3600) is None, "18 W are within the hysteresis, and above what a full battery takes"
    assert outlet.draw(14, 1801) is EndReason.FULL


def test_inrush_of_a_plug_put_back_does_not_raise_what_counts_as_full():
    outlet = ChargeHarness()
    outlet.draw(150, 600)
    outlet.draw(0, 5)
    outlet.draw(2000, 1)
    outlet.draw(150, 600)
    assert outlet.draw(19, 2000) is None, "12 % of the plateau are 18 W"


def test_plug_pulled_out_of_a_steady_charge_is_unplugged():
    outlet = ChargeHarness()
    outlet.draw(150, 900)
    assert outlet.draw(0, 60) is None
    assert outlet.draw(0, 1) is EndReason.UNPLUGGED


def test_time_without_a_plug_is_no_soft_start():
    """The meter reads low while a plug is pulled out, and nine seconds later the charger starts softly."""
    outlet = ChargeHarness()
    outlet.draw(150, 900)
    outlet.draw(20, 600)
    outlet.draw(12, 1)  # on its way to nothing
    outlet.draw(0, 9)
    outlet.draw(2, 1)
    assert outlet.draw(20, 1800) is None, "20 W are above the limit of 18, only not above its hysteresis"


def test_plug_pulled_out_minutes_after_an_inrush_is_unplugged():
    outlet = ChargeHarness()
    outlet.draw(600, 1)
    outlet.draw(150, 120)
    outlet.draw(700, 1)  # pulled and pushed in again
    outlet.draw(150, 60)
    assert outlet.draw(0, 61) is EndReason.UNPLUGGED


def test_plug_pulled_out_during_the_full_hold_is_not_called_full():
    outlet = ChargeHarness()
    outlet.draw(100, 900)
    assert outlet.draw(10, 1790) is None
    assert outlet.draw(0, 61) is EndReason.ENDED_BY_LOAD


def test_charger_that_was_on_its_way_down_before_it_went_ended_by_itself():
    outlet = ChargeHarness()
    outlet.draw(77, 900)
    for watts in (76, 74, 72, 70, 68, 66):
        outlet.draw(watts, 20)
    assert outlet.draw(0, 61) is EndReason.ENDED_BY_LOAD


@pytest.mark.parametrize("neighbour_w", [0, 290])
def test_charger_that_draws_two_watts_is_plugged_in(neighbour_w):
    outlet = ChargeHarness()
    outlet.draw(34, 900)
    assert outlet.draw(2.5, 3600, neighbour_w) is None, "1.45 W of it may be the neighbour's"
    assert outlet.draw(34, 900) is None


def test_plug_pulled_beside_a_strong_neighbour_is_known_within_the_minute():
    outlet = ChargeHarness()
    outlet.draw(34, 900)
    assert outlet.draw(1.6, 61, neighbour_w=290) is EndReason.UNPLUGGED


def test_charger_that_rests_beside_a_strong_neighbour_is_waited_for():
    outlet = ChargeHarness()
    for _ in range(10):
        assert outlet.draw(160, 1500, neighbour_w=460) is None
        assert outlet.draw(0.8, 300, neighbour_w=460) is None, "2.3 W may be the neighbour's, and it shows less"
    outlet.draw(160, 1500, neighbour_w=460)
    assert outlet.draw(0.8, 601, neighbour_w=460) is EndReason.UNPLUGGED


def test_plug_put_back_within_the_hold_goes_on():
    outlet = ChargeHarness()
    outlet.draw(150, 900)
    assert outlet.draw(0, 50) is None
    assert outlet.draw(150, 600) is None


def test_neighbours_load_showing_here_does_not_hide_an_unplug():
    outlet = ChargeHarness()
    outlet.draw(150, 900)
    assert outlet.draw(4, 61, neighbour_w=800) is EndReason.UNPLUGGED


@pytest.mark.parametrize(
    ("limits", "reason", "after_s"),
    [
        (ChargeLimits(charging_s=600), EndReason.LIMIT_TIME, 602),
        (ChargeLimits(energy_mwh=10_000), EndReason.LIMIT_ENERGY, 360),
        (ChargeLimits(money_charging_s=300), EndReason.LIMIT_MONEY, 302),
        (ChargeLimits(money_energy_mwh=5_000), EndReason.LIMIT_MONEY, 180),
        (ChargeLimits(charging_s=600, money_energy_mwh=5_000), EndReason.LIMIT_MONEY, 180),
    ],
    ids=["time", "energy", "money by time", "money by energy", "first one counts"],
)
def test_charge_ends_at_what_was_bought(limits, reason, after_s):
    outlet = ChargeHarness(limits)
    start_ns = outlet.now_ns
    assert outlet.draw(100, 4000) is reason
    assert (outlet.now_ns - start_ns) // S == after_s


def test_no_charge_is_longer_than_the_longest():
    outlet = ChargeHarness()
    outlet.meter.add_time(35_999 * S, 35_999 * S)
    assert outlet.draw(100, 1) is EndReason.MAX_DURATION


def test_resumed_charge_counts_what_was_used_before_and_does_not_wait_for_a_load():
    used = MeterCount(energy_mwh=5_000, powered_ms=400_000, charging_ms=300_000)
    outlet = ChargeHarness(ChargeLimits(charging_s=600), used=used, had_load=True)
    assert outlet.charge.phase is Phase.CHARGING
    assert outlet.draw(0.1, 50) is None
    start_ns = outlet.now_ns
    assert outlet.draw(100, 1000) is EndReason.LIMIT_TIME
    assert (outlet.now_ns - start_ns) // S == 302, "300 s with a load; those before it do not count"
    assert outlet.charge.count(outlet.meter.count()).charging_ms == 600_000


def test_unknown_power_ends_nothing_but_the_waiting():
    outlet = ChargeHarness()
    outlet.draw(100, 60)
    for _ in range(4000):
        outlet.now_ns += S
        assert outlet.charge.step(outlet.now_ns, ABSENT, 0, outlet.meter.count()) is None


def test_same_reading_seen_twice_counts_once():
    outlet = ChargeHarness()
    outlet.draw(100, 60)
    reading = Reading(0, outlet.now_ns, Quality.OK)
    for _ in range(100):
        assert outlet.charge.step(outlet.now_ns + 100 * S, reading, 0, outlet.meter.count()) is None


# --- charging time is time with a load -------------------------------------------------------------------------------


def test_minute_after_the_plug_was_pulled_is_no_charging_time():
    outlet = ChargeHarness()
    outlet.draw(160, 3600)
    assert outlet.draw(0, 100) is EndReason.UNPLUGGED
    assert 3598_000 <= outlet.count.charging_ms <= 3600_000


@pytest.mark.parametrize("idle_w", [0.8, 3.0])
def test_time_until_full_is_no_charging_time_without_a_load(idle_w):
    outlet = ChargeHarness()
    outlet.draw(160, 3600)
    assert outlet.draw(idle_w, 3 * 3600) in (EndReason.FULL, EndReason.ENDED_BY_LOAD)
    assert 3598_000 <= outlet.count.charging_ms <= 3600_000


def test_rests_are_no_charging_time():
    outlet = ChargeHarness()
    for _ in range(6):
        assert outlet.draw(160, 1500) is None
        assert outlet.draw(0.8, 300) is None
    assert 6 * 1498_000 <= outlet.count.charging_ms <= 6 * 1500_000


def test_bought_time_lasts_through_pauses():
    outlet = ChargeHarness(ChargeLimits(charging_s=3600))
    outlet.draw(160, 1800)
    assert outlet.draw(3, 1200) is None
    assert outlet.draw(160, 1799) is None
    assert outlet.draw(160, 5) is EndReason.LIMIT_TIME


def test_time_in_which_the_mains_were_away_is_no_charging_time():
    outlet = ChargeHarness()
    outlet.draw(160, 60)
    before_ms = outlet.count.charging_ms
    outlet.charge.note_mains_failure()
    outlet.now_ns += 25 * S
    outlet.draw(160, 60)
    assert outlet.count.charging_ms - before_ms == 59_000


def test_pulse_of_an_idle_charger_is_no_charging_time():
    outlet = ChargeHarness()
    outlet.draw(160, 600)
    before_ms = outlet.count.charging_ms
    for _ in range(10):
        outlet.draw(2, 118)
        outlet.draw(40, 2)
    assert outlet.count.charging_ms == before_ms


def true_load_s(curve, until_s: float) -> float:
    return sum(0.5 for half in range(int(2 * until_s)) if curve(half / 2) >= habits.LOAD_W)


@pytest.mark.parametrize("habit", habits.HABITS, ids=lambda habit: habit.name)
def test_habit_of_a_charger_ends_rightly_and_is_counted_for_what_it_charged(habit):
    outlet = ChargeHarness()
    reason = outlet.follow(habit.watts, habit.hours)
    took_s = (outlet.now_ns - 50 * S) / S
    assert reason in habit.allowed
    assert took_s >= habit.not_before_s
    assert outlet.count.charging_ms / 1000 == pytest.approx(true_load_s(habit.watts, took_s), abs=30)


@pytest.mark.parametrize("seed", range(24))
def test_made_up_habit_of_a_charger_ends_rightly(seed):
    habit = habits.random_habit(random.Random(seed))
    outlet = ChargeHarness()
    reason = outlet.follow(habit.watts, habit.hours, step_s=1.0)
    took_s = (outlet.now_ns - 50 * S) / S
    assert reason in habit.allowed | {EndReason.MAX_DURATION}, f"{habit.name} after {took_s / 3600:.2f} h"
    assert took_s >= min(habit.not_before_s, 10 * 3600), f"{habit.name}: {reason} after {took_s / 3600:.2f} h"


@pytest.mark.parametrize(("high_readings", "reason"), [(2, EndReason.FULL), (3, None)])
def test_two_readings_far_apart_do_not_start_the_hold_over_and_three_do(high_readings, reason):
    high = range(600, 600 + 10 * high_readings, 10)
    outlet = ChargeHarness()
    outlet.draw(160, 600)
    assert outlet.follow(lambda at_s: 60 if at_s in high else 10, 1810 / 3600, step_s=10.0) is reason
