"""One witness is no evidence: alert line, peak register, RMS and read-back, and which switch breaks a current."""

import logging
import random

import pytest

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EventKind, Fault, Trip
from cabinet.sim.chips.ade7953_registers import OVERCURRENT
from cabinet_testing.sim_cabinet import SimCabinet
from cabinet_testing.sim_charges import charging, reaction_ms

FROZEN_LOW = 13_000  # as the chip holds it: 0.4 A


@pytest.fixture
def sim(prepared):
    return prepared()


def happened(sim: SimCabinet, since: int) -> list[tuple[str, int | None]]:
    return [(record.kind, record.outlet) for record in sim.world.journal.after(since)]


def last_trip(sim: SimCabinet, outlet: int) -> tuple[Fault | None, bool]:
    trip = sim.events(outlet, EventKind.TRIPPED)[-1]
    return trip.fault, trip.latched


def contactor_comes_first(sim: SimCabinet, since: int, *outlets: int) -> bool:
    """Return whether the contactor was open before each relay was commanded to open, and none has welded."""
    done = happened(sim, since)
    assert all(("welded", outlet) not in done for outlet in outlets)
    return all(done.index(("contactor_opened", None)) < done.index(("coil_off", outlet)) for outlet in outlets)


# --- the alert line beside a register or a bus that says nothing ----------------------------------------------------


@pytest.mark.after(charging, 2, 3, 7)
@pytest.mark.parametrize("at_phase", [0, 60, 100, 150])
@pytest.mark.parametrize("amps", [35, 60, 100])
def test_live_alert_line_finds_a_short_that_a_frozen_peak_register_hides(sim, amps, at_phase):
    sim.world.fault(3, "stuck", chip="meter", register="peak_a", value=FROZEN_LOW)
    sim.run(50 * MS)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=amps, at_phase=at_phase)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert last_trip(sim, 3) == (Fault.SHORT_CIRCUIT, True)
    assert reaction_ms(sim, 3) <= 20
    sim.run(300 * MS)
    assert contactor_comes_first(sim, before, 3)
    assert [sim.outlet(n).closed for n in (2, 7)] == [True, True]


@pytest.mark.after(charging, 2, 3, 7)
@pytest.mark.parametrize("dead_for_ms", [0, 10, 30, 60])
@pytest.mark.parametrize("kind", ["nack", "stuck_bus"])
@pytest.mark.parametrize(("amps", "at_phase"), [(82, 0), (100, 60), (118, 120)])
def test_edge_from_a_dead_segment_is_a_short_and_the_contactors(sim, kind, dead_for_ms, amps, at_phase):
    """The longest of it is the adapter's timeout, in which nothing else can be done."""
    sim.world.fault(3, kind)
    sim.run(dead_for_ms * MS)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=amps, at_phase=at_phase)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert last_trip(sim, 3) == (Fault.SHORT_CIRCUIT, True)
    assert reaction_ms(sim, 3) <= 20
    sim.run(300 * MS)
    assert contactor_comes_first(sim, before, 3)
    assert [sim.outlet(n).closed for n in (2, 7)] == [True, True]


@pytest.mark.after(charging, 3)
def test_inrush_behind_a_frozen_peak_register_is_no_short(sim):
    sim.world.fault(3, "stuck", chip="meter", register="peak_a", value=FROZEN_LOW)
    for _ in range(5):
        sim.world.fault(3, "hot_plug")
        sim.run(150 * MS)
    assert sim.outlet(3).fault is not Fault.SHORT_CIRCUIT


@pytest.mark.after(charging, 3)
def test_spikes_on_an_alert_line_are_no_evidence(sim):
    """A spike that the chip does not confirm, or that is gone when the chip is read, did not come from it."""
    for spike in range(40):
        sim.world.fault(3, "alert_stuck", level="low")
        sim.world.clear(3)
        sim.run((3 + spike % 5) * MS)
    assert sim.outlet(3).closed
    assert not sim.ended(3)


