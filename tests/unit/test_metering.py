"""Promises of an outlet's counters."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.clock import NS
from cabinet.metering import UJ_PER_MWH, LoadTime, OutletMeter
from cabinet.model import MeterCount


@given(st.lists(st.integers(-1_000, 1_000_000)))
def test_counters_never_run_backwards_and_lose_nothing(readings):
    meter = OutletMeter()
    before = 0
    for energy_uj in readings:
        meter.add_energy(energy_uj)
        assert meter.count().energy_mwh >= before
        before = meter.count().energy_mwh
    assert meter.count().energy_mwh == sum(uj for uj in readings if uj > 0) // UJ_PER_MWH


def test_time_without_load_counts_as_powered_only():
    meter = OutletMeter()
    meter.add_time(1_500_000_000)
    meter.add_time(500_000_000, 500_000_000)
    assert meter.count() == MeterCount(energy_mwh=0, powered_ms=2_000, charging_ms=500)


def test_meter_goes_on_from_where_an_earlier_guard_was_killed():
    meter = OutletMeter(7 * UJ_PER_MWH, 3_000_000, 2_000_000)
    meter.add_energy(UJ_PER_MWH)
    assert meter.count() == MeterCount(8, 3, 2)


def load_after(*readings, limit_mw=5_000) -> LoadTime:
    """Readings as (s, W)."""
    load = LoadTime()
    for at_s, watts in readings:
        load.note(round(at_s * NS), round(1000 * watts), limit_mw)
    return load


@pytest.mark.parametrize(
    ("readings", "counted_s"),
    [
        ([(0, 100), (10, 100)], 0),
        ([(0, 100), (10, 100), (20, 100)], 20),
        ([(0, 100), (0.5, 100), (1, 100), (1.5, 100)], 0),
        ([(0, 100), (0.5, 100), (1, 100), (1.5, 100), (2, 100)], 2),
        ([(0, 100), (1, 100), (2, 100), (3, 0), (4, 100), (5, 100)], 2),
        ([(0, 100), (1, 100), (2, 0), (3, 100), (4, 100), (5, 100)], 2),
    ],
    ids=["two readings", "three", "short", "long enough", "held back after a gap", "dropped"],
)
def test_time_counts_once_the_load_is_sure(readings, counted_s):
    assert load_after(*readings).take_ns() == counted_s * NS


def in_pulses(on_s, off_s, watts=200.0, idle_w=0.4, for_s=60.0, step_s=0.2):
    """Return readings of a load that is on and off in turn."""
    return [
        (turn * step_s, watts if turn * step_s % (on_s + off_s) < on_s else idle_w)
        for turn in range(round(for_s / step_s))
    ]


@pytest.mark.parametrize(("on_s", "off_s"), [(0.3, 0.3), (1, 1), (1.5, 0.5), (0.5, 1.9)])
def test_load_in_pulses_is_a_load_and_only_its_pulses_count(on_s, off_s):
    readings = in_pulses(on_s, off_s)
    lasts_ns = sum(0.2 * NS for before, after in pairwise(readings) if min(before[1], after[1]) >= 5)
    load = load_after(*readings)
    assert load.possible
    assert lasts_ns - 2 * NS <= load.take_ns() <= lasts_ns


@pytest.mark.parametrize(
    "readings",
    [in_pulses(0.2, 1.3, watts=6, idle_w=2), in_pulses(0.3, 2.5), in_pulses(1, 1, for_s=9.5)],
    ids=["an idle charger's, with less than the limit in the mean", "too rare", "too few"],
)
def test_other_pulses_are_no_load(readings):
    load = load_after(*readings)
    assert load.take_ns() == 0
    assert not load.sure


def test_pulses_before_a_pause_or_a_mains_failure_do_not_count_with_those_after_it():
    load = load_after(*in_pulses(1, 1, for_s=9.5))
    load.interrupt()
    for at_s, watts in in_pulses(1, 1, for_s=9.5):
        load.note(round((10 + at_s) * NS), round(1000 * watts), 5_000)
    assert load.take_ns() == 0
    sparse = [(0, 100), (20, 100), (40, 0), (60, 100), (80, 0)]
    later = [(100 + at_s, watts) for at_s, watts in in_pulses(1, 1, for_s=30)]
    assert load_after(*sparse, *later).take_ns() == load_after(*later).take_ns()


@pytest.mark.parametrize(("watts", "sure"), [(4.9, True), (4.1, True), (3.9, False)])
def test_load_near_its_limit_does_not_come_and_go(watts, sure):
    assert load_after((0, 5.1), (1, 5.1), (2, 5.1), (3, watts)).sure is sure


def test_below_its_limit_no_load_begins():
    assert not load_after((0, 4.9), (1, 4.9), (2, 4.9), (3, 4.9)).possible


def test_time_is_taken_once():
    load = load_after((0, 9), (1, 9), (2, 9))
    assert (load.take_ns(), load.take_ns()) == (2 * NS, 0)


@given(st.lists(st.tuples(st.floats(0.05, 30), st.sampled_from([0.0, 3.0, 4.5, 5.5, 160.0])), max_size=60))
def test_no_second_counts_that_is_not_between_two_readings_with_a_load(steps):
    load, at_ns, most_ns, before = LoadTime(), 0, 0, 0.0
    for past_s, watts in steps:
        past_ns = round(past_s * NS)
        at_ns += past_ns
        load.note(at_ns, round(1000 * watts), 5_000)
        if min(before, watts) >= 4:
            most_ns += past_ns
        before = watts
    assert 0 <= load.take_ns() <= most_ns
