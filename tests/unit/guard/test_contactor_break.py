"""Currents that a relay may break by itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from cabinet.clock import NS
from cabinet.guard.contactor_break import ContactorBreak
from cabinet.link.guard_protocol import Done
from cabinet.model import EndReason, EventKind, Fault, Trip
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging


def needed(fault: Fault, why: dict[str, int], recent_peak_ma: int, contactor_closed: bool = True) -> bool:
    relays: Any = SimpleNamespace(has_contactor=True, contactor_closed=contactor_closed)
    return ContactorBreak(demo_config(), relays, lambda outlet: False, lambda: None).needed(
        Trip(fault, 3, 0, True, why), recent_peak_ma
    )


def test_short_whose_crest_the_relay_can_break_is_left_to_it():
    assert not needed(Fault.SHORT_CIRCUIT, {"peak_ma": 40_000, "crest_ma": 60_000}, 60_000)


@pytest.mark.parametrize("why", [{"peak_ma": 40_000}, {"peak_ma": 40_000, "crest_ma": 140_000}])
def test_short_whose_crest_is_unknown_or_too_great_is_the_contactors(why):
    assert needed(Fault.SHORT_CIRCUIT, why, 40_000)


@pytest.mark.parametrize("fault", [Fault.OVERCURRENT, Fault.OVERPOWER, Fault.OUTLET_HOT, Fault.SENSOR_LOST])
def test_whatever_trips_just_after_a_peak_of_a_short_is_the_contactors(fault):
    """A warm wire's heat may trip before the short's second half-cycle; its relay would weld all the same."""
    assert needed(fault, {"current_ma": 45_000}, 200_000)
    assert not needed(fault, {"current_ma": 12_000}, 19_000)


def test_contactor_that_is_open_breaks_nothing():
    assert not needed(Fault.OVERCURRENT, {"current_ma": 45_000}, 200_000, contactor_closed=False)


def test_charge_stopped_in_the_first_half_cycle_of_a_short_is_broken_by_the_contactor(tmp_path):
    """Its resident, or the money's end, may come before the second half-cycle that makes it a short."""
    sim = SimCabinet(tmp_path)
    charging(sim, 3, 4)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=70, at_phase=30)
    assert sim.run(NS, until=lambda: sim.guard.watching)
    assert isinstance(sim.stop(3), Done)
    sim.run(NS // 2)
    happened = [(r.kind, r.outlet) for r in sim.world.journal.after(before)]
    assert happened.index(("contactor_off", None)) < happened.index(("coil_off", 3))
    assert ("welded", 3) not in happened
    ended = sim.events(3, EventKind.ENDED)[-1]
    assert ended.reason is EndReason.STOPPED_BY_RESIDENT
    assert sim.outlet(4).closed
