"""Promises of the guard over the simulated cabinet: one process, a manual clock, the real drivers and chips."""

import itertools

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.guard import CHARGE_STEP_NS
from cabinet.link.guard_protocol import Done, Energise, Open, Refusal
from cabinet.model import ChargeLimits, EndReason, EventKind, Fault, Phase, Quality
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_charges import charging, reaction_ms

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}


@pytest.fixture
def sim(prepared):
    return prepared()


@pytest.fixture
def striding(prepared):
    """A guard without heartbeat hardware, which would open at ticks seconds apart."""
    return prepared(demo_config(NO_HEARTBEAT))


def test_guard_comes_up_with_everything_open_and_every_outlet_ready(sim):
    snapshot = sim.guard.snapshot()
    assert snapshot.contactor_closed
    assert [(o.outlet, o.closed, o.phase, o.refusal) for o in snapshot.outlets] == [
        (n, False, Phase.IDLE, None) for n in range(1, 11)
    ]
    assert snapshot.mains_mv.value == pytest.approx(220_000, rel=0.01)
    assert snapshot.frequency_mhz.value == pytest.approx(50_000, rel=0.002)
    assert [event.kind for event in sim.seen] == [EventKind.GUARD_STARTED]


def test_nothing_may_be_closed_before_the_weld_check_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr("cabinet_testing.sim_cabinet.UNTIL_READY_NS", 0)
    sim = SimCabinet(tmp_path)
    assert sim.start(1) == Refusal(1, "not_ready", {"outlet": 1})
    assert sim.run(3 * NS, until=lambda: isinstance(sim.start(1), Done))


@pytest.mark.after(charging, 3, load="resistor:500")
def test_charge_is_seen_metered_and_ended(sim):
    sim.run(5 * NS)
    sim.stop(3)
    sim.tick()
    kinds = [event.kind for event in sim.events(3)]
    assert kinds == [EventKind.CLOSED, EventKind.LOAD_SEEN, EventKind.ENDED]
    end = sim.events(3)[-1]
    assert end.reason is EndReason.STOPPED_BY_RESIDENT
    truth_mwh = sim.world.truth(3).energy_mwh
    assert end.charge_count.energy_mwh == pytest.approx(truth_mwh, rel=0.01, abs=30)
    assert not sim.outlet(3).closed
    assert sim.world.truth(3).coil_told is False


def test_outlet_without_a_bike_ends_by_itself_and_says_why(striding):
    sim = striding
    sim.start(4)
    assert sim.stride(125 * NS, NS, until=lambda: sim.ended(4)) is True
    assert sim.events(4)[-1].reason is EndReason.NO_LOAD
    assert sim.events(4)[-1].charge_count.charging_ms == 0


@pytest.mark.after(charging, 3, load="resistor:500")
def test_bought_limits_end_a_charge_with_nobody_else_alive(sim):
    sim.guard.handle(Energise(99, 3, sim.unit(3).session_id, ChargeLimits(charging_s=10)))
    assert sim.run(20 * NS, until=lambda: sim.ended(3))
    assert sim.events(3)[-1].reason is EndReason.LIMIT_TIME
    # The time with a load is counted with each reading of the power, a quarter of a second apart.
    assert 10_000 <= sim.events(3)[-1].charge_count.charging_ms < 10_250


@pytest.mark.after(charging, 3)
def test_same_energise_again_changes_the_limits_and_nothing_else(sim):
    before = sim.outlet(3)
    assert sim.guard.handle(Energise(7, 3, before.session_id, ChargeLimits(charging_s=60))) == Done(7)
    assert sim.unit(3).charge.limits == ChargeLimits(charging_s=60)
    assert sim.events(3, EventKind.CLOSED) == sim.events(3, EventKind.CLOSED)[:1]


@pytest.mark.after(charging, 3)
def test_outlet_of_one_session_is_refused_to_another_and_an_ended_session_stays_over(sim):
    session_id = sim.outlet(3).session_id
    assert sim.start(3, "other") == Refusal(2, "outlet_busy", {"outlet": 3})
    sim.stop(3)
    assert sim.start(3, session_id) == Refusal(4, "session_over", {"outlet": 3})


@pytest.mark.after(charging, 3)
def test_open_for_a_session_that_is_not_there_touches_nothing(sim):
    assert sim.guard.handle(Open(8, 3, EndReason.STOPPED_BY_STAFF, session_id="gone")) == Done(8)
    assert sim.outlet(3).closed


