"""Promises of the protections of one outlet that are not about current or heat."""

import pytest

from cabinet.model import Fault, Trip
from cabinet_testing.protection_harness import MS, OutletHarness, S


def test_overpower_ends_the_charge_after_ten_seconds():
    harness = OutletHarness()
    harness.values["power_mw"] = 1_010_000
    trip, seconds = harness.run(20)
    assert (trip.fault, trip.latched, trip.outlet) == (Fault.OVERPOWER, False, 3)
    assert trip.trip_values == {"power_mw": 1_010_000, "limit_mw": 1_000_000}
    assert seconds == pytest.approx(10, abs=0.3)


def test_overpower_is_counted_from_its_last_beginning():
    harness = OutletHarness()
    for _ in range(3):
        harness.values["power_mw"] = 1_200_000
        assert harness.run(9)[0] is None
        harness.values["power_mw"] = 900_000
        assert harness.run(1)[0] is None


def test_the_rated_power_itself_is_allowed_for_ever():
    harness = OutletHarness()
    harness.values["power_mw"] = 1_000_000
    harness.values["current_ma"] = 4_500
    assert harness.run(600)[0] is None


@pytest.mark.parametrize(
    ("voltage_mv", "fault"), [(175_000, Fault.UNDERVOLTAGE), (0, Fault.UNDERVOLTAGE), (265_000, Fault.OVERVOLTAGE)]
)
def test_voltage_outside_its_band_for_a_second_suspends(voltage_mv, fault):
    harness = OutletHarness()
    harness.values["voltage_mv"] = voltage_mv
    trip, seconds = harness.run(5)
    assert (trip.fault, trip.latched, trip.suspends) == (fault, False, True)
    assert seconds == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("voltage_mv", [176_000, 198_000, 242_000, 264_000])
def test_voltage_inside_its_band_suspends_nothing(voltage_mv):
    harness = OutletHarness()
    harness.values["voltage_mv"] = voltage_mv
    assert harness.run(30)[0] is None


def test_nothing_closes_until_the_voltage_has_been_back_for_a_minute():
    harness = OutletHarness()
    harness.values["voltage_mv"] = 100_000
    harness.run(3)
    harness.inputs.closed = False
    harness.values["voltage_mv"] = 220_000
    harness.run(59)
    assert harness.interlock() == "voltage_out_of_band"
    harness.run(2)
    assert harness.interlock() is None


def test_chip_that_was_reset_and_set_up_again_in_time_trips_nothing():
    harness = OutletHarness()
    harness.inputs.reset_at_ns = harness.inputs.at_ns
    assert harness.run(0.09, 3 * MS)[0] is None
    harness.inputs.reset_at_ns = None
    assert harness.run(1)[0] is None


def test_chip_that_stays_reset_opens_its_outlet_under_its_own_name():
    harness = OutletHarness()
    harness.step()
    harness.inputs.reset_at_ns = harness.inputs.at_ns
    trip, seconds = harness.run(1, 3 * MS, peak_ma=None)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_RESET, False)
    assert 0.1 < seconds < 0.11
    harness.inputs.closed = False
    assert harness.interlock() == "sensor_lost"


def test_readings_that_stand_still_under_load_are_none():
    harness = OutletHarness()
    trip, seconds = harness.run(10, 3 * MS, peak_ma=1_500)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
    assert seconds == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("register", ["current", "power", "voltage"])
def test_one_register_that_brings_the_same_bits_under_load_stands_still(register):
    harness = OutletHarness()
    harness.run(1)
    for _ in range(100):
        setattr(harness.inputs, f"{register}_unmoved", getattr(harness.inputs, f"{register}_unmoved") + 1)
        if (trip := harness.step(100 * MS)) is not None:
            break
    assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
    assert 5_000 <= trip.trip_values["still_ms"] < 5_200


@pytest.mark.parametrize("register", ["current", "power"])
def test_register_of_an_idle_charger_may_bring_the_same_bits(register):
    harness = OutletHarness()
    harness.values |= {"power_mw": 900, "current_ma": 20}
    for _ in range(300):
        setattr(harness.inputs, f"{register}_unmoved", getattr(harness.inputs, f"{register}_unmoved") + 1)
        assert harness.step(100 * MS) is None


