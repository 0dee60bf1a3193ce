"""The table of protections: its order, its limits, and which fault it names."""

import inspect
import sys

from cabinet.model import Fault
from cabinet.protections.table import ALL, CABINET_PROTECTIONS, PROTECTIONS
from cabinet.sections import in_milli_units
from cabinet_testing.protection_harness import MS, OutletHarness


def test_every_limit_is_used_by_some_protection():
    """A limit nobody reads would be a promise of the configuration that nothing keeps."""
    elsewhere = {
        "thermal_runaway.taper_within_ns",  # kept for old files
        "residual_current.test_every_ns", "residual_current.test_ns",  # of the guard's test of the monitor
        "sensor_frozen.load_ma", "sensor_frozen.neighbours_mk",  # of the thermometers, in `stillness`
    }  # fmt: skip
    unused = set()
    for kind in ALL:
        source = inspect.getsource(sys.modules[kind.__module__])
        limits = in_milli_units(kind.section())
        unused |= {f"{kind.section_name()}.{name}" for name in limits if f"self.{name}" not in source}
    assert unused == elsewhere


def test_those_that_look_at_peaks_come_first_and_there_is_one_of_each():
    assert [kind.fault for kind in (*PROTECTIONS, *CABINET_PROTECTIONS)] == list(Fault), "outlets before the cabinet"
    each_tick = [kind.each_tick for kind in PROTECTIONS]
    assert each_tick == sorted(each_tick, reverse=True)


def test_late_loop_opens_everything_and_does_not_latch():
    harness = OutletHarness()
    harness.inputs.late_ns = 51 * MS
    trip = harness.step()
    assert (trip.fault, trip.outlet, trip.latched) == (Fault.GUARD_LATE, None, False)
    assert trip.trip_values == {"late_ms": 51, "limit_ms": 50}


def test_where_several_trip_the_first_of_the_table_names_the_fault():
    harness = OutletHarness()
    harness.inputs.late_ns = 51 * MS
    harness.values["temperature_mc"] = 90_000
    assert harness.step(peak_ma=160_000).fault is Fault.SHORT_CIRCUIT
