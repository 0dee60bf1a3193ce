"""The table of protections: its order, its limits, and which fault it names."""

import inspect
import sys

import msgspec

from cabinet.model import Fault
from cabinet.protections.inputs import CabinetLimits, ProtectionLimits
from cabinet.safety import CABINET_PROTECTIONS, EACH_TICK, PROTECTIONS, OutletSafety
from cabinet_testing.protection_harness import LIMITS, MS, OutletHarness


def test_every_limit_is_used_by_some_protection():
    """A limit nobody reads would be a promise of the configuration that nothing keeps."""
    modules = {sys.modules[kind.__module__] for kind in (*PROTECTIONS, *CABINET_PROTECTIONS, OutletSafety)}
    source = "".join(map(inspect.getsource, modules))
    for limits in (ProtectionLimits, CabinetLimits):
        assert [f.name for f in msgspec.structs.fields(limits) if f"limits.{f.name}" not in source] == []


def test_those_that_look_at_peaks_come_first_and_there_is_one_of_each():
    table = [kind(LIMITS).fault for kind in PROTECTIONS]
    assert len(set(table)) == len(table)
    assert set(table[: len(EACH_TICK)]) == EACH_TICK


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
