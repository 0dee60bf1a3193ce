"""Charging curves: a battery that runs away, one that never gets full, and healthy ones."""

import math
import random

import pytest

from cabinet.model import Fault
from cabinet.protections.thermal_runaway import ThermalRunaway
from cabinet_testing import sim_habits as habits
from cabinet_testing.protection_harness import OutletHarness

HOUR = 3600.0


def follow(curve, hours: float, step_s: float = 5.0, resumed: bool = False, mains=lambda at_s: 220.0):
    """Feed the curve (W by s) and the mains (V by s) to one outlet; the trip and the hour it came at.

    With readings closer together than 5 s, only the protection against a runaway judges them: it alone remembers hours.
    """
    harness = OutletHarness()
    if step_s < 5.0:
        safety, runaway = harness.safety, harness.safety.of(ThermalRunaway)
        for steps in (safety._each_tick, safety._usual_open, safety._usual_closed, safety._slow):
            steps[:] = [step for step in steps if safety._owners[step] is runaway]
        assert len(safety._slow) == 1
    harness.inputs.resumed = resumed
    for turn in range(int(hours * HOUR / step_s)):
        harness.values["power_mw"] = round(1000 * curve(turn * step_s))
        harness.values["voltage_mv"] = round(1000 * mains(turn * step_s))
        if (trip := harness.step(int(step_s * 1e9))) is not None:
            return trip, turn * step_s / HOUR
    return None, hours


def lead_acid(at_s: float) -> float:
    """Four hours of constant current, then a taper of the voltage phase, float at 15 W."""
    hour = at_s / HOUR
    if hour < 4:
        return 160 + 5 * hour
    return 15 + 165 * math.exp(-(hour - 4) / 0.7)


def test_healthy_taper_is_let_go_to_its_end():
    assert follow(lead_acid, 9.5) == (None, 9.5)


def test_power_that_rises_again_in_the_voltage_phase_is_a_runaway():
    def curve(at_s):
        rising_h = max(0.0, at_s / HOUR - 6.0)
        return lead_acid(at_s) + 60 * rising_h

    trip, hour = follow(curve, 9)
    assert (trip.fault, trip.latched, trip.outlet) == (Fault.THERMAL_RUNAWAY, True, 3)
    assert trip.trip_values["power_mw"] > trip.trip_values["limit_mw"] > trip.trip_values["lowest_mw"]
    assert 6.1 < hour < 6.8


def test_rise_for_nine_minutes_is_none_yet():
    def curve(at_s):
        return lead_acid(at_s) + (40 if 6 * HOUR < at_s < 6 * HOUR + 9 * 60 else 0)

    assert follow(curve, 8)[0] is None


@pytest.mark.parametrize("watts", [3, 5])
def test_fan_that_starts_at_the_end_is_no_runaway(watts):
    assert follow(lambda at_s: lead_acid(at_s) + (watts if at_s > 6 * HOUR else 0), 9)[0] is None


def test_balancing_in_pulses_is_no_runaway():
    def curve(at_s):
        pulse = 25 if at_s > 6.5 * HOUR and at_s % 900 < 240 else 0
        return lead_acid(at_s) + pulse

    assert follow(curve, 9)[0] is None


def test_rising_power_at_constant_current_is_a_healthy_lithium_battery():
    assert follow(lambda at_s: 150 + 12 * at_s / HOUR, 5)[0] is None


def evening(at_s: float) -> float:
    """Return the mains of a compound, V: it falls by 11 % while people cook, and recovers in two hours of the night."""
    hour = at_s / HOUR
    if hour < 2:
        return 232 - 13 * max(0.0, hour)
    return 206 + 12 * min(max(0.0, hour - 3), 2)


@pytest.mark.parametrize("noise", [0.0, 0.008])
@pytest.mark.parametrize(
    "watts",
    [lambda volts: 160 * (volts / 220) ** 2, lambda volts: max(8.0, 800 * (volts / 220 - 0.82))],
    ids=["resistor", "charger without regulation"],
)
def test_load_that_follows_the_mains_is_no_runaway(watts, noise):
    chance = random.Random(11)

    def mains(at_s):
        return evening(at_s) * (1 + noise * chance.uniform(-1, 1))

    assert follow(lambda at_s: watts(evening(at_s)), 9, mains=mains)[0] is None


@pytest.mark.parametrize(
    ("mains", "before"),
    [(lambda at_s: evening(at_s - 3 * HOUR), 8.8), (lambda at_s: 220 + 5 * math.sin(at_s / 200), 9.0)],
    ids=["the mains recovers just then", "the mains goes up and down by 2 % all the time"],
)
def test_runaway_is_found_although_the_mains_changes(mains, before):
    trip, hour = follow(lambda at_s: lead_acid(at_s) + 15 * max(0.0, at_s / HOUR - 6.0), 12, mains=mains)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert hour < before