@pytest.mark.after(charging, 3)
def test_alert_line_stuck_low_opens_nothing_and_is_named(sim, caplog):
    with caplog.at_level(logging.WARNING):
        sim.world.fault(3, "alert_stuck", level="low")
        sim.run(4 * NS)
        assert "the alert line of outlet 3 stays low" in caplog.text
        sim.world.clear(3)
        sim.run(3 * NS)
        assert "the alert line of outlet 3 moves again" in caplog.text
    assert sim.outlet(3).closed


@pytest.mark.after(charging, 3)
def test_short_behind_an_alert_line_stuck_low_is_found_by_polling(sim):
    sim.world.fault(3, "alert_stuck", level="low")
    sim.run(3 * NS)
    sim.world.fault(3, "short", amps=60, at_phase=40)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert (last_trip(sim, 3), reaction_ms(sim, 3) <= 20) == ((Fault.SHORT_CIRCUIT, True), True)


@pytest.mark.after(charging, 3)
def test_alert_whose_first_answer_is_lost_is_taken_by_the_next_scan(sim):
    """Left alone, the chip would hold its line, and no further current would make an edge."""
    meter, name = sim.world.outlets[3].meter
    sim.world.fault(3, "nack")
    meter._interrupts.raise_status(name, OVERCURRENT, sim.world.sync())
    sim.guard.answer_alerts()
    sim.world.clear(3)
    sim.run(6 * MS)
    assert not sim.guard._alerts.is_low(3)
    assert sim.outlet(3).closed


# --- told is not done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap_ms", [0, 2, 10, 15, 20, 30, 40])
@pytest.mark.parametrize("other", [4, 7])
def test_two_shorts_above_what_a_relay_breaks_part_without_current(tmp_path, other, gap_ms):
    sim = SimCabinet(tmp_path, seed=gap_ms + other)
    charging(sim, 2, 3, other, 9)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=100)
    if gap_ms:
        sim.run(gap_ms * MS)
    sim.world.fault(other, "short", amps=110)
    sim.run(600 * MS)
    assert contactor_comes_first(sim, before, 3, other)
    assert [last_trip(sim, n) for n in (3, other)] == [(Fault.SHORT_CIRCUIT, True)] * 2
    assert [sim.outlet(n).closed for n in (2, 3, other, 9)] == [True, False, False, True]
    assert sim.guard.snapshot().contactor_closed


@pytest.mark.after(charging, 2, 3, 4)
def test_charge_that_ends_while_the_contactor_opens_waits_for_its_release(sim):
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=100, at_phase=60)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert isinstance(sim.stop(2), Done)
    sim.run(200 * MS)
    assert contactor_comes_first(sim, before, 2, 3)
    assert [sim.outlet(n).closed for n in (2, 3, 4)] == [False, False, True]


@pytest.mark.after(charging, 2, 3)
def test_contactor_closes_only_when_the_opened_relays_are_read_back(sim, monkeypatch):
    sim.world.fault(3, "short", amps=100, at_phase=60)
    assert sim.run(NS, until=lambda: sim.ended(3))
    sim.run(50 * MS)
    sim.world.fault(3, "nack", chip="expander")
    sim.run(200 * MS)
    assert not sim.guard.snapshot().contactor_closed
    sim.world.clear(3)
    sim.run(60 * MS)
    assert sim.guard.snapshot().contactor_closed
    assert sim.outlet(2).closed


@pytest.mark.after(charging, 2, 3)
def test_relays_that_cannot_be_read_back_leave_the_contactor_open_until_they_can(sim):
    sim.world.fault(3, "short", amps=100, at_phase=60)
    assert sim.run(NS, until=lambda: sim.ended(3))
    sim.run(50 * MS)
    sim.world.fault(3, "nack", chip="expander")
    sim.run(3 * NS)
    assert (sim.guard.snapshot().contactor_closed, sim.ended(2)) == (False, True)
    sim.world.clear(3)
    sim.run(3 * NS)
    assert sim.guard.snapshot().contactor_closed


