"""Promises of an outlet's counters."""

from hypothesis import given
from hypothesis import strategies as st

from cabinet.metering import UJ_PER_MWH, OutletMeter
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
