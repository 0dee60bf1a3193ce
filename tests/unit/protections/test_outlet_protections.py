"""Promises of the protections of one outlet that are not about current or heat."""

import pytest

from cabinet.model import Fault, Trip
from tests.unit.protections.bench import MS, Bench, S


def test_overpower_ends_the_charge_after_ten_seconds():
    bench = Bench()
    bench.values["power_mw"] = 1_010_000
    trip, seconds = bench.run(20)
    assert (trip.fault, trip.latched, trip.outlet) == (Fault.OVERPOWER, False, 3)
    assert trip.why == {"power_mw": 1_010_000, "limit_mw": 1_000_000}
    assert seconds == pytest.approx(10, abs=0.3)


def test_overpower_is_counted_from_its_last_beginning():
    bench = Bench()
    for _ in range(3):
        bench.values["power_mw"] = 1_200_000
        assert bench.run(9)[0] is None
        bench.values["power_mw"] = 900_000
        assert bench.run(1)[0] is None


def test_the_rated_power_itself_is_allowed_for_ever():
    bench = Bench()
    bench.values["power_mw"] = 1_000_000
    bench.values["current_ma"] = 4_500
    assert bench.run(600)[0] is None


@pytest.mark.parametrize(
    ("voltage_mv", "fault"), [(175_000, Fault.UNDERVOLTAGE), (0, Fault.UNDERVOLTAGE), (265_000, Fault.OVERVOLTAGE)]
)
def test_voltage_outside_its_band_for_a_second_suspends(voltage_mv, fault):
    bench = Bench()
    bench.values["voltage_mv"] = voltage_mv
    trip, seconds = bench.run(5)
    assert (trip.fault, trip.latched, trip.suspends) == (fault, False, True)
    assert seconds == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("voltage_mv", [176_000, 198_000, 242_000, 264_000])
def test_voltage_inside_its_band_suspends_nothing(voltage_mv):
    bench = Bench()
    bench.values["voltage_mv"] = voltage_mv
    assert bench.run(30)[0] is None


def test_nothing_closes_until_the_voltage_has_been_back_for_a_minute():
    bench = Bench()
    bench.values["voltage_mv"] = 100_000
    bench.run(3)
    bench.now.closed = False
    bench.values["voltage_mv"] = 220_000
    bench.run(59)
    assert bench.safety.refusal(bench.now) == "voltage_out_of_band"
    bench.run(2)
    assert bench.safety.refusal(bench.now) is None


def test_chip_that_was_reset_and_set_up_again_in_time_trips_nothing():
    bench = Bench()
    bench.now.reset_at_ns = bench.now.at_ns
    assert bench.run(0.09, 3 * MS)[0] is None
    bench.now.reset_at_ns = None
    assert bench.run(1)[0] is None


def test_chip_that_stays_reset_opens_its_outlet_under_its_own_name():
    bench = Bench()
    bench.step()
    bench.now.reset_at_ns = bench.now.at_ns
    trip, seconds = bench.run(1, 3 * MS, peak_ma=None)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_RESET, False)
    assert 0.1 < seconds < 0.11
    bench.now.closed = False
    assert bench.safety.refusal(bench.now) == "sensor_lost"


def test_readings_that_stand_still_under_load_are_none():
    bench = Bench()
    trip, seconds = bench.run(10, 3 * MS, peak_ma=1_500)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_FROZEN, True)
    assert seconds == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("value", ["current_ma", "voltage_mv", "power_mw"])
def test_one_value_that_moves_is_enough_to_be_alive(value):
    bench = Bench()
    for turn in range(10_000):
        bench.values[value] += 1 if turn % 600 == 0 else 0
        assert bench.step(3 * MS, peak_ma=1_500) is None


def test_an_idle_charger_may_stand_still():
    bench = Bench()
    bench.values["power_mw"] = 900
    assert bench.run(30, 3 * MS, peak_ma=12)[0] is None


def test_relay_found_open_without_current_is_stuck():
    bench = Bench()
    bench.now.found_open_at_ns = bench.now.at_ns
    trip, seconds = bench.run(5, 3 * MS, peak_ma=20)
    assert (trip.fault, trip.latched, trip.outlet) == (Fault.RELAY_STUCK_OPEN, True, 3)
    assert seconds == pytest.approx(1, abs=0.01)


def test_relay_found_open_that_carries_current_is_not_stuck():
    bench = Bench()
    bench.now.found_open_at_ns = bench.now.at_ns
    assert bench.run(5)[0] is None


class TestRecloseStorm:
    def trip(self, bench: Bench, fault: Fault = Fault.SENSOR_LOST, outlet: int | None = 3) -> None:
        bench.safety.tripped(Trip(fault, outlet, bench.now.at_ns, False, {}))

    def test_third_trip_within_an_hour_latches(self):
        bench = Bench(closed=False)
        for _ in range(2):
            self.trip(bench)
            assert bench.run(1200, S)[0] is None
        self.trip(bench)
        trip = bench.step()
        assert (trip.fault, trip.latched, trip.why) == (Fault.RECLOSE_STORM, True, {"trips": 3, "within_s": 3600})
        assert bench.step() is None, "it is said once"

    def test_three_trips_in_more_than_an_hour_do_not(self):
        bench = Bench(closed=False)
        for _ in range(4):
            self.trip(bench)
            assert bench.run(1900, S)[0] is None

    def test_what_is_not_the_outlets_own_does_not_count(self):
        bench = Bench(closed=False)
        for _ in range(5):
            self.trip(bench, Fault.GUARD_LATE, outlet=None)
            bench.safety.tripped(Trip(Fault.UNDERVOLTAGE, 3, bench.now.at_ns, False, {}, suspends=True))
            assert bench.run(10, S)[0] is None

    def test_clearing_begins_the_count_anew(self):
        bench = Bench(closed=False)
        for _ in range(2):
            self.trip(bench)
        bench.safety.reset(Fault.RECLOSE_STORM)
        self.trip(bench)
        assert bench.step() is None
