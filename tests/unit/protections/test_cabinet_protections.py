"""Promises of the protections of the cabinet as a whole."""

import pytest

from cabinet.model import Fault, Quality, Reading
from cabinet_testing.protection_harness import MS, CabinetHarness, S


@pytest.mark.parametrize(
    ("contact", "fault", "within_s"),
    [("smoke", Fault.SMOKE, 0.11), ("water", Fault.WATER, 1.01), ("residual", Fault.RESIDUAL_CURRENT, 0.01)],
)
def test_alarm_contact_opens_everything(contact, fault, within_s):
    harness = CabinetHarness()
    setattr(harness.inputs, contact, False)
    assert harness.run(10, 3 * MS)[0] is None
    setattr(harness.inputs, contact, True)
    trip, seconds = harness.run(2, 3 * MS)
    assert (trip.fault, trip.outlet, trip.latched) == (fault, None, True)
    assert seconds <= within_s


def test_contact_that_bounces_is_no_smoke():
    harness = CabinetHarness()
    for turn in range(1000):
        harness.inputs.smoke = turn % 20 < 10
        assert harness.step(5 * MS) is None


def test_monitor_under_test_is_no_leak_and_a_failed_test_is():
    harness = CabinetHarness()
    harness.inputs.residual, harness.inputs.residual_testing = True, True
    assert harness.run(0.3, 3 * MS)[0] is None
    harness.inputs.residual, harness.inputs.residual_testing, harness.inputs.residual_test_failed = False, False, True
    trip = harness.step()
    assert (trip.fault, trip.trip_values) == (Fault.RESIDUAL_CURRENT, {"test_failed": 1})


def test_hot_air_inside_warns_refuses_and_then_opens_everything():
    harness = CabinetHarness()
    harness.inside_mc = 54_000
    assert harness.step() is None
    assert harness.safety.newly_warning(harness.inputs) == []
    harness.inside_mc = 55_000
    assert harness.step() is None
    assert harness.safety.newly_warning(harness.inputs) == [Fault.CABINET_HOT]
    assert harness.safety.newly_warning(harness.inputs) == [], "once"
    assert harness.interlock() == "cabinet_hot"
    harness.inside_mc = 65_000
    trip = harness.step()
    assert (trip.fault, trip.outlet, trip.latched) == (Fault.CABINET_HOT, None, True)


class TestFeed:
    def test_overload_opens_the_newest_charge_after_five_seconds_and_the_next_a_second_later(self):
        harness = CabinetHarness({1: 900_000, 2: 900_000, 3: 900_000, 4: 100_000})
        trip, seconds = harness.run(20)
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.FEED_OVERLOAD, 4, False)
        assert trip.trip_values == {"sum_mw": 2_800_000, "limit_mw": 2_000_000}
        assert seconds == pytest.approx(5, abs=0.2)
        del harness.powers_mw[4]
        trip, seconds = harness.run(20)
        assert trip.outlet == 3
        assert seconds == pytest.approx(1, abs=0.2)
        del harness.powers_mw[3]
        assert harness.run(60)[0] is None

    def test_staff_hear_of_an_overload_after_a_second_and_not_of_inrushes(self):
        harness = CabinetHarness({1: 900_000, 2: 900_000, 3: 900_000})
        harness.run(0.8)
        assert harness.safety.newly_warning(harness.inputs) == []
        harness.run(0.4)
        assert harness.safety.newly_warning(harness.inputs) == [Fault.FEED_OVERLOAD]

    def test_peaks_of_four_seconds_are_borne(self):
        harness = CabinetHarness({1: 900_000, 2: 900_000})
        for _ in range(5):
            harness.powers_mw[3] = 500_000
            assert harness.run(4.5)[0] is None
            harness.powers_mw[3] = 100_000
            assert harness.run(1)[0] is None

    def test_no_charge_begins_above_nine_tenths(self):
        harness = CabinetHarness({1: 900_000, 2: 900_000})
        harness.step()
        assert harness.interlock() is None
        harness.powers_mw[2] = 900_001
        harness.step()
        assert harness.interlock() == "feed_full"

    def test_outlet_that_is_not_measured_ends_no_overload_and_counts_with_its_reserve(self):
        harness = CabinetHarness({1: 1_500_000, 2: 700_000})
        harness.run(3)
        harness.powers_mw[2] = None
        harness.run(0.5)
        harness.powers_mw[2] = 700_000
        assert harness.run(3)[0].fault is Fault.FEED_OVERLOAD, "five seconds since it began"
        harness = CabinetHarness({1: 1_700_000, 2: None})
        harness.step()
        assert harness.interlock() == "feed_full"


