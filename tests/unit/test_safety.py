"""Promises of the protection functions, one outlet at a time, under a hand-moved clock."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinet.config import parse
from cabinet.config.reference import example
from cabinet.model import ABSENT, Fault, Quality, Reading, Trip
from cabinet.protections.outlet_hot import plausible
from cabinet.safety import OutletSafety
from cabinet.sections import Section, in_milli_units
from cabinet_testing.protection_harness import HALF, MS, OutletHarness, S


def test_first_peak_over_the_limit_is_taken_for_an_inrush():
    harness = OutletHarness()
    assert harness.step(peak_ma=80_000) is None


def test_peaks_in_two_half_cycles_are_a_short():
    harness = OutletHarness()
    assert harness.step(4 * MS, peak_ma=60_000) is None
    assert harness.step(4 * MS, peak_ma=60_000) is None, "the same half-cycle still"
    trip = harness.step(4 * MS, peak_ma=61_000)
    assert trip is None, "this window touches both half-cycles"
    trip = harness.step(4 * MS, peak_ma=62_000)
    assert trip is not None
    assert (trip.fault, trip.outlet, trip.latched) == (Fault.SHORT_CIRCUIT, 3, True)
    assert trip.trip_values == {"peak_ma": 62_000, "earlier_peak_ma": 60_000, "limit_ma": 30_000}, "and rises still"


@pytest.mark.parametrize("begins_ms", [0.3, 5.5, 6.5, 7.5, 9.0])
@pytest.mark.parametrize("growth", [1.0, 1.6])
@pytest.mark.parametrize("peak_a", [60, 97, 140])
def test_crest_is_known_only_when_the_current_has_fallen(peak_a, growth, begins_ms):
    """An arc that becomes a short, and a short seen from behind its crest: what is still rising has no crest."""
    worst_a = [0.0]

    def amps(ms: float) -> float:
        flows_a = sine(peak_a, begins_ms)(ms) * (growth if ms >= HALF / MS else 1.0)
        worst_a[0] = max(worst_a[0], flows_a)
        return flows_a

    trip = current(OutletHarness(), amps, 0.05)
    assert trip is not None
    if "crest_ma" in trip.trip_values:
        assert trip.trip_values["crest_ma"] >= 1000 * 0.99 * worst_a[0], "nothing there has been was greater"
        assert trip.trip_values["crest_ma"] >= 1000 * 0.97 * peak_a, "and it was a crest, and no falling side"


def test_current_that_still_rises_past_every_earlier_one_has_no_crest_yet():
    harness = OutletHarness()
    assert harness.step(4_900_000, peak_ma=90_000) is None
    assert harness.step(6 * MS, peak_ma=1_500) is None
    assert harness.step(1 * MS, peak_ma=35_000) is None, "as a capacitor's second pulse"
    trip = harness.step(1 * MS, peak_ma=97_000)
    assert "crest_ma" not in trip.trip_values, "this goes on to 158 A"


def test_short_that_begins_behind_the_crest_says_nothing_of_how_great_it_is():
    harness = OutletHarness()
    for peak_ma in (60_000, 45_000, 31_000, 20_000):
        assert harness.step(2_500_000, peak_ma=peak_ma) is None
    trip = harness.step(3 * MS, peak_ma=31_000)
    assert "crest_ma" not in trip.trip_values


def current(
    harness: OutletHarness, amps: Callable[[float], float], seconds: float, step_ns: int = MS // 4
) -> Trip | None:
    """Looks every quarter of a millisecond at a current given over the time since the last zero crossing in ms."""
    for _ in range(round(seconds * S / step_ns)):
        moments = [(harness.inputs.at_ns % (1000 * HALF) + step_ns * part / 8) / MS for part in range(9)]
        if (trip := harness.step(step_ns, peak_ma=round(1000 * max(map(amps, moments))))) is not None:
            return trip
    return None


def filling(capacitor_uf: float, limiter_ohm: float, begins_ms: float) -> Callable[[float], float]:
    """Return a capacitor's current at 242 V and 50 Hz from `begins_ms` after a zero crossing on."""
    step_ms = 0.01
    decay = math.exp(-step_ms / (limiter_ohm * capacitor_uf / 1000))
    amps, filled_v = {}, 0.0
    for number in range(round(begins_ms / step_ms), 5000):
        over_v = abs(342 * math.sin(math.pi * number * step_ms / 10)) - filled_v
        amps[number] = max(0.0, over_v) / limiter_ohm
        filled_v += max(0.0, over_v) * (1 - decay)
    return lambda ms: amps.get(round(ms / step_ms), 0.0)