def test_peaks_of_an_idle_outlet_that_stand_still_are_found_before_a_charge_begins():
    harness = OutletHarness(closed=False)
    trip, seconds = harness.run(10, 3 * MS, peak_ma=17)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
    assert seconds == pytest.approx(5, abs=0.1)
    assert OutletHarness(closed=False).run(10, 3 * MS, peak_ma=0)[0] is None, "a meter without noise"


class TestContradiction:
    """One register against another: it trips although each by itself looks like a reading."""

    @pytest.mark.parametrize("peaks_ma", [(100, 300), (0,), (1_000, 1_050)])
    def test_peaks_below_the_rms_are_found_within_three_seconds(self, peaks_ma):
        harness = OutletHarness()
        harness.run(2)
        harness.contradicting = True
        harness.values |= {"current_ma": 1_350, "power_mw": 280_000}
        trip, seconds = harness.run(10, 3 * MS, peaks_ma)
        assert (trip.fault, trip.latched, trip.outlet) == (Fault.SENSOR_FROZEN, True, 3)
        assert trip.trip_values == {"peak_ma": max(peaks_ma), "current_ma": 1_350}
        assert 2 <= seconds < 3.3

    def test_windows_without_a_crest_between_those_that_hold_one_are_no_contradiction(self):
        assert OutletHarness().run(20, 3 * MS, peaks_ma=[1_800, 90, 40, 60, 45, 70] * 30)[0] is None

    def test_rms_that_falls_more_slowly_than_the_peaks_is_no_contradiction(self):
        harness = OutletHarness()
        harness.values |= {"current_ma": 4_000, "power_mw": 800_000}
        harness.run(3)
        for fallen in range(200):
            harness.values["current_ma"] = int(4_000 * 0.9**fallen)
            harness.values["power_mw"] = int(800_000 * 0.85**fallen)
            assert harness.step(20 * MS, peak_ma=3 + fallen % 5) is None

    @pytest.mark.parametrize(("current_ma", "voltage_mv"), [(300, 220_000), (1_350, 178_000), (20, 220_000)])
    def test_more_power_than_volts_times_amperes_is_found_within_three_seconds(self, current_ma, voltage_mv):
        harness = OutletHarness()
        harness.run(2)
        harness.contradicting = True
        harness.values |= {"current_ma": current_ma, "voltage_mv": voltage_mv, "power_mw": 320_000}
        trip, seconds = harness.run(10, peaks_ma=[2_900, 3_000])
        assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
        assert 1.9 <= seconds < 3

    def test_power_seen_before_the_current_of_a_new_load_is_no_contradiction(self):
        harness = OutletHarness()
        harness.contradicting = True
        for turn in range(400):
            harness.values["power_mw"] = 400_000 if turn % 20 < 4 else 100_000  # four readings, again and again
            assert harness.step(100 * MS) is None

    @pytest.mark.parametrize("factor", [0, 0.4, 2.5])
    def test_energy_that_is_not_the_power_over_time_is_found_within_two_minutes(self, factor):
        harness = OutletHarness()
        trip, seconds = self.charge(harness, 150_000, factor, 300)
        assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
        assert seconds < 125

    @pytest.mark.parametrize(("power_mw", "factor"), [(150_000, 1), (150_000, 0.7), (150_000, 1.6), (3_000, 0)])
    def test_energy_within_what_a_load_that_pulses_makes_of_it_is_none(self, power_mw, factor):
        assert self.charge(OutletHarness(), power_mw, factor, 300)[0] is None

    def charge(self, harness: OutletHarness, power_mw: int, factor: float, seconds: int):
        harness.values["power_mw"] = power_mw
        for tenth in range(10 * seconds):
            harness.inputs.energy_uj += int(power_mw * 100 * factor)
            harness.inputs.energy_at_ns = harness.inputs.at_ns
            if (trip := harness.step(100 * MS)) is not None:
                return trip, tenth / 10
        return None, seconds


