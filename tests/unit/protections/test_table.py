"""The table of protections: its order, its limits, and which fault it names."""

import inspect
import random
import sys

import pytest

from cabinet.model import Fault
from cabinet.protections import alarm_contacts, table
from cabinet.protections.inputs import OutletProtection
from cabinet.protections.short_circuit import ShortCircuit
from cabinet.protections.table import ALL, CABINET_PROTECTIONS, PROTECTIONS
from cabinet.sections import in_milli_units
from cabinet_testing.protection_harness import MS, OutletHarness

FACTS = {
    "short_circuit": "latched each_tick forgets_on_closing",
    "relay_welded": "latched hides_current each_tick open_only whole_cabinet forgets_on_closing",
    "guard_late": "resumes each_tick only_unusual whole_cabinet",
    "sensor_reset": "resumes each_tick only_unusual",
    "sensor_lost": "resumes each_tick",
    "sensor_frozen": "latched each_tick forgets_on_closing",
    "relay_stuck_open": "latched each_tick only_unusual",
    "overcurrent": "latched",
    "outlet_hot": "latched",
    "thermal_runaway": "latched forgets_on_closing",
    "overpower": "",
    "overvoltage": "suspends resumes",
    "undervoltage": "suspends resumes",
    "reclose_storm": "latched",
    "contactor_welded": "latched each_tick siren",
    "smoke": "latched each_tick siren",
    "residual_current": "latched each_tick",
    "water": "latched each_tick siren",
    "cabinet_hot": "latched siren",
    "sensor_disagrees": "latched hides_current",
    "feed_overload": "",
}
NAMES = [
    "latched", "suspends", "resumes", "hides_current", "each_tick", "only_unusual", "open_only", "whole_cabinet",
    "forgets_on_closing", "siren",
]  # fmt: skip


def test_facts_of_each_protection_are_those_of_the_safety_case():
    """A fact that is lost would be silent: an outlet that is not latched, a charge that is not resumed, no siren."""
    assert {kind.fault.value: " ".join(name for name in NAMES if getattr(kind, name, False)) for kind in ALL} == FACTS


def test_second_protection_for_a_fault_and_one_without_latched_are_refused(monkeypatch):
    class Copy(OutletProtection):
        fault = Fault.SMOKE
        latched = True

    monkeypatch.setattr(alarm_contacts, "Copy", Copy, raising=False)
    with pytest.raises(ValueError, match="two protections for smoke"):
        table._all()
    monkeypatch.setattr(alarm_contacts, "Copy", alarm_contacts.Smoke)
    monkeypatch.delattr(ShortCircuit, "latched")
    with pytest.raises(ValueError, match="two protections for short_circuit, or one without `latched`"):
        table._all()


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


@pytest.mark.parametrize("seed", range(6))
def test_protections_that_are_not_stepped_would_not_have_tripped(seed):
    """`open_only` and `only_unusual` save work; a fact that is not true of a protection would hide a fault."""
    chance = random.Random(seed)
    usual, whole = OutletHarness(), OutletHarness()
    whole.safety._usual_open = whole.safety._usual_closed = whole.safety._each_tick
    trips = 0
    for _ in range(4000):
        changes: dict[str, object] = {}
        if chance.random() < 0.02:
            changes["closed"] = chance.random() < 0.7
            changes["switched_at_ns"] = usual.inputs.at_ns
        for name, share in (("reset_at_ns", 0.02), ("thermometer_reset_at_ns", 0.02), ("found_open_at_ns", 0.02)):
            if chance.random() < share:
                changes[name] = chance.choice((None, usual.inputs.at_ns))
        changes["late_ns"] = chance.choice((0, 0, 0, 0, 60 * MS)) if chance.random() < 0.05 else 0
        peak_ma = chance.choice((-1, -1, -1, 0, 200, 40_000, None))
        past_ns = chance.choice((3, 3, 3, 3, 150)) * MS
        found = []
        for harness in (usual, whole):
            for name, value in changes.items():
                setattr(harness.inputs, name, value)
            found.append(harness.step(past_ns, peak_ma))
        assert found[0] == found[1]
        trips += found[0] is not None
    assert trips > 50