@pytest.mark.parametrize("hours", [8.5, 10])
def test_long_constant_current_is_no_runaway(hours):
    assert follow(lambda at_s: 170 + math.sin(at_s), hours)[0] is None
    assert follow(habits.charge(460, 9), hours)[0] is None


@pytest.mark.parametrize("pause_s", [5, 20, 60, 150, 270, 300, 2400, 5400])
@pytest.mark.parametrize("hour", [1, 6])
def test_pause_of_the_charger_is_no_runaway(hour, pause_s):
    """A dip of the mains after which it starts softly, or a charger that rests."""

    def curve(at_s):
        return 3 if hour * HOUR < at_s < hour * HOUR + pause_s else lead_acid(at_s)

    assert follow(curve, 9)[0] is None


def restarted(at_s: float) -> float:
    """A float that begins anew at hour 7, at twice the power that it had come to."""
    return lead_acid(at_s) + (14 * math.exp(-(at_s / HOUR - 7) / 1.5) if at_s >= 7 * HOUR else 0)


def interrupted(curve, *hours: float):
    """Return its readings with the plug, or the mains, away for a moment at those hours."""
    return lambda at_s: curve(at_s) * (0.4 if any(0 <= at_s - hour * HOUR < 5 for hour in hours) else 1.0)


@pytest.mark.parametrize("cause", [lambda curve: interrupted(curve, 7), lambda curve: curve], ids=["cut", "by itself"])
def test_charger_that_begins_anew_with_more_is_no_runaway(cause):
    assert follow(cause(restarted), 9)[0] is None


@pytest.mark.parametrize("cut_s", [5, 0], ids=["cut", "by itself"])
def test_resumed_charge_whose_plateau_was_never_seen_may_begin_anew_with_more_than_was_seen(cut_s):
    """Its outage ended in the float; after the next moment without mains it takes three times as much for a while."""

    def curve(at_s):
        watts = 59 * math.exp(-at_s / HOUR) if at_s < HOUR else 63 * math.exp(-(at_s - HOUR) / HOUR)
        return 0.4 * watts if HOUR - cut_s <= at_s < HOUR else watts

    assert follow(curve, 4, resumed=True)[0] is None


def test_runaway_of_a_resumed_charge_is_found():
    def curve(at_s):
        return lead_acid(at_s + 5 * HOUR) + 60 * max(0.0, at_s / HOUR - 1.0)

    trip, hour = follow(interrupted(curve, 0.5), 4, resumed=True)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert hour < 2


def test_runaway_is_found_however_often_it_is_interrupted():
    def curve(at_s):
        return lead_acid(at_s) + 60 * max(0.0, at_s / HOUR - 6.0)

    trip, hour = follow(interrupted(curve, *(number / 12 for number in range(9 * 12))), 9)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert hour < 7.2


def test_another_bike_in_the_same_session_is_no_runaway():
    def curve(at_s):
        pulled = 6 * HOUR < at_s < 6 * HOUR + 40
        return 0 if pulled else lead_acid(at_s if at_s < 6 * HOUR else at_s - 6 * HOUR)

    assert follow(curve, 9.5)[0] is None


def test_lamp_is_no_battery():
    assert follow(lambda at_s: 15, 9.9)[0] is None


def test_next_charge_begins_anew():
    harness = OutletHarness()
    for watts in (170, 100, 60):
        harness.values["power_mw"] = 1000 * watts
        harness.run(600, 5_000_000_000)
    harness.safety.reset(Fault.THERMAL_RUNAWAY)
    harness.values["power_mw"] = 150_000
    assert harness.run(1800, 5_000_000_000)[0] is None


# --- a step is no runaway --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [0.5, 5.0, 20.0])
@pytest.mark.parametrize("habit", habits.HABITS, ids=lambda habit: habit.name)
def test_habit_of_a_healthy_charger_is_no_runaway(habit, step_s):
    assert follow(habit.watts, min(habit.hours, 10), step_s)[0] is None


@pytest.mark.parametrize("seed", range(24))
def test_made_up_habit_of_a_healthy_charger_is_no_runaway(seed):
    habit = habits.random_habit(random.Random(seed))
    trip, hour = follow(habit.watts, min(habit.hours, 10), step_s=1.0)
    assert trip is None, f"{habit.name} after {hour:.2f} h: {trip.trip_values}"


