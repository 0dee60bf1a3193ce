"""Shorts, and what only looks like one: who is opened, by what, and who goes on."""

import pytest

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EndReason, EventKind, Fault, Phase
from cabinet_testing.sim_cabinet import SimCabinet
from cabinet_testing.sim_charges import charging, reaction_ms

OTHERS = [1, 2, 4, 5, 6, 7, 8, 9, 10]


@pytest.fixture
def sim(prepared):
    return prepared()


@pytest.mark.after(charging, 2, 3, 4)
@pytest.mark.parametrize("amps", [25, 60, 250])
def test_short_circuit_opens_only_its_outlet(sim, amps):
    sim.world.fault(3, "short", amps=amps)
    assert sim.run(NS, until=lambda: sim.ended(3))
    trip = sim.events(3)[-1]
    assert (trip.kind, trip.fault, trip.latched) == (EventKind.TRIPPED, Fault.SHORT_CIRCUIT, True)
    assert reaction_ms(sim, 3) < 20
    sim.run(NS)
    states = {o.outlet: (o.closed, o.fault) for o in sim.guard.snapshot().outlets}
    expected = {n: (n in (2, 4), None) for n in OTHERS}
    assert states == {**expected, 3: (False, Fault.SHORT_CIRCUIT)}


@pytest.mark.after(charging, 3)
def test_peak_over_the_hard_ceiling_trips_by_the_alert_line_within_three_milliseconds(sim):
    sim.world.fault(3, "short", amps=300, at_phase=60)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert reaction_ms(sim, 3) < 3


@pytest.mark.parametrize(("amps", "at_phase"), [(120, 120), (200, 150), (85, 0), (300, 60)])
def test_short_too_great_for_its_relay_is_broken_by_the_contactor_and_the_others_go_on(tmp_path, amps, at_phase):
    """These seeds make the first two weld the relay if it has to break them; the others are the breaker's too."""
    sim = SimCabinet(tmp_path, seed=amps + at_phase)
    charging(sim, 3, 2, 4)
    sim.world.fault(3, "short", amps=amps, at_phase=at_phase)
    assert sim.run(NS, until=lambda: sim.ended(3))
    without_ms = 0
    for _ in range(500):
        sim.run(2 * MS)
        without_ms += 0 if sim.guard.snapshot().contactor_closed else 3
    kinds = {(r.kind, r.outlet) for r in sim.world.journal.after(0)}
    assert ("welded", 3) not in kinds
    assert 0 < without_ms < 500
    sim.run(3 * NS)
    states = {o.outlet: (o.closed, o.fault, o.phase) for o in sim.guard.snapshot().outlets}
    assert states[3] == (False, Fault.SHORT_CIRCUIT, Phase.IDLE)
    assert [states[n] for n in (2, 4)] == [(True, None, Phase.CHARGING)] * 2
    assert sim.start(5) == Done(5) or sim.guard.snapshot().contactor_closed


@pytest.mark.parametrize("amps", [35, 60, 110])
def test_short_whose_chip_shows_three_times_the_ordinary_crosstalk_is_no_weld_of_its_neighbour(tmp_path, amps):
    sim = SimCabinet(tmp_path, seed=amps)
    charging(sim, 2, 5)
    sim.world.fault(2, "crosstalk", share=0.015, shows="everywhere")
    sim.run(2 * NS)
    sim.world.fault(2, "short", amps=amps, at_phase=30)
    assert sim.run(NS, until=lambda: sim.ended(2))
    sim.run(3 * NS)
    states = {o.outlet: (o.closed, o.fault) for o in sim.guard.snapshot().outlets}
    assert states[2] == (False, Fault.SHORT_CIRCUIT)
    assert (states[1], states[5]) == ((False, None), (True, None))


@pytest.mark.after(charging, 2, 3)
def test_short_that_its_relay_can_break_leaves_the_contactor_alone(sim):
    sim.world.fault(3, "short", amps=50, at_phase=5)
    before = sim.world.journal.last_seq
    assert sim.run(NS, until=lambda: sim.ended(3))
    sim.run(NS)
    assert "contactor_off" not in {r.kind for r in sim.world.journal.after(before)}


@pytest.mark.after(charging, 2, 3)
def test_relay_that_does_not_open_in_time_leaves_all_without_power(sim, monkeypatch):
    sim.world.fault(3, "nack", chip="expander")
    sim.world.fault(3, "short", amps=300, at_phase=60)
    assert sim.run(2 * NS, until=lambda: sim.ended(2) and sim.ended(3))
    assert sim.events(2)[-1].reason is EndReason.POWER_LOST
    sim.run(NS)
    assert not sim.guard.snapshot().contactor_closed
    assert sim.world.truth(3).current_ma == 0


@pytest.mark.after(charging, 3)
def test_half_wave_short_is_found(sim):
    sim.world.fault(3, "short", amps=60, shape="half")
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert sim.events(3)[-1].fault is Fault.SHORT_CIRCUIT
    assert reaction_ms(sim, 3) < 35


@pytest.mark.parametrize("load", ["lead-acid-36v12ah", "lead-acid-48v20ah", "lithium-48v", "lithium-60v", "demo"])
def test_plugging_in_and_switching_on_never_looks_like_a_short(sim, load):
    for outlet in range(1, 11):
        sim.plug(outlet, load, 30)
        assert isinstance(sim.start(outlet), Done)
        sim.run(37 * MS)
    for outlet in range(1, 11):
        sim.world.fault(outlet, "hot_plug")
        sim.run(41 * MS)
    sim.run(2 * NS)
    assert [e for e in sim.seen if e.kind is EventKind.TRIPPED] == []


@pytest.mark.after(charging, 3)
def test_overload_trips_overcurrent_and_not_short_circuit(sim):
    sim.world.fault(3, "overload", amps=12)
    assert sim.run(10 * NS, until=lambda: sim.ended(3))
    assert sim.events(3)[-1].fault is Fault.OVERCURRENT


@pytest.mark.parametrize("amps", [60, 400])
@pytest.mark.parametrize("at_phase", [0, 40, 90])
@pytest.mark.parametrize(("faulty", "idle"), [(3, 4), (4, 3)])
def test_short_circuit_does_not_make_its_idle_neighbour_a_weld(sim, amps, at_phase, faulty, idle):
    charging(sim, faulty)
    sim.world.fault(faulty, "short", amps=amps, at_phase=at_phase)
    refusals = set()
    sim.run(400 * MS, until=lambda: refusals.add(sim.outlet(idle).refusal))
    assert sim.ended(faulty)
    assert refusals <= {None, "contactor_open", "not_ready"}
    assert sim.outlet(idle).fault is None