def test_unknown_outlet_is_refused(sim):
    assert sim.start(11) == Refusal(1, "unknown_outlet", {"outlet": 11})


@pytest.mark.after(charging, 3)
def test_latched_outlet_refuses_until_staff_clear_it_and_a_new_guard_remembers(sim):
    sim.world.fault(3, "short", amps=60)
    sim.run(NS, until=lambda: sim.ended(3))
    sim.world.clear(3)
    assert sim.start(3).code == "fault_latched"
    sim.boot()
    assert sim.start(3).code == "fault_latched"
    assert sim.outlet(3).why["peak_ma"] > 30_000
    assert isinstance(sim.clear(3), Done)
    assert isinstance(sim.start(3), Done)
    assert sim.clear(3).code == "nothing_to_clear"


@pytest.mark.after(charging, 3)
def test_counters_and_epoch_survive_a_killed_guard(sim):
    sim.run(4 * NS)
    before, run = sim.outlet(3).count, sim.guard.guard_run
    epoch = sim.guard.epoch
    sim.boot()
    assert sim.guard.guard_run != run
    assert sim.guard.epoch == epoch
    assert not sim.outlet(3).closed
    after = sim.outlet(3).count
    assert before.energy_mwh > 100
    assert before.energy_mwh <= after.energy_mwh <= before.energy_mwh + 60


@pytest.mark.after(charging, 3, load="resistor:1000")
def test_hot_contacts_open_their_outlet_and_warn_before(sim):
    sim.world.fault(3, "hot")
    assert sim.run(400 * NS, until=lambda: sim.ended(3))
    assert sim.events(3)[-1].fault is Fault.OUTLET_HOT


@pytest.mark.after(charging, 3, 4, 5)
def test_lost_meter_opens_its_two_outlets_names_itself_and_comes_back(sim):
    sim.world.fault(3, "nack")
    assert sim.run(NS, until=lambda: sim.ended(3) and sim.ended(4))
    assert [sim.events(n)[-1].fault for n in (3, 4)] == [Fault.SENSOR_LOST, Fault.SENSOR_LOST]
    assert not sim.outlet(3).latched
    sim.run(3 * NS)  # the contactor broke it: a weld check follows
    lost = sim.outlet(3)
    assert lost.current_ma.quality is Quality.FAULT
    assert lost.current_ma.value is None, "a lost sensor is never 0 A"
    assert sim.start(3).code == "sensor_lost"
    assert sim.outlet(5).closed
    sim.world.clear(3)
    assert sim.run(3 * NS, until=lambda: sim.outlet(3).refusal is None)
    assert sim.events(3, EventKind.RECOVERED)
    assert isinstance(sim.start(3), Done)


@pytest.mark.after(charging, 3, 5, 9)
def test_stuck_bus_costs_its_own_segment_only(sim):
    sim.world.fault(5, "stuck_bus")
    assert sim.run(2 * NS, until=lambda: sim.ended(5))
    sim.run(3 * NS)
    assert sim.events(5)[-1].fault is Fault.SENSOR_LOST
    assert [sim.outlet(n).closed for n in (3, 9)] == [True, True]
    sim.world.clear(5)
    assert sim.run(3 * NS, until=lambda: sim.outlet(5).refusal is None)


@pytest.mark.parametrize("clocks", [1, 9])
def test_chip_before_the_muxes_that_holds_the_bus_is_clocked_free(tmp_path, clocks):
    sim = SimCabinet(tmp_path, demo_config({"mux_reset_pin = 22\n": "mux_reset_pin = 22\nclock_out_pin = 9\n"}))
    charging(sim, 3)
    sim.world.fault(None, "stuck_upstream", clocks=clocks)
    sim.run(4 * NS)
    assert not sim.world.bus.hung
    assert sim.run(3 * NS, until=lambda: sim.outlet(3).refusal is None or sim.outlet(3).closed)


def test_chip_that_does_not_let_go_leaves_everything_open(tmp_path):
    sim = SimCabinet(tmp_path, demo_config({"mux_reset_pin = 22\n": "mux_reset_pin = 22\nclock_out_pin = 9\n"}))
    charging(sim, 3)
    sim.world.fault(None, "stuck_upstream", clocks=0)
    assert sim.run(NS, until=lambda: sim.world.contactor.closed is False)
    sim.run(4 * NS)
    assert not sim.outlet(3).closed