class TestSecondWitnessOfAWeld:
    """The check after opening does not rest on the register that the trip was for."""

    def opened(self, current_ma: int) -> OutletHarness:
        harness = OutletHarness(closed=False)
        harness.inputs.switched_at_ns = harness.inputs.at_ns
        harness.contradicting = True
        harness.values |= {"current_ma": current_ma, "power_mw": 0}
        return harness

    def test_current_by_the_rms_is_a_weld_although_the_peaks_show_none(self):
        harness = self.opened(2_000)
        trip, seconds = harness.run(3, peaks_ma=[3, 5, 4])
        assert (trip.fault, trip.outlet, trip.trip_values["current_ma"]) == (Fault.RELAY_WELDED, None, 2_000)
        assert 1.0 <= seconds < 1.4, "the RMS has fallen after 0.7 s"
        assert harness.interlock() == "relay_welded"

    def test_rms_that_falls_after_the_opening_is_no_weld(self):
        harness = self.opened(100_000)
        for _ in range(100):
            harness.values["current_ma"] = int(harness.values["current_ma"] * 0.9)
            trip = harness.step(10 * MS, peak_ma=4 + harness.steps % 3)
            assert trip is None

    def test_rms_that_stood_still_before_the_opening_is_no_weld_and_has_its_own_name(self):
        harness = self.opened(2_000)
        for _ in range(40):
            harness.inputs.current_unmoved += 1
            if (trip := harness.step(100 * MS, peak_ma=4 + harness.steps % 3)) is not None:
                break
        assert trip.fault is Fault.SENSOR_FROZEN

    def test_short_of_a_neighbour_is_no_weld(self):
        harness = self.opened(2_000)
        harness.inputs.crosstalk_ma = 2_500
        harness.values["current_ma"] = 1_500
        for _ in range(12):
            assert harness.step(100 * MS, peak_ma=1_000 + harness.steps % 9) is None
        harness.inputs.crosstalk_ma = 0
        harness.values["current_ma"] = 0
        assert harness.run(5, peaks_ma=[3, 5])[0] is None


def test_relay_found_open_without_current_is_stuck():
    harness = OutletHarness()
    harness.inputs.found_open_at_ns = harness.inputs.at_ns
    trip, seconds = harness.run(5, 3 * MS, peak_ma=20)
    assert (trip.fault, trip.latched, trip.outlet) == (Fault.RELAY_STUCK_OPEN, True, 3)
    assert seconds == pytest.approx(1, abs=0.01)


def test_relay_found_open_that_carries_current_is_not_stuck():
    harness = OutletHarness()
    harness.inputs.found_open_at_ns = harness.inputs.at_ns
    assert harness.run(5)[0] is None


class TestRecloseStorm:
    def trip(self, harness: OutletHarness, fault: Fault = Fault.SENSOR_LOST, outlet: int | None = 3) -> None:
        harness.safety.tripped(Trip(fault, outlet, harness.inputs.at_ns, False, {}))

    def test_third_trip_within_an_hour_latches(self):
        harness = OutletHarness(closed=False)
        for _ in range(2):
            self.trip(harness)
            assert harness.run(1200, S)[0] is None
        self.trip(harness)
        trip = harness.step()
        assert (trip.fault, trip.latched, trip.trip_values) == (
            Fault.RECLOSE_STORM,
            True,
            {"trips": 3, "within_s": 3600},
        )
        assert harness.step() is None, "it is said once"

    def test_three_trips_in_more_than_an_hour_do_not(self):
        harness = OutletHarness(closed=False)
        for _ in range(4):
            self.trip(harness)
            assert harness.run(1900, S)[0] is None

    def test_what_is_not_the_outlets_own_does_not_count(self):
        harness = OutletHarness(closed=False)
        for _ in range(5):
            self.trip(harness, Fault.GUARD_LATE, outlet=None)
            harness.safety.tripped(Trip(Fault.UNDERVOLTAGE, 3, harness.inputs.at_ns, False, {}, suspends=True))
            assert harness.run(10, S)[0] is None

    def test_clearing_begins_the_count_anew(self):
        harness = OutletHarness(closed=False)
        for _ in range(2):
            self.trip(harness)
        harness.safety.reset(Fault.RECLOSE_STORM)
        self.trip(harness)
        assert harness.step() is None
