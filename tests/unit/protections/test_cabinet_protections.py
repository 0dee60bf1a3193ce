"""Promises of the protections of the cabinet as a whole."""

import pytest

from cabinet.model import Fault, Quality, Reading
from tests.unit.protections.bench import MS, CabinetBench, S


@pytest.mark.parametrize(
    ("contact", "fault", "within_s"),
    [("smoke", Fault.SMOKE, 0.11), ("water", Fault.WATER, 1.01), ("residual", Fault.RESIDUAL_CURRENT, 0.01)],
)
def test_alarm_contact_opens_everything(contact, fault, within_s):
    bench = CabinetBench()
    setattr(bench.inputs, contact, False)
    assert bench.run(10, 3 * MS)[0] is None
    setattr(bench.inputs, contact, True)
    trip, seconds = bench.run(2, 3 * MS)
    assert (trip.fault, trip.outlet, trip.latched) == (fault, None, True)
    assert seconds <= within_s


def test_contact_that_bounces_is_no_smoke():
    bench = CabinetBench()
    for turn in range(1000):
        bench.inputs.smoke = turn % 20 < 10
        assert bench.step(5 * MS) is None


def test_monitor_under_test_is_no_leak_and_a_failed_test_is():
    bench = CabinetBench()
    bench.inputs.residual, bench.inputs.residual_testing = True, True
    assert bench.run(0.3, 3 * MS)[0] is None
    bench.inputs.residual, bench.inputs.residual_testing, bench.inputs.residual_test_failed = False, False, True
    trip = bench.step()
    assert (trip.fault, trip.trip_values) == (Fault.RESIDUAL_CURRENT, {"test_failed": 1})


def test_hot_air_inside_warns_refuses_and_then_opens_everything():
    bench = CabinetBench()
    bench.inside_mc = 54_000
    assert bench.step() is None
    assert bench.safety.newly_warning(bench.inputs) == []
    bench.inside_mc = 55_000
    assert bench.step() is None
    assert bench.safety.newly_warning(bench.inputs) == [Fault.CABINET_HOT]
    assert bench.safety.newly_warning(bench.inputs) == [], "once"
    assert bench.interlock() == "cabinet_hot"
    bench.inside_mc = 65_000
    trip = bench.step()
    assert (trip.fault, trip.outlet, trip.latched) == (Fault.CABINET_HOT, None, True)


class TestFeed:
    def test_overload_opens_the_newest_charge_after_five_seconds_and_the_next_a_second_later(self):
        bench = CabinetBench({1: 900_000, 2: 900_000, 3: 900_000, 4: 100_000})
        trip, seconds = bench.run(20)
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.FEED_OVERLOAD, 4, False)
        assert trip.trip_values == {"sum_mw": 2_800_000, "limit_mw": 2_000_000}
        assert seconds == pytest.approx(5, abs=0.2)
        del bench.powers_mw[4]
        trip, seconds = bench.run(20)
        assert trip.outlet == 3
        assert seconds == pytest.approx(1, abs=0.2)
        del bench.powers_mw[3]
        assert bench.run(60)[0] is None

    def test_staff_hear_of_an_overload_after_a_second_and_not_of_inrushes(self):
        bench = CabinetBench({1: 900_000, 2: 900_000, 3: 900_000})
        bench.run(0.8)
        assert bench.safety.newly_warning(bench.inputs) == []
        bench.run(0.4)
        assert bench.safety.newly_warning(bench.inputs) == [Fault.FEED_OVERLOAD]

    def test_peaks_of_four_seconds_are_borne(self):
        bench = CabinetBench({1: 900_000, 2: 900_000})
        for _ in range(5):
            bench.powers_mw[3] = 500_000
            assert bench.run(4.5)[0] is None
            bench.powers_mw[3] = 100_000
            assert bench.run(1)[0] is None

    def test_no_charge_begins_above_nine_tenths(self):
        bench = CabinetBench({1: 900_000, 2: 900_000})
        bench.step()
        assert bench.interlock() is None
        bench.powers_mw[2] = 900_001
        bench.step()
        assert bench.interlock() == "feed_full"

    def test_outlet_that_is_not_measured_ends_no_overload_and_counts_with_its_reserve(self):
        bench = CabinetBench({1: 1_500_000, 2: 700_000})
        bench.run(3)
        bench.powers_mw[2] = None
        bench.run(0.5)
        bench.powers_mw[2] = 700_000
        assert bench.run(3)[0].fault is Fault.FEED_OVERLOAD, "five seconds since it began"
        bench = CabinetBench({1: 1_700_000, 2: None})
        bench.step()
        assert bench.interlock() == "feed_full"