@pytest.mark.parametrize("at_phase", [0, 60, 120])
def test_short_through_a_welded_relay_is_seen_in_the_first_half_cycle_after_closing_again(tmp_path, at_phase):
    """Without voltage behind the contactor no sensor shows it: closing is the test, and opening takes its time."""
    sim = SimCabinet(tmp_path, seed=at_phase)
    charging(sim, 3)
    sim.world.fault(3, "welded")
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=100, at_phase=at_phase)
    sim.run(600 * MS)
    records = [(r.kind, r.at_ns) for r in sim.world.journal.after(before)]
    closed_ns = next(at_ns for kind, at_ns in records if kind == "contactor_closed")
    told_ns = next(at_ns for kind, at_ns in records if kind == "contactor_off" and at_ns > closed_ns)
    gone_ns = next(at_ns for kind, at_ns in records if kind == "current_zero" and at_ns > closed_ns)
    assert told_ns - closed_ns <= 3 * MS
    assert gone_ns - closed_ns <= 28 * MS  # 15 of the contactor and 10 of its arc, at most
    assert last_trip(sim, 3) == (Fault.RELAY_WELDED, True)
    assert not sim.guard.snapshot().contactor_closed


def test_short_through_an_open_outlet_is_a_weld_during_the_weld_check_too(sim):
    """The contactor closed 20 ms ago, and the weld check has 1.5 s to go."""
    sim.world.fault(3, "welded")
    sim.world.outlets[3].relay.closed = True
    sim.guard.contactor.click_relays([5], sim.clock.monotonic_ns())
    sim.run(2 * NS, until=lambda: sim.guard.snapshot().contactor_closed)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=60, at_phase=30)  # over the limit from its first moment on
    assert sim.run(100 * MS, until=lambda: not sim.guard.snapshot().contactor_closed)
    records = {r.kind: r.at_ns for r in sim.world.journal.after(before)}
    assert records["contactor_off"] - records["fault_onset"] <= 5 * MS
    sim.tick()  # its alert may have been answered between two turns
    assert last_trip(sim, 3)[0] is Fault.RELAY_WELDED


@pytest.mark.after(charging, 2, 3)
def test_alarm_lets_no_relay_part_on_a_short(sim):
    """Smoke in the first half-cycle of a short: its relay waits for the contactor, the others do not."""
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=90, at_phase=30)
    assert sim.run(NS, until=lambda: sim.guard.watching)
    sim.guard.switching.trip_cabinet(Trip(Fault.SMOKE, None, sim.clock.monotonic_ns(), True, {}))
    sim.run(200 * MS)
    done = happened(sim, before)
    assert contactor_comes_first(sim, before, 3)
    assert done.index(("coil_off", 2)) < done.index(("contactor_opened", None))
    assert not sim.guard.snapshot().contactor_closed


# --- the greatest of all witnesses; unknown counts as great --------------------------------------------------------


@pytest.mark.after(charging, 2, 3)
def test_outlet_that_is_not_measured_is_opened_by_the_contactor(sim):
    """`sensor_lost` opens it on whatever flows; the others are without power for 70 ms."""
    before = sim.world.journal.last_seq
    sim.world.fault(3, "nack")
    assert sim.run(NS, until=lambda: sim.events(3, EventKind.TRIPPED))
    sim.run(300 * MS)
    assert last_trip(sim, 3)[0] is Fault.SENSOR_LOST
    assert contactor_comes_first(sim, before, 3)
    assert sim.outlet(2).closed


@pytest.mark.after(charging, 1, 2, 3, 4)
def test_ordinary_stops_leave_the_contactor_alone(sim):
    before = sim.world.journal.last_seq
    chance = random.Random(1)
    sim.world.fault(9, "stuck_bus")  # a hang of somebody else makes readings older, and not unknown
    for outlet in (1, 2, 3, 4):
        sim.run(chance.randrange(5, 40) * MS)
        assert isinstance(sim.stop(outlet), Done)
    sim.run(200 * MS)
    assert ("contactor_off", None) not in happened(sim, before)