def sine(peak_a: float, begins_ms: float = 0.0) -> Callable[[float], float]:
    return lambda ms: abs(peak_a * math.sin(math.pi * ms / 10)) if ms >= begins_ms else 0.0


@pytest.mark.parametrize("peak_a", [50, 80, 140])
def test_current_that_outlasts_the_crest_of_the_voltage_is_a_short_in_its_first_half_cycle(peak_a):
    harness = OutletHarness()
    trip = current(harness, sine(peak_a), 0.05)
    assert trip is not None
    assert trip.fault is Fault.SHORT_CIRCUIT
    assert harness.inputs.at_ns % HALF <= 7.6 * MS
    assert trip.trip_values["crest_ma"] == pytest.approx(1000 * peak_a, rel=0.01), "the crest was seen"


def test_small_short_waits_for_its_second_half_cycle():
    trip = current(harness := OutletHarness(), sine(36), 0.05)
    assert trip is not None
    assert HALF < harness.inputs.at_ns % (10 * HALF) < 2 * HALF


def test_short_that_begins_behind_the_crest_is_known_before_its_third_half_cycle():
    trip = current(harness := OutletHarness(), sine(60, begins_ms=6.5), 0.05)
    assert trip is not None
    assert harness.inputs.at_ns % (10 * HALF) <= 17.6 * MS


@settings(max_examples=200, deadline=None)
@given(
    capacitor_uf=st.floats(68, 1000),
    limiter_ohm=st.floats(2.8, 10),
    begins_ms=st.floats(0, 9.9),
)
def test_capacitor_that_fills_is_no_short_wherever_it_begins(capacitor_uf, limiter_ohm, begins_ms):
    assert current(OutletHarness(), filling(capacitor_uf, limiter_ohm, begins_ms), 0.05) is None


@settings(max_examples=100, deadline=None)
@given(peak_a=st.floats(36, 149), begins_ms=st.floats(0, 9.9))
def test_short_is_found_wherever_it_begins(peak_a, begins_ms):
    trip = current(harness := OutletHarness(), sine(peak_a, begins_ms), 0.05)
    assert trip is not None
    assert harness.inputs.at_ns % (10 * HALF) <= (begins_ms + 20) * MS


def test_inrush_seen_in_two_windows_of_one_half_cycle_does_not_trip():
    harness = OutletHarness()
    for peak_ma in (80_000, 55_000, 31_000):
        assert harness.step(3 * MS, peak_ma=peak_ma) is None
    trip, _ = harness.run(0.5, step_ns=3 * MS, peak_ma=1_500)
    assert trip is None


def test_second_smaller_pulse_of_an_inrush_in_the_next_half_cycle_is_no_short():
    harness = OutletHarness()
    assert harness.step(8 * MS, peak_ma=100_000) is None
    assert harness.step(2 * MS, peak_ma=500) is None
    assert harness.step(4 * MS, peak_ma=31_000) is None, "half-cycles of a short are alike"
    assert harness.run(0.5, step_ns=3 * MS, peak_ma=1_500)[0] is None


def test_third_half_cycle_over_the_limit_is_a_short_however_small():
    harness = OutletHarness()
    for peak_ma in (100_000, 35_000):
        assert harness.step(8 * MS, peak_ma=peak_ma) is None
        assert harness.step(2 * MS, peak_ma=500) is None
    assert harness.step(4 * MS, peak_ma=31_000).fault is Fault.SHORT_CIRCUIT


