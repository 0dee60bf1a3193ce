"""An outlet that drew too much a moment ago is looked at more often, and the mains' phase with it."""

import pytest

from bench.scan import cabinet_of
from bench.shorts import ALERT_PINS
from cabinet.clock import MS, NS
from cabinet.model import Fault
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging, reaction_ms

WITHOUT_ALERTS = {f'alert = "gpio:{pin}"\n': "" for pin in ALERT_PINS}


@pytest.fixture
def sim(prepared) -> SimCabinet:
    return prepared(demo_config(WITHOUT_ALERTS))


# From where a scan of 3 ms does not show on which side of the voltage's crest the current began, so that only its end
# tells it from an inrush: before, at and behind the crest, and around the zero crossing.
@pytest.mark.after(charging, 3, load="resistor:300")
@pytest.mark.parametrize("in_scan_ms", [0, 1, 2])
@pytest.mark.parametrize("phase_deg", [5, 45, 62, 123, 131, 176, 187, 221, 313, 352])
def test_short_just_above_the_limit_opens_within_a_mains_cycle_without_alert_lines(sim, phase_deg, in_scan_ms):
    sim.clock.advance_ns(in_scan_ms * MS)
    sim.world.fault(3, "short", amps=25.2, at_phase=phase_deg)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert sim.events(3)[-1].fault is Fault.SHORT_CIRCUIT
    assert reaction_ms(sim, 3) <= 20


@pytest.mark.after(charging, 3)
def test_mains_phase_is_not_lost_while_an_outlet_is_watched(sim):
    """The extra looks make a scan longer, and the phase needs a voltage every few milliseconds."""
    phase = sim.guard._scanner.phase
    sim.world.fault(3, "short", amps=25.2, at_phase=60)
    assert sim.run(NS, until=lambda: sim.guard.watching)
    sim.world.clear(3)  # as an inrush: once
    lost, since_ns = [], sim.clock.monotonic_ns()

    def over() -> bool:
        lost.append(phase.crest_ns(sim.clock.monotonic_ns()) is None)
        return not sim.guard.watching

    assert sim.run(NS, until=over)
    assert sim.clock.monotonic_ns() - since_ns > 50 * MS
    assert not any(lost)


def test_forty_outlets_have_a_mains_phase(tmp_path):
    """One voltage a scan would not do: theirs takes longer than the half of a half-cycle."""
    sim = SimCabinet(tmp_path, cabinet_of(40))
    sim.run(NS)
    assert sim.guard._scanner is not None
    assert sim.guard._scanner.phase.crest_ns(sim.clock.monotonic_ns()) is not None