class TestSensorDisagrees:
    def test_missing_current_warns_after_two_seconds_and_opens_after_ten(self):
        bench = CabinetBench({1: 300_000, 2: 300_000})
        bench.feed_mw = 800_000
        trip, _ = bench.run(1.9)
        assert trip is None
        assert bench.safety.newly_warning(bench.inputs) == []
        assert bench.run(0.5)[0] is None
        assert bench.safety.newly_warning(bench.inputs) == [Fault.SENSOR_DISAGREES]
        trip, seconds = bench.run(20)
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.SENSOR_DISAGREES, None, True)
        assert seconds == pytest.approx(7.7, abs=0.3)

    @pytest.mark.parametrize("feed_mw", [600_000, 705_000, 495_000])
    def test_difference_within_half_an_ampere_is_borne(self, feed_mw):
        bench = CabinetBench({1: 300_000, 2: 300_000})
        bench.feed_mw = feed_mw
        assert bench.run(60)[0] is None

    def test_large_cabinets_may_differ_by_a_tenth(self):
        bench = CabinetBench(dict.fromkeys(range(1, 11), 150000))
        bench.feed_mw = 1_640_000
        assert bench.run(60)[0] is None

    def test_it_waits_while_an_outlet_is_not_measured_and_begins_again(self):
        bench = CabinetBench({1: 500_000, 2: 300_000})
        bench.feed_mw = 1_000_000
        bench.run(9)
        bench.powers_mw[2] = None
        assert bench.run(30) == (None, 30)
        assert bench.safety.newly_warning(bench.inputs) == []
        bench.powers_mw[2] = 300_000
        trip, after_s = bench.run(12)
        assert trip.fault is Fault.SENSOR_DISAGREES
        assert after_s > 9.9


class TestContactorWelded:
    def test_current_although_the_contactor_is_open(self):
        bench = CabinetBench()
        bench.inputs.contactor_open_at_ns = bench.inputs.at_ns
        trip, seconds = bench.run(1, 3 * MS, peaks_ma=(800, 810))
        assert (trip.fault, trip.outlet, trip.latched) == (Fault.CONTACTOR_WELDED, None, True)
        assert 0.045 < seconds < 0.06

    def test_current_by_the_rms_is_found_although_all_peaks_show_none(self):
        bench = CabinetBench()
        bench.inputs.contactor_open_at_ns = bench.inputs.at_ns
        for _ in range(15):
            bench.inputs.highest_current_ma = Reading(1_500, bench.inputs.at_ns, Quality.OK)
            if (trip := bench.step(100 * MS, peak_ma=4)) is not None:
                break
        assert (trip.fault, trip.trip_values["current_ma"]) == (Fault.CONTACTOR_WELDED, 1_500)

    def test_meter_that_stands_still_is_none(self):
        bench = CabinetBench()
        bench.inputs.contactor_open_at_ns = bench.inputs.at_ns
        assert bench.run(5, 3 * MS, peak_ma=800)[0] is None

    def test_meter_at_the_end_of_its_scale_is_not_taken_for_one_that_stands_still(self):
        bench = CabinetBench()
        bench.inputs.contactor_open_at_ns = bench.inputs.at_ns
        trip, _ = bench.run(1, 3 * MS, peak_ma=200_000)
        assert trip.fault is Fault.CONTACTOR_WELDED

    def test_its_own_arc_is_none(self):
        bench = CabinetBench()
        bench.inputs.contactor_open_at_ns = bench.inputs.at_ns
        assert bench.run(0.04, 3 * MS, peak_ma=90_000)[0] is None
        assert bench.run(1, 3 * MS, peak_ma=0)[0] is None

    def test_current_through_a_closed_one_is_what_it_is_for(self):
        bench = CabinetBench()
        assert bench.run(5, 3 * MS, peak_ma=20_000)[0] is None


def test_smoke_is_named_before_the_heat_that_comes_with_it():
    bench = CabinetBench()
    bench.inputs.smoke, bench.inside_mc = True, 64_000
    assert bench.step(99 * MS) is None
    bench.inside_mc = 80_000
    trip = bench.step(S)
    assert trip.fault is Fault.SMOKE