def test_inrush_on_both_sides_of_a_zero_crossing_and_its_second_pulse_are_no_short():
    harness = OutletHarness()
    assert harness.step(9 * MS, peak_ma=500) is None
    assert harness.step(900_000, peak_ma=90_000) is None
    assert harness.step(1 * MS, peak_ma=60_000) is None, "no rise of its own"
    assert harness.step(6 * MS, peak_ma=500) is None
    assert harness.step(2 * MS, peak_ma=31_000) is None
    assert harness.run(0.5, step_ns=3 * MS, peak_ma=1_500)[0] is None


def test_half_wave_short_is_found_in_the_next_but_one_half_cycle():
    harness = OutletHarness()
    assert harness.step(3 * MS, peak_ma=60_000) is None
    for _ in range(5):
        assert harness.step(3 * MS, peak_ma=100) is None
    assert harness.step(3 * MS, peak_ma=60_000).fault is Fault.SHORT_CIRCUIT


def test_two_inrushes_further_apart_than_the_window_do_not_trip():
    harness = OutletHarness()
    assert harness.step(3 * MS, peak_ma=60_000) is None
    assert harness.run(0.2, step_ns=3 * MS)[0] is None
    assert harness.step(3 * MS, peak_ma=60_000) is None


def test_peak_over_the_hard_ceiling_does_not_wait():
    trip = OutletHarness().step(peak_ma=151_000)
    assert trip is not None
    assert trip.trip_values == {"peak_ma": 151_000, "limit_ma": 150_000}


def test_short_is_found_without_a_known_mains_phase():
    harness = OutletHarness()
    assert harness.step(3 * MS, peak_ma=60_000, phase_known=False) is None
    assert harness.step(3 * MS, peak_ma=60_000, phase_known=False) is None
    for _ in range(5):
        trip = harness.step(3 * MS, peak_ma=60_000, phase_known=False)
    assert trip is not None
    assert trip.fault is Fault.SHORT_CIRCUIT


@pytest.mark.parametrize(
    ("times_rated", "seconds", "within"),
    [(1.13, 7200, None), (1.45, 60, 60), (3.0, 10, 2.0)],
    ids=["never at 1.13 In", "within a minute at 1.45 In", "within 2 s at 3 In"],
)
def test_overcurrent_follows_the_thermal_image(times_rated, seconds, within):
    harness = OutletHarness()
    harness.values["current_ma"] = int(5_500 * times_rated)
    trip, took_s = harness.run(seconds)
    if within is None:
        assert trip is None
    else:
        assert trip.fault is Fault.OVERCURRENT
        assert took_s <= within


def test_reading_of_an_inrush_heats_no_wire_and_the_next_one_like_it_does():
    harness = OutletHarness()
    harness.values["current_ma"] = 5_200
    harness.run(60)
    for current_ma in (45_000, 5_200, 5_200, 30_000, 5_200):
        harness.values["current_ma"] = current_ma
        assert harness.step(500 * MS) is None
    harness.values["current_ma"] = 20_000
    harness.step(500 * MS)
    assert harness.step(500 * MS).fault is Fault.OVERCURRENT


def test_overcurrent_outlet_may_not_close_again_before_it_cooled():
    harness = OutletHarness()
    harness.values["current_ma"] = 16_500
    harness.run(10)
    harness.inputs.closed = False
    harness.values["current_ma"] = 0
    harness.safety.reset(Fault.OVERCURRENT)
    harness.step()
    assert harness.interlock() == "outlet_hot"
    harness.run(30)
    assert harness.interlock() is None


def test_outlet_that_a_short_heated_may_not_close_before_it_cooled():
    harness = OutletHarness(closed=False)
    harness.contradicting = True
    harness.values |= {"current_ma": 60_000, "power_mw": 0}  # the meter's mean falls after the opening
    harness.run(0.5)
    harness.values["current_ma"] = 0
    harness.step()
    assert harness.interlock() == "outlet_hot"
    harness.run(30)
    assert harness.interlock() is None


def test_charge_at_the_rated_current_may_be_stopped_and_begun_again_at_once():
    harness = OutletHarness()
    harness.values["current_ma"] = 5_500
    assert harness.run(120)[0] is None
    harness.inputs.closed = False
    harness.values["current_ma"] = 0
    harness.step()
    assert harness.interlock() is None