@pytest.mark.parametrize("rise", [0.08, 0.2, 0.35])
@pytest.mark.parametrize("after_h", [2.2, 2.5, 3.5, 4.4])
def test_second_charger_at_constant_current_is_no_runaway_of_the_first(after_h, rise):
    second = habits.charge(120, 3, rise=rise)
    assert follow(habits.strip(habits.charge(160, 2), second, after_h * HOUR), 10)[0] is None


@pytest.mark.parametrize("after_h", [2.05, 2.2, 2.5, 3.5])
def test_second_pack_from_empty_is_no_runaway_of_the_first(after_h):
    pack = habits.charge(160, 2, rise=0.3)
    assert follow(habits.two_packs(pack, pack, after_h * HOUR), 10, step_s=0.5)[0] is None


# --- what grows gradually is one -------------------------------------------------------------------------------------


def runaway(watts: float, lowest: float, percent_a_min: float, from_h: float = 2.0, tau_h: float = 0.7):
    """A taper to the share `lowest` of the power, then growth; also the second at which it has risen by 15 %."""
    turn_s = (from_h - tau_h * math.log(lowest)) * HOUR
    curve = habits.charge(watts, from_h, tau_h)

    def at(at_s: float) -> float:
        grown = lowest * watts * math.exp((at_s - turn_s) / 60 * percent_a_min / 100)
        return curve(at_s) if at_s < turn_s else min(watts, grown)

    return at, turn_s + 60 * 100 / percent_a_min * math.log(1.15)


@pytest.mark.parametrize("percent_a_min", [0.5, 1, 3, 8, 12])
@pytest.mark.parametrize("lowest", [0.2, 0.3, 0.5])
def test_gradual_growth_at_any_pace_is_found_within_minutes(lowest, percent_a_min):
    curve, risen_s = runaway(200, lowest, percent_a_min)
    trip, hour = follow(curve, 9)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert 9 < (hour * HOUR - risen_s) / 60 < 15


@pytest.mark.parametrize("factor", [1.14, 1.16])
def test_rise_of_fifteen_percent_is_the_limit(factor):
    curve = habits.charge(300, 2)
    turn_s = (2 - 0.7 * math.log(0.3)) * HOUR

    def at(at_s: float) -> float:
        return curve(at_s) if at_s < turn_s else 90 * min(factor, 1 + 0.02 * (at_s - turn_s) / 60)

    assert (follow(at, 6)[0] is not None) is (factor > 1.15)


def test_charger_that_settles_slowly_after_each_rest_is_no_runaway():
    """Up within seconds, and the last 7 % within half a minute."""
    curve = habits.charge(160, 1, 0.7)

    def at(at_s: float) -> float:
        on_s = at_s % 900 - 120
        if on_s < 0:
            return 3.0
        return max(64.0, curve(at_s)) * min(1.0, 0.93 * on_s / 5 if on_s < 5 else 0.93 + 0.07 * (on_s - 5) / 30)

    assert follow(at, 6, step_s=1.0)[0] is None


def with_fan(curve, watts: float, every_s: float):
    return lambda at_s: curve(at_s) + (watts if at_s % every_s < every_s / 2 else 0.0)


@pytest.mark.parametrize(
    "disturb",
    [
        lambda curve: with_fan(curve, 4, 600),
        lambda curve: with_fan(curve, 12, 120),
        lambda curve: with_fan(curve, 12, 40),
        lambda curve: habits.resting(curve, 1200, 120, 3.0),
        lambda curve: interrupted(curve, *(number / 20 for number in range(20 * 9))),
        lambda curve: lambda at_s: curve(at_s) * (1 + 0.02 * math.sin(at_s * 0.7)),
        lambda curve: habits.pulsing(curve, 60, 230),
        lambda curve: lambda at_s: 0.0 if at_s % 900 < 1 else curve(at_s),
    ],
    ids=["fan", "fast fan", "faster fan", "rests", "interrupted", "noise", "pulses", "bouncing plug"],
)
def test_runaway_of_a_battery_is_found_through_disturbances(disturb):
    curve, risen_s = runaway(200, 0.3, 3)
    trip, hour = follow(disturb(curve), 9, step_s=1.0)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert (hour * HOUR - risen_s) / 60 < 40


def test_runaway_after_a_second_charger_was_plugged_in_is_found():
    curve, _ = runaway(200, 0.3, 3)
    assert follow(lambda at_s: curve(at_s) + (50 if at_s > 2.5 * HOUR else 0), 9)[0].fault is Fault.THERMAL_RUNAWAY


def test_charge_resumed_at_its_lowest_that_runs_away_is_found():
    curve, risen_s = runaway(200, 0.3, 3)
    trip, _ = follow(lambda at_s: curve(at_s + risen_s - 300), 3, resumed=True)
    assert trip.fault is Fault.THERMAL_RUNAWAY