class TestSensorDisagrees:
    def test_missing_current_warns_after_two_seconds_and_opens_after_ten(self):
        harness = CabinetHarness({1: 300_000, 2: 300_000})
        harness.feed_mw = 800_000
        trip, _ = harness.run(1.9)
        assert trip is None
        assert harness.safety.newly_warning(harness.inputs) == []
        assert harness.run(0.5)[0] is None
        assert harness.safety.newly_warning(harness.inputs) == [Fault.SENSOR_DISAGREES]
        trip, seconds = harness.run(20)
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.SENSOR_DISAGREES, None, True)
        assert seconds == pytest.approx(7.7, abs=0.3)

    @pytest.mark.parametrize(("outlets", "after_s"), [(2, 0.5), (10, 0.5), (40, 2.0)])
    def test_difference_as_great_as_a_short_opens_once_each_outlet_was_read_again(self, outlets, after_s):
        harness = CabinetHarness(dict.fromkeys(range(1, outlets + 1), 100_000))
        harness.feed_mw = 100_000 * outlets + 6_700_000
        trip, seconds = harness.run(5)
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.SENSOR_DISAGREES, None, True)
        assert seconds == pytest.approx(after_s, abs=0.15)

    def test_power_of_a_short_that_was_cut_is_no_difference_although_the_cabinets_meter_shows_it_for_a_while(self):
        harness = CabinetHarness(dict.fromkeys(range(1, 11), 100_000))
        harness.feed_mw = 20_000_000
        assert harness.run(0.45) == (None, 0.45)
        harness.feed_mw = 900_000
        assert harness.run(5) == (None, 5)

    @pytest.mark.parametrize("feed_mw", [600_000, 705_000, 495_000])
    def test_difference_within_half_an_ampere_is_borne(self, feed_mw):
        harness = CabinetHarness({1: 300_000, 2: 300_000})
        harness.feed_mw = feed_mw
        assert harness.run(60)[0] is None

    def test_large_cabinets_may_differ_by_a_tenth(self):
        harness = CabinetHarness(dict.fromkeys(range(1, 11), 150000))
        harness.feed_mw = 1_640_000
        assert harness.run(60)[0] is None

    def test_it_waits_while_an_outlet_is_not_measured_and_begins_again(self):
        harness = CabinetHarness({1: 500_000, 2: 300_000})
        harness.feed_mw = 1_000_000
        harness.run(9)
        harness.powers_mw[2] = None
        assert harness.run(30) == (None, 30)
        assert harness.safety.newly_warning(harness.inputs) == []
        harness.powers_mw[2] = 300_000
        trip, after_s = harness.run(12)
        assert trip.fault is Fault.SENSOR_DISAGREES
        assert after_s > 9.9


class TestContactorWelded:
    def test_current_although_the_contactor_is_open(self):
        harness = CabinetHarness()
        harness.inputs.contactor_open_at_ns = harness.inputs.at_ns
        trip, seconds = harness.run(1, 3 * MS, peaks_ma=(800, 810))
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.CONTACTOR_WELDED, None, True)
        assert 0.045 < seconds < 0.06

    def test_current_by_the_rms_is_found_although_all_peaks_show_none(self):
        harness = CabinetHarness()
        harness.inputs.contactor_open_at_ns = harness.inputs.at_ns
        for _ in range(15):
            harness.inputs.highest_current_ma = Reading(1_500, harness.inputs.at_ns, Quality.OK)
            if (trip := harness.step(100 * MS, peak_ma=4)) is not None:
                break
        assert (trip.fault, trip.trip_values["current_ma"]) == (Fault.CONTACTOR_WELDED, 1_500)

    def test_meter_that_stands_still_is_none(self):
        harness = CabinetHarness()
        harness.inputs.contactor_open_at_ns = harness.inputs.at_ns
        assert harness.run(5, 3 * MS, peak_ma=800)[0] is None

    def test_meter_at_the_end_of_its_scale_is_not_taken_for_one_that_stands_still(self):
        harness = CabinetHarness()
        harness.inputs.contactor_open_at_ns = harness.inputs.at_ns
        trip, _ = harness.run(1, 3 * MS, peak_ma=200_000)
        assert trip.fault is Fault.CONTACTOR_WELDED

    def test_its_own_arc_is_none(self):
        harness = CabinetHarness()
        harness.inputs.contactor_open_at_ns = harness.inputs.at_ns
        assert harness.run(0.04, 3 * MS, peak_ma=90_000)[0] is None
        assert harness.run(1, 3 * MS, peak_ma=0)[0] is None

    def test_current_through_a_closed_one_is_what_it_is_for(self):
        harness = CabinetHarness()
        assert harness.run(5, 3 * MS, peak_ma=20_000)[0] is None


def test_smoke_is_named_before_the_heat_that_comes_with_it():
    harness = CabinetHarness()
    harness.inputs.smoke, harness.inside_mc = True, 64_000
    assert harness.step(99 * MS) is None
    harness.inside_mc = 80_000
    trip = harness.step(S)
    assert trip.fault is Fault.SMOKE