def test_hot_contacts_trip_and_stay_refused_until_cooled_by_the_hysteresis():
    harness = OutletHarness()
    harness.values["temperature_mc"] = 75_000
    trip = harness.step()
    assert (trip.fault, trip.latched) == (Fault.OUTLET_HOT, True)
    harness.inputs.closed = False
    harness.values["temperature_mc"] = 66_000
    harness.step()
    assert harness.interlock() == "outlet_hot"
    harness.values["temperature_mc"] = 64_900
    harness.step()
    assert harness.interlock() is None


def test_contacts_heating_faster_than_any_charge_trip_before_the_limit():
    harness = OutletHarness()
    harness.values["temperature_mc"] = 46_000
    trip = None
    while trip is None and harness.values["temperature_mc"] < 75_000:
        harness.values["temperature_mc"] += 100  # 12 K/min
        trip = harness.step(500 * MS)
    assert trip is not None
    assert trip.fault is Fault.OUTLET_HOT
    assert trip.trip_values["rise_mc_per_min"] > 8_000
    assert trip.trip_values["temperature_mc"] < 60_000


def test_slow_warming_of_a_summer_day_does_not_trip():
    harness = OutletHarness()
    for _ in range(4 * 600):
        harness.values["temperature_mc"] += 10  # 2.4 K/min up to 49 °C
        assert harness.step(250 * MS) is None


def test_warm_contacts_warn_once():
    harness = OutletHarness()
    harness.values["temperature_mc"] = 65_500
    warned = []
    for _ in range(10):
        harness.step()
        warned.append(harness.safety.newly_warm(harness.inputs))
    assert warned == [True] + [False] * 9


@pytest.mark.parametrize(
    ("silent", "peak_ma", "after_s"),
    [(set(), None, 0.1), ({"current_ma"}, -1, 1.0), ({"power_mw"}, -1, 1.0), ({"voltage_mv"}, -1, 1.0),
     ({"temperature_mc"}, -1, 5.0)],
    ids=["peak", "current", "power", "voltage", "temperature"],
)  # fmt: skip
def test_lost_sensor_opens_its_outlet(silent, peak_ma, after_s):
    harness = OutletHarness()
    harness.step()
    harness.silent = silent
    trip, took_s = harness.run(10, step_ns=3 * MS, peak_ma=peak_ma)
    assert (trip.fault, trip.latched) == (Fault.SENSOR_LOST, False)
    assert after_s < took_s < after_s + 0.05
    assert harness.interlock() == "sensor_lost"


def test_sensor_that_came_back_must_stay_before_the_outlet_may_close():
    harness = OutletHarness(closed=False)
    harness.step(S, peak_ma=None)
    harness.step()
    assert harness.interlock() == "sensor_lost"
    harness.run(0.5, step_ns=3 * MS)
    assert harness.interlock() is None


def test_current_with_the_relay_open_is_a_weld_and_takes_the_whole_cabinet():
    harness = OutletHarness(closed=False)
    harness.inputs.switched_at_ns = harness.inputs.at_ns
    trip, took_s = harness.run(1, step_ns=10 * MS, peaks_ma=(900, 890))
    assert (trip.fault, trip.outlet, trip.latched) == (Fault.RELAY_WELDED, None, True)
    assert 0.1 < took_s < 0.2
    assert harness.interlock() == "relay_welded"


def test_meter_that_stands_still_when_its_outlet_opens_is_no_weld():
    harness = OutletHarness(closed=False)
    harness.inputs.switched_at_ns = harness.inputs.at_ns
    assert harness.run(5, step_ns=3 * MS, peak_ma=900)[0] is None


def test_short_through_a_welded_relay_is_a_weld_although_the_meter_is_at_the_end_of_its_scale():
    harness = OutletHarness(closed=False)
    harness.inputs.switched_at_ns = harness.inputs.at_ns
    trip, took_s = harness.run(1, step_ns=3 * MS, peak_ma=200_000)
    assert trip.fault is Fault.RELAY_WELDED
    assert took_s < 0.2


