"""The order of closings: one after the other, near a voltage zero, and never after a change of mind."""

import itertools
import math

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.closing_queue import MAX_WAIT_FOR_ZERO_NS, ClosingQueue
from cabinet.guard.phase import MainsPhase
from cabinet.link.guard_protocol import Done, Refusal
from cabinet.model import EventKind, Fault, Phase
from cabinet_testing.sim_cabinet import SimCabinet

GAP_NS, OPERATE_NS, NEAR_NS = 200 * MS, 7 * MS, 1_500_000
TEN = range(1, 11)


def closings(phase: MainsPhase | None = None) -> ClosingQueue:
    return ClosingQueue(GAP_NS, OPERATE_NS, NEAR_NS, phase)


def test_first_come_first_closed_a_gap_apart():
    order = closings()
    for outlet in (3, 1, 2, 1):
        order.add(outlet)
    assert [order.take(0), order.take(GAP_NS - 1), order.take(GAP_NS)] == [3, None, 1]
    assert [order.take(2 * GAP_NS), order.take(3 * GAP_NS)] == [2, None]


def test_outlet_that_is_taken_out_is_not_closed():
    order = closings()
    order.add(3)
    order.add(4)
    order.remove(3)
    assert 3 not in order
    assert order.take(0) == 4


def test_closing_waits_for_a_voltage_zero_but_not_for_ever():
    phase = MainsPhase(10 * MS)
    for at_ns in range(0, 100 * MS, 3 * MS):
        phase.sample(at_ns, round(311_000 * math.sin(math.pi * at_ns / (10 * MS))))
    order = closings(phase)
    order.add(3)
    middle_ns = 105 * MS - OPERATE_NS
    assert order.take(middle_ns) is None, "contacts would meet at the crest"
    assert order.take(110 * MS - OPERATE_NS) == 3
    order.add(4)
    ready_ns = 205 * MS - OPERATE_NS + GAP_NS
    assert order.take(ready_ns) in (None, 4)
    assert order.take(ready_ns + MAX_WAIT_FOR_ZERO_NS) == 4 or 4 not in order


class TestCabinet:
    @pytest.fixture
    def sim(self, prepared):
        return prepared()

    def closed_at_ns(self, sim: SimCabinet) -> list[int]:
        return [r.at_ns for r in sim.world.journal.after(0) if r.kind == "coil_on"][10:]  # the self-test's are first

    def test_ten_starts_at_once_never_close_two_outlets_together(self, sim):
        for outlet in TEN:
            sim.plug(outlet, "lead-acid-48v20ah", 30)
            assert isinstance(sim.start(outlet), Done)
        assert sim.run(4 * NS, until=lambda: all(sim.outlet(n).closed for n in TEN))
        at_ns = self.closed_at_ns(sim)
        assert len(at_ns) == 10
        assert min(later - earlier for earlier, later in itertools.pairwise(at_ns)) >= 199 * MS
        assert sim.run(5 * NS, until=lambda: all(sim.outlet(n).phase is Phase.CHARGING for n in TEN))

    def test_contacts_meet_near_a_voltage_zero(self, sim):
        for outlet in TEN:
            sim.start(outlet)
        sim.run(4 * NS)
        for at_ns in self.closed_at_ns(sim):
            angle = sim.world.mains.angle(at_ns + OPERATE_NS) % math.pi
            from_zero_ms = min(angle, math.pi - angle) / math.pi * 10
            assert from_zero_ms < 3, "a tick is 3 ms"

    def test_outlet_waiting_its_turn_may_be_stopped_and_is_never_closed(self, sim):
        for outlet in TEN:
            sim.start(outlet)
        assert (sim.outlet(9).closed, sim.outlet(9).session_id is not None) == (False, True)
        sim.stop(9)
        sim.run(4 * NS)
        assert [o.outlet for o in sim.guard.snapshot().outlets if not o.closed] == [9]
        assert not sim.events(9, EventKind.CLOSED)

    def test_a_fault_that_comes_before_its_turn_keeps_it_open(self, sim):
        for outlet in TEN:
            sim.start(outlet)
        sim.world.fault(9, "nack", chip="meter")
        sim.run(4 * NS)
        assert [o.outlet for o in sim.guard.snapshot().outlets if not o.closed] == [9, 10], "both on that chip"
        assert not sim.events(9, EventKind.CLOSED)
        assert sim.events(9)[-1].kind is EventKind.ENDED


class TestSelfTest:
    def test_every_relay_is_clicked_once_while_no_power_is_there(self, prepared):
        sim = prepared()
        journal = sim.world.journal.after(0)
        contactor_ns = next(r.at_ns for r in journal if r.kind == "contactor_on")
        assert sorted(r.outlet or 0 for r in journal if r.kind == "coil_on") == list(TEN)
        assert max(r.at_ns for r in journal if r.kind == "coil_off") < contactor_ns
        assert sim.guard.snapshot().contactor_closed

    def test_nothing_closes_during_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("cabinet_testing.sim_cabinet.UNTIL_READY_NS", 100 * MS)
        sim = SimCabinet(tmp_path)
        assert sim.start(1) == Refusal(1, "not_ready", {"outlet": 1})
        assert sim.outlet(1).refusal == "not_ready"

    def test_welded_contactor_ends_it_before_more_outlets_get_power(self, prepared):
        sim = prepared()
        for outlet in TEN:
            sim.plug(outlet, "resistor:500")
        sim.world.fault(None, "contactor_welded")
        before = sim.world.journal.last_seq
        sim.boot()
        clicked = {r.outlet for r in sim.world.journal.after(before) if r.kind == "coil_on"}
        assert sim.guard.snapshot().fault is Fault.CONTACTOR_WELDED
        assert len(clicked) <= 3
        assert not any(sim.world.truth(n).current_ma for n in TEN)