@pytest.mark.after(charging, 3)
def test_chip_that_forgot_its_setup_is_set_up_again_without_a_trip(sim):
    sim.world.fault(3, "chip_reset")
    sim.run(4 * NS)
    assert sim.outlet(3).closed
    sim.world.fault(3, "short", amps=300, at_phase=60)
    assert sim.run(NS, until=lambda: sim.ended(3))
    assert reaction_ms(sim, 3) < 3, "the alert level was set again"


@pytest.mark.after(charging, 3, 5, load="resistor:500")
def test_welded_relay_takes_the_contactor_and_stays_latched(sim):
    sim.world.fault(3, "welded")
    sim.stop(3)
    assert sim.run(NS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    assert not sim.guard.snapshot().contactor_closed
    sim.run(NS)
    assert sim.world.truth(3).current_ma == 0
    assert (sim.events(5)[-1].kind, sim.events(5)[-1].fault) == (EventKind.TRIPPED, Fault.RELAY_WELDED)
    assert sim.start(5).code == "contactor_open"
    sim.world.clear(3)
    assert isinstance(sim.clear(3), Done)
    assert sim.run(2 * NS, until=lambda: sim.outlet(5).refusal is None)


@pytest.mark.after(charging, 3, 5, load="resistor:500")
def test_weld_that_no_current_showed_is_found_as_soon_as_the_next_bike_draws_some(sim):
    """A charger that idles at 3 W at the end of its charge does not show the weld."""
    sim.world.unplug(3)
    sim.plug(3, "resistor:3")
    sim.world.fault(3, "welded")
    sim.stop(3)
    sim.run(3 * NS)
    assert sim.outlet(5).closed
    sim.world.unplug(3)
    sim.plug(3, "resistor:160")
    assert sim.run(300 * MS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    sim.run(100 * MS)
    assert sim.world.truth(3).current_ma == 0


def test_idle_relay_that_closes_by_itself_is_found_by_its_current(sim):
    sim.plug(3, "resistor:60")
    expander, pin = sim.world.coil_place[3]
    sim.world.expanders[expander].hold(pin, True, sim.clock.monotonic_ns())
    assert sim.run(500 * MS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    sim.run(100 * MS)
    assert sim.world.truth(3).current_ma == 0


@pytest.mark.parametrize("load", ["resistor:500", "lead-acid-48v20ah"])
def test_relay_welded_before_the_guard_came_is_found_at_its_start(sim, load):
    """A charger that starts softly draws nothing for most of a second after the contactor closed."""
    charging(sim, 3, load=load)
    sim.world.fault(3, "welded")
    sim.boot()
    assert sim.outlet(3).fault is Fault.RELAY_WELDED
    assert sim.world.truth(3).current_ma == 0


@pytest.mark.after(charging, 1, 5, 9)
def test_late_tick_opens_everything_and_may_go_on_at_once(sim):
    sim.guard.tick(late_ns=60 * MS)
    sim.tick()
    assert [sim.outlet(n).closed for n in (1, 5, 9)] == [False] * 3
    assert [sim.events(n)[-1].fault for n in (1, 5, 9)] == [Fault.GUARD_LATE] * 3
    sim.run(20 * MS)
    assert isinstance(sim.start(1), Done)


def test_many_meters_that_come_back_at_once_cut_no_healthy_charge(tmp_path):
    """The bus is the slowest that may be configured: setting a meter up takes longest."""
    sim = SimCabinet(tmp_path, demo_config({"contactor_pin = 17\n": "contactor_pin = 17\nbus_speed_hz = 100000\n"}))
    charging(sim, 1)
    for outlet in (3, 5, 7, 9):
        sim.world.fault(outlet, "nack")
    sim.run(300 * MS)
    for outlet in (3, 5, 7, 9):
        sim.world.clear(outlet)
    assert sim.run(5 * NS, until=lambda: all(sim.outlet(n).refusal is None for n in (3, 5, 7, 9)))
    assert not sim.ended(1)


@pytest.mark.after(charging, 1, 5, 9)
def test_stall_in_the_middle_of_a_scan_opens_everything_too(sim, monkeypatch):
    between, calls = sim.guard._between_segments, itertools.count()

    def stalled() -> None:
        between()
        if next(calls) == 3:
            sim.clock.advance_ns(150 * MS)  # longer than a lease, and the heartbeat hardware waits 100 ms

    monkeypatch.setattr(sim.guard, "_between_segments", stalled)
    sim.tick()
    assert [sim.outlet(n).closed for n in (1, 5, 9)] == [False] * 3
    assert [sim.events(n)[-1].fault for n in (1, 5, 9)] == [Fault.GUARD_LATE] * 3
    sim.run(400 * MS)
    assert isinstance(sim.start(1), Done)


@pytest.mark.after(charging, 3)
def test_relay_found_open_ends_its_charge_and_is_not_closed_again(sim):
    sim.guard._relays.release(3, "something else")
    sim.run(CHARGE_STEP_NS + 5 * MS)
    assert sim.events(3)[-1].reason is EndReason.POWER_LOST
    sim.run(NS)
    assert sim.world.truth(3).coil_told is False
    assert sim.world.truth(3).current_ma == 0


@pytest.mark.after(charging, 3)
def test_charge_pauses_without_mains_and_may_go_on_a_minute_after_it_is_back(striding):
    sim = striding
    before = sim.outlet(3).charge_count
    sim.world.set_mains(cut=True)
    sim.stride(70 * NS, NS)
    during = sim.outlet(3)
    assert (during.closed, during.fault, during.refusal) == (False, Fault.UNDERVOLTAGE, "voltage_out_of_band")
    paused = sim.events(3)[-1]
    assert (paused.kind, paused.fault, paused.latched) == (EventKind.SUSPENDED, Fault.UNDERVOLTAGE, False)
    assert during.charge_count.charging_ms - before.charging_ms < 1_500, "time without mains is not charged for"
    sim.world.set_mains(cut=False)
    sim.stride(55 * NS, NS)
    assert sim.outlet(3).refusal == "voltage_out_of_band", "it has to stay"
    sim.stride(10 * NS, NS)
    assert sim.outlet(3).refusal is None
    assert isinstance(sim.start(3, paused.session_id), Done), "the same session goes on"


@pytest.mark.after(charging, 3)
def test_short_dip_of_the_mains_pauses_nothing(sim):
    sim.world.set_mains(cut=True)
    sim.run(600 * MS)
    sim.world.set_mains(cut=False)
    sim.run(5 * NS)
    assert sim.outlet(3).closed
    assert not sim.ended(3)


@pytest.mark.after(charging, 3, 5)
def test_expander_that_lost_its_setup_ends_its_charges_and_serves_again(sim):
    sim.world.fault(3, "chip_reset", chip="expander")
    assert sim.run(3 * NS, until=lambda: sim.ended(3) and sim.ended(5))
    assert [sim.events(n)[-1].reason for n in (3, 5)] == [EndReason.POWER_LOST] * 2
    assert sim.run(2 * NS, until=lambda: isinstance(sim.start(3), Done))


@pytest.mark.after(charging, 1, 10)
def test_stopping_guard_leaves_everything_open(sim):
    sim.guard.stop()
    sim.world.sync()
    assert [sim.world.truth(n).coil_told for n in range(1, 11)] == [False] * 10
    assert not sim.guard.snapshot().contactor_closed


def test_every_scan_of_ten_outlets_leaves_room_in_its_period(sim):
    sim.run(NS)
    period_us = sim.config.guard.scan_period_s * 1e6
    assert sim.guard.snapshot().health.scan_us < period_us, "bus time alone, at 400 kHz"


def test_weld_that_no_contactor_can_end_lets_nothing_else_start(tmp_path):
    sim = SimCabinet(tmp_path, demo_config({"contactor_pin = 17\n": "", "heartbeat_pin = 27\n": ""}))
    charging(sim, 3, load="resistor:500")
    sim.world.fault(3, "welded")
    sim.stop(3)
    assert sim.run(NS, until=lambda: sim.outlet(3).fault is Fault.RELAY_WELDED)
    refused = sim.start(5)
    assert isinstance(refused, Refusal)
    assert refused.code == "relay_welded"


def test_cabinet_without_contactor_and_heartbeat_works_too(tmp_path):
    config = demo_config({"contactor_pin = 17\n": "", "heartbeat_pin = 27\n": ""})
    sim = SimCabinet(tmp_path, config)
    charging(sim, 3)
    sim.stop(3)
    sim.run(20 * MS)
    assert not sim.world.truth(3).contacts_closed
