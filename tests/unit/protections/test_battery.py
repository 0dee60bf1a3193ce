"""What the charging curve tells: a battery that runs away, one that never gets full, and healthy ones."""

import math

import pytest

from cabinet.model import Fault
from tests.unit.protections.bench import Bench

HOUR = 3600.0


def follow(curve, hours: float, step_s: float = 5.0, resumed: bool = False):
    """Feed the curve (W by s) to one outlet; the trip and the hour it came at."""
    bench = Bench()
    bench.now.resumed = resumed
    for turn in range(int(hours * HOUR / step_s)):
        bench.values["power_mw"] = round(1000 * curve(turn * step_s))
        if (trip := bench.step(int(step_s * 1e9))) is not None:
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
    assert trip.why["power_mw"] > trip.why["limit_mw"] > trip.why["lowest_mw"]
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


def test_battery_that_never_tapers_is_ended_after_eight_hours():
    trip, hour = follow(lambda at_s: 170 + math.sin(at_s), 9.9)
    assert trip.fault is Fault.THERMAL_RUNAWAY
    assert trip.why["plateau_min"] == 480
    assert hour == pytest.approx(8, abs=0.02)


@pytest.mark.parametrize("pause_s", [5, 20, 60, 150])
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
    """What is read of it when the plug, or the mains, is away for a moment at those hours."""
    return lambda at_s: curve(at_s) * (0.4 if any(0 <= at_s - hour * HOUR < 5 for hour in hours) else 1.0)


def test_charger_that_begins_anew_after_an_interruption_is_no_runaway():
    assert follow(interrupted(restarted, 7), 9)[0] is None
    assert follow(restarted, 9)[0].fault is Fault.THERMAL_RUNAWAY, "without one the battery takes more by itself"


def test_resumed_charge_whose_plateau_was_never_seen_may_begin_anew_with_more_than_was_seen():
    """Its outage ended in the float; after the next moment without mains it takes three times as much for a while."""

    def curve(at_s):
        return 59 * math.exp(-at_s / HOUR) if at_s < HOUR else 63 * math.exp(-(at_s - HOUR) / HOUR)

    assert follow(interrupted(curve, 1 - 5 / HOUR), 4, resumed=True)[0] is None
    assert follow(curve, 4, resumed=True)[0].fault is Fault.THERMAL_RUNAWAY, "without an interruption it is one"


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
    bench = Bench()
    for watts in (170, 100, 60):
        bench.values["power_mw"] = 1000 * watts
        bench.run(600, 5_000_000_000)
    bench.safety.reset(Fault.THERMAL_RUNAWAY)
    bench.values["power_mw"] = 150_000
    assert bench.run(1800, 5_000_000_000)[0] is None