def test_one_disturbance_on_an_open_outlet_is_no_weld():
    harness = OutletHarness(closed=False)
    assert harness.step(peak_ma=5_000) is None
    assert harness.run(1, step_ns=3 * MS, peak_ma=20)[0] is None


def test_current_while_the_relay_is_still_releasing_is_no_weld():
    harness = OutletHarness(closed=False)
    harness.inputs.switched_at_ns = harness.inputs.at_ns
    assert harness.run(0.09, step_ns=3 * MS, peak_ma=5_000)[0] is None


@pytest.mark.parametrize("voltage_mv", [0, 175_999, 264_001])
def test_voltage_out_of_band_refuses_closing(voltage_mv):
    harness = OutletHarness(closed=False)
    harness.values["voltage_mv"] = voltage_mv
    harness.step()
    assert harness.interlock() == "voltage_out_of_band"


@pytest.mark.parametrize(
    ("temperature_mc", "after_s", "believed"),
    [(27_000, 0.1, True), (60_000, 0.1, False), (60_000, 20, True), (130_000, 100, False)],
)
def test_temperature_jump_no_plug_can_make_is_not_believed(temperature_mc, after_s, believed):
    before = Reading(25_000, 0, Quality.OK)
    assert plausible(temperature_mc, int(after_s * S), before) is believed


def test_first_temperature_is_believed_within_the_thermometers_range():
    assert plausible(25_000, 0, ABSENT)
    assert not plausible(-50_000, 0, ABSENT)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 29_999), min_size=1, max_size=300),
    st.integers(0, 9 * MS),
    st.integers(30_001, 149_999),
)
def test_no_load_with_one_inrush_in_one_half_cycle_trips_short_circuit(peaks, start_ns, inrush_ma):
    """Any phase, any scan jitter up to the period, one inrush: never a false trip."""
    harness = OutletHarness()
    harness.inputs.at_ns += start_ns
    inrush_half = None
    for peak_ma in peaks:
        step_ns = 2 * MS + peak_ma % (2 * MS)
        half = (harness.inputs.at_ns + step_ns) // HALF
        within = harness.inputs.at_ns // HALF == half
        inrush_half = half if inrush_half is None and within else inrush_half
        trip = harness.step(step_ns, peak_ma=inrush_ma if within and half == inrush_half else peak_ma)
        assert trip is None or trip.fault is not Fault.SHORT_CIRCUIT


def test_limits_are_in_the_milli_units_that_their_keys_end_with():
    class Sample(Section, frozen=True):
        peak_a: float = 30.0
        rise_k_per_min: float = 8.0
        hysteresis_k: float = 0.5
        within_s: float = 0.1
        rise_share: float = 0.15
        trips: int = 3

    assert in_milli_units(Sample()) == {
        "peak_ma": 30_000, "rise_mk_per_min": 8_000, "hysteresis_mk": 500, "within_ns": 100 * MS, "rise_share": 0.15,
        "trips": 3,
    }  # fmt: skip


@pytest.mark.parametrize("volts", [198, 220, 242])
@pytest.mark.parametrize("factor", [0.6, 0.65, 0.8, 0.99])
def test_load_within_the_outlets_watts_trips_nothing_at_any_ordinary_power_factor(factor, volts):
    config = parse(example())
    harness = OutletHarness()
    harness.safety = OutletSafety(config, config.outlet[0])
    harness.values["power_mw"] = 971_000
    harness.values["voltage_mv"] = 1000 * volts
    harness.values["current_ma"] = round(971_000 / factor / volts)
    assert harness.run(1200, 500 * MS)[0] is None


def test_more_than_the_outlets_watts_is_named_so_and_latches_nothing():
    config = parse(example())
    harness = OutletHarness()
    harness.safety = OutletSafety(config, config.outlet[0])
    harness.values.update(power_mw=1_100_000, current_ma=round(1_100_000 / 0.65 / 220))
    trip, _ = harness.run(60, 500 * MS)
    assert (trip.fault, trip.latched) == (Fault.OVERPOWER, False)