@pytest.mark.after(charging, 2, 3)
def test_rms_that_contradicts_the_peak_chooses_the_contactor(sim):
    """Peak register and alert line both dead: the heat of the wire trips, by a reading that lags."""
    sim.world.fault(3, "stuck", chip="meter", register="peak_a", value=FROZEN_LOW)
    sim.world.fault(3, "alert_stuck", level="high")
    sim.run(50 * MS)
    before = sim.world.journal.last_seq
    sim.world.fault(3, "short", amps=100, at_phase=20)
    assert sim.run(2 * NS, until=lambda: sim.ended(3))
    sim.run(200 * MS)
    assert contactor_comes_first(sim, before, 3)


# --- a bus that hangs -----------------------------------------------------------------------------------------------


@pytest.mark.after(charging, 3, 7)
@pytest.mark.parametrize("hanging", [1, 5, 9])
@pytest.mark.parametrize(("amps", "at_phase"), [(26, 60), (60, 100), (100, 165)])
def test_short_that_begins_with_a_hang_of_another_segment_is_found_in_a_mains_cycle(sim, hanging, amps, at_phase):
    sim.run(7 * MS)
    sim.world.fault(3, "short", amps=amps, at_phase=at_phase)
    sim.world.fault(hanging, "stuck_bus")
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert reaction_ms(sim, 3) <= 20
    assert last_trip(sim, 3) == (Fault.SHORT_CIRCUIT, True)


@pytest.mark.after(charging, 3)
def test_hang_is_its_own_channels_whoever_meets_it(sim):
    scanner = sim.guard._scanner
    for _ in range(3):  # whichever segment was read last
        scanner._muxes.select(0x70, 4)
        sim.world.fault(9, "stuck_bus")
        sim.run(15 * MS)
        down = [segment.name for segment in scanner.segments if not segment.up]
        assert down == ["segment 0x70/4"]
        sim.world.clear(9)
        assert sim.run(2 * NS, until=lambda: all(segment.up for segment in scanner.segments))
    assert sim.outlet(3).closed


@pytest.mark.after(charging, 3, 7)
def test_short_that_the_breaker_cleared_during_a_hang_is_told_and_latched(sim):
    sim.run(7 * MS)
    sim.world.fault(9, "stuck_bus")
    sim.run(2 * MS)
    sim.world.fault(3, "short", amps=400, at_phase=80)
    sim.run(300 * MS)
    assert last_trip(sim, 3) == (Fault.SHORT_CIRCUIT, True)


def test_short_cleared_by_the_breaker_behind_a_hung_segment_is_told_and_latched(tmp_path):
    """Without alert lines: what the peak register kept meanwhile counts when it can be read again."""
    sim = SimCabinet(tmp_path)
    charging(sim, 3)
    sim.world.fault(3, "stuck_bus")
    sim.world.fault(3, "alert_stuck", level="high")
    sim.world.fault(3, "short", amps=400, at_phase=80)
    sim.run(12 * MS)
    sim.world.segment_of[3].stuck = False
    sim.world.bus.rejoin()
    sim.run(300 * MS)
    assert not sim.world.outlets[3].breaker.closed
    assert last_trip(sim, 3) == (Fault.SHORT_CIRCUIT, True)


@pytest.mark.after(charging, 2, 3)
def test_segment_that_holds_the_bus_does_not_keep_a_relay_closed(sim):
    """The expander is on the same bus: a stop just then once took the contactor and every charge."""
    sim.guard._scanner._muxes.select(0x70, 4)
    sim.world.fault(9, "stuck_bus")
    assert isinstance(sim.stop(3), Done)
    sim.run(50 * MS)
    assert not sim.world.outlets[3].relay.commanded
    assert (sim.outlet(2).closed, sim.guard.snapshot().contactor_closed) == (True, True)
