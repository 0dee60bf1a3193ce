"""Promises of the guard over the simulated cabinet: one process, a manual clock, the real drivers and chips."""

import itertools

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.guard import CHARGE_STEP_NS
from cabinet.link.protocol import Done, Energise, Open, Refusal
from cabinet.model import ChargeLimits, EndReason, EventKind, Fault, Phase, Quality
from tests.desk import Desk, demo_config
from tests.unit.guard.charges import charging, reaction_ms

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def striding(tmp_path):
    """Without the heartbeat hardware, which ticks seconds apart would let go."""
    return Desk(tmp_path, demo_config(NO_HEARTBEAT))


def test_guard_comes_up_with_everything_open_and_every_outlet_ready(desk):
    snapshot = desk.guard.snapshot()
    assert snapshot.contactor_closed
    assert [(o.outlet, o.closed, o.phase, o.refusal) for o in snapshot.outlets] == [
        (n, False, Phase.IDLE, None) for n in range(1, 11)
    ]
    assert snapshot.mains_mv.value == pytest.approx(220_000, rel=0.01)
    assert snapshot.frequency_mhz.value == pytest.approx(50_000, rel=0.002)
    assert [event.kind for event in desk.seen] == [EventKind.GUARD_STARTED]


def test_nothing_may_be_closed_before_the_weld_check_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.desk.UNTIL_READY_NS", 0)
    desk = Desk(tmp_path)
    assert desk.start(1) == Refusal(1, "not_ready", {"outlet": 1})
    assert desk.run(3 * NS, until=lambda: isinstance(desk.start(1), Done))


def test_charge_is_seen_metered_and_ended(desk):
    charging(desk, 3, load="resistor:500")
    desk.run(5 * NS)
    desk.stop(3)
    desk.tick()
    kinds = [event.kind for event in desk.events(3)]
    assert kinds == [EventKind.CLOSED, EventKind.LOAD_SEEN, EventKind.ENDED]
    end = desk.events(3)[-1]
    assert end.reason is EndReason.STOPPED_BY_RESIDENT
    truth_mwh = desk.world.truth(3).energy_mwh
    assert end.charge_count.energy_mwh == pytest.approx(truth_mwh, rel=0.01, abs=30)
    assert not desk.outlet(3).closed
    assert desk.world.truth(3).coil_told is False


def test_outlet_without_a_bike_ends_by_itself_and_says_why(striding):
    desk = striding
    desk.start(4)
    assert desk.stride(125 * NS, NS, until=lambda: desk.ended(4)) is True
    assert desk.events(4)[-1].reason is EndReason.NO_LOAD
    assert desk.events(4)[-1].charge_count.charging_ms == 0


def test_bought_limits_end_a_charge_with_nobody_else_alive(desk):
    charging(desk, 3, load="resistor:500")
    desk.guard.handle(Energise(99, 3, desk.unit(3).session_id, ChargeLimits(charging_s=10)))
    assert desk.run(20 * NS, until=lambda: desk.ended(3))
    assert desk.events(3)[-1].reason is EndReason.LIMIT_TIME
    # The time with a load is counted with each reading of the power, a quarter of a second apart.
    assert 10_000 <= desk.events(3)[-1].charge_count.charging_ms < 10_250


def test_same_energise_again_changes_the_limits_and_nothing_else(desk):
    charging(desk, 3)
    before = desk.outlet(3)
    assert desk.guard.handle(Energise(7, 3, before.session_id, ChargeLimits(charging_s=60))) == Done(7)
    assert desk.unit(3).charge.limits == ChargeLimits(charging_s=60)
    assert desk.events(3, EventKind.CLOSED) == desk.events(3, EventKind.CLOSED)[:1]


def test_outlet_of_one_session_is_refused_to_another_and_an_ended_session_stays_over(desk):
    charging(desk, 3)
    session_id = desk.outlet(3).session_id
    assert desk.start(3, "other") == Refusal(2, "outlet_busy", {"outlet": 3})
    desk.stop(3)
    assert desk.start(3, session_id) == Refusal(4, "session_over", {"outlet": 3})


def test_open_for_a_session_that_is_not_there_touches_nothing(desk):
    charging(desk, 3)
    assert desk.guard.handle(Open(8, 3, EndReason.STOPPED_BY_STAFF, session_id="gone")) == Done(8)
    assert desk.outlet(3).closed


def test_unknown_outlet_is_refused(desk):
    assert desk.start(11) == Refusal(1, "unknown_outlet", {"outlet": 11})


def test_latched_outlet_refuses_until_staff_clear_it_and_a_new_guard_remembers(desk):
    charging(desk, 3)
    desk.world.fault(3, "short", amps=60)
    desk.run(NS, until=lambda: desk.ended(3))
    desk.world.clear(3)
    assert desk.start(3).code == "fault_latched"
    desk.boot()
    assert desk.start(3).code == "fault_latched"
    assert desk.outlet(3).why["peak_ma"] > 30_000
    assert isinstance(desk.clear(3), Done)
    assert isinstance(desk.start(3), Done)
    assert desk.clear(3).code == "nothing_to_clear"


def test_counters_and_epoch_survive_a_killed_guard(desk):
    charging(desk, 3)
    desk.run(4 * NS)
    before, run = desk.outlet(3).count, desk.guard.guard_run
    epoch = desk.guard.epoch
    desk.boot()
    assert desk.guard.guard_run != run
    assert desk.guard.epoch == epoch
    assert not desk.outlet(3).closed
    after = desk.outlet(3).count
    assert before.energy_mwh > 100
    assert before.energy_mwh <= after.energy_mwh <= before.energy_mwh + 60


def test_hot_contacts_open_their_outlet_and_warn_before(desk):
    charging(desk, 3, load="resistor:1000")
    desk.world.fault(3, "hot")
    assert desk.run(400 * NS, until=lambda: desk.ended(3))
    assert desk.events(3)[-1].fault is Fault.OUTLET_HOT


def test_lost_meter_opens_its_two_outlets_names_itself_and_comes_back(desk):
    charging(desk, 3, 4, 5)
    desk.world.fault(3, "nack")
    assert desk.run(NS, until=lambda: desk.ended(3) and desk.ended(4))
    assert [desk.events(n)[-1].fault for n in (3, 4)] == [Fault.SENSOR_LOST, Fault.SENSOR_LOST]
    assert not desk.outlet(3).latched
    desk.run(3 * NS)  # the contactor broke it: a weld check follows
    lost = desk.outlet(3)
    assert lost.current_ma.quality is Quality.FAULT
    assert lost.current_ma.value is None, "a lost sensor is never 0 A"
    assert desk.start(3).code == "sensor_lost"
    assert desk.outlet(5).closed
    desk.world.clear(3)
    assert desk.run(3 * NS, until=lambda: desk.outlet(3).refusal is None)
    assert desk.events(3, EventKind.RECOVERED)
    assert isinstance(desk.start(3), Done)


def test_stuck_bus_costs_its_own_segment_only(desk):
    charging(desk, 3, 5, 9)
    desk.world.fault(5, "stuck_bus")
    assert desk.run(2 * NS, until=lambda: desk.ended(5))
    desk.run(3 * NS)
    assert desk.events(5)[-1].fault is Fault.SENSOR_LOST
    assert [desk.outlet(n).closed for n in (3, 9)] == [True, True]
    desk.world.clear(5)
    assert desk.run(3 * NS, until=lambda: desk.outlet(5).refusal is None)


@pytest.mark.parametrize("clocks", [1, 9])
def test_chip_before_the_muxes_that_holds_the_bus_is_clocked_free(tmp_path, clocks):
    desk = Desk(tmp_path, demo_config({"mux_reset_pin = 22\n": "mux_reset_pin = 22\nclock_out_pin = 9\n"}))
    charging(desk, 3)
    desk.world.fault(None, "stuck_upstream", clocks=clocks)
    desk.run(4 * NS)
    assert not desk.world.bus.hung
    assert desk.run(3 * NS, until=lambda: desk.outlet(3).refusal is None or desk.outlet(3).closed)


def test_chip_that_does_not_let_go_leaves_everything_open(tmp_path):
    desk = Desk(tmp_path, demo_config({"mux_reset_pin = 22\n": "mux_reset_pin = 22\nclock_out_pin = 9\n"}))
    charging(desk, 3)
    desk.world.fault(None, "stuck_upstream", clocks=0)
    assert desk.run(NS, until=lambda: desk.world.contactor.closed is False)
    desk.run(4 * NS)
    assert not desk.outlet(3).closed


def test_chip_that_forgot_its_setup_is_set_up_again_without_a_trip(desk):
    charging(desk, 3)
    desk.world.fault(3, "chip_reset")
    desk.run(4 * NS)
    assert desk.outlet(3).closed
    desk.world.fault(3, "short", amps=300, at_phase=60)
    assert desk.run(NS, until=lambda: desk.ended(3))
    assert reaction_ms(desk, 3) < 3, "the alert level was set again"


def test_welded_relay_takes_the_contactor_and_stays_latched(desk):
    charging(desk, 3, 5, load="resistor:500")
    desk.world.fault(3, "welded")
    desk.stop(3)
    assert desk.run(NS, until=lambda: desk.outlet(3).fault is Fault.RELAY_WELDED)
    assert not desk.guard.snapshot().contactor_closed
    desk.run(NS)
    assert desk.world.truth(3).current_ma == 0
    assert (desk.events(5)[-1].kind, desk.events(5)[-1].fault) == (EventKind.TRIPPED, Fault.RELAY_WELDED)
    assert desk.start(5).code == "contactor_open"
    desk.world.clear(3)
    assert isinstance(desk.clear(3), Done)
    assert desk.run(2 * NS, until=lambda: desk.outlet(5).refusal is None)


@pytest.mark.parametrize("load", ["resistor:500", "lead-acid-48v20ah"])
def test_relay_welded_before_the_guard_came_is_found_at_its_start(desk, load):
    """A charger that starts softly draws nothing for most of a second after the contactor closed."""
    charging(desk, 3, load=load)
    desk.world.fault(3, "welded")
    desk.boot()
    assert desk.outlet(3).fault is Fault.RELAY_WELDED
    assert desk.world.truth(3).current_ma == 0


def test_late_tick_opens_everything_and_may_go_on_at_once(desk):
    charging(desk, 1, 5, 9)
    desk.guard.tick(late_ns=60 * MS)
    desk.tick()
    assert [desk.outlet(n).closed for n in (1, 5, 9)] == [False] * 3
    assert [desk.events(n)[-1].fault for n in (1, 5, 9)] == [Fault.GUARD_LATE] * 3
    desk.run(20 * MS)
    assert isinstance(desk.start(1), Done)


def test_many_meters_that_come_back_at_once_cut_no_healthy_charge(tmp_path):
    """On the slowest bus that may be configured, where setting a meter up takes longest."""
    desk = Desk(tmp_path, demo_config({"contactor_pin = 17\n": "contactor_pin = 17\nbus_speed_hz = 100000\n"}))
    charging(desk, 1)
    for outlet in (3, 5, 7, 9):
        desk.world.fault(outlet, "nack")
    desk.run(300 * MS)
    for outlet in (3, 5, 7, 9):
        desk.world.clear(outlet)
    assert desk.run(5 * NS, until=lambda: all(desk.outlet(n).refusal is None for n in (3, 5, 7, 9)))
    assert not desk.ended(1)


def test_stall_in_the_middle_of_a_scan_opens_everything_too(desk, monkeypatch):
    charging(desk, 1, 5, 9)
    between, calls = desk.guard._between_segments, itertools.count()

    def stalled() -> None:
        between()
        if next(calls) == 3:
            desk.clock.advance_ns(150 * MS)  # longer than a lease, and the heartbeat hardware waits 100 ms

    monkeypatch.setattr(desk.guard, "_between_segments", stalled)
    desk.tick()
    assert [desk.outlet(n).closed for n in (1, 5, 9)] == [False] * 3
    assert [desk.events(n)[-1].fault for n in (1, 5, 9)] == [Fault.GUARD_LATE] * 3
    desk.run(400 * MS)
    assert isinstance(desk.start(1), Done)


def test_relay_found_open_ends_its_charge_and_is_not_closed_again(desk):
    charging(desk, 3)
    desk.guard._relays.release(3, "something else")
    desk.run(CHARGE_STEP_NS + 5 * MS)
    assert desk.events(3)[-1].reason is EndReason.POWER_LOST
    desk.run(NS)
    assert desk.world.truth(3).coil_told is False
    assert desk.world.truth(3).current_ma == 0


def test_charge_pauses_without_mains_and_may_go_on_a_minute_after_it_is_back(striding):
    desk = striding
    charging(desk, 3)
    before = desk.outlet(3).charge_count
    desk.world.set_mains(cut=True)
    desk.stride(70 * NS, NS)
    during = desk.outlet(3)
    assert (during.closed, during.fault, during.refusal) == (False, Fault.UNDERVOLTAGE, "voltage_out_of_band")
    paused = desk.events(3)[-1]
    assert (paused.kind, paused.fault, paused.latched) == (EventKind.SUSPENDED, Fault.UNDERVOLTAGE, False)
    assert during.charge_count.charging_ms - before.charging_ms < 1_500, "time without mains is not charged for"
    desk.world.set_mains(cut=False)
    desk.stride(55 * NS, NS)
    assert desk.outlet(3).refusal == "voltage_out_of_band", "it has to stay"
    desk.stride(10 * NS, NS)
    assert desk.outlet(3).refusal is None
    assert isinstance(desk.start(3, paused.session_id), Done), "the same session goes on"


def test_short_dip_of_the_mains_pauses_nothing(desk):
    charging(desk, 3)
    desk.world.set_mains(cut=True)
    desk.run(600 * MS)
    desk.world.set_mains(cut=False)
    desk.run(5 * NS)
    assert desk.outlet(3).closed
    assert not desk.ended(3)


def test_expander_that_lost_its_setup_ends_its_charges_and_serves_again(desk):
    charging(desk, 3, 5)
    desk.world.fault(3, "chip_reset", chip="expander")
    assert desk.run(3 * NS, until=lambda: desk.ended(3) and desk.ended(5))
    assert [desk.events(n)[-1].reason for n in (3, 5)] == [EndReason.POWER_LOST] * 2
    assert desk.run(2 * NS, until=lambda: isinstance(desk.start(3), Done))


def test_stopping_guard_leaves_everything_open(desk):
    charging(desk, 1, 10)
    desk.guard.stop()
    desk.world.sync()
    assert [desk.world.truth(n).coil_told for n in range(1, 11)] == [False] * 10
    assert not desk.guard.snapshot().contactor_closed


def test_every_scan_of_ten_outlets_leaves_room_in_its_period(desk):
    desk.run(NS)
    period_us = desk.config.guard.scan_period_s * 1e6
    assert desk.guard.snapshot().health.scan_us < period_us, "bus time alone, at 400 kHz"


def test_weld_that_no_contactor_can_end_lets_nothing_else_start(tmp_path):
    desk = Desk(tmp_path, demo_config({"contactor_pin = 17\n": "", "heartbeat_pin = 27\n": ""}))
    charging(desk, 3, load="resistor:500")
    desk.world.fault(3, "welded")
    desk.stop(3)
    assert desk.run(NS, until=lambda: desk.outlet(3).fault is Fault.RELAY_WELDED)
    assert desk.start(5).code == "relay_welded"


def test_cabinet_without_contactor_and_heartbeat_works_too(tmp_path):
    config = demo_config({"contactor_pin = 17\n": "", "heartbeat_pin = 27\n": ""})
    desk = Desk(tmp_path, config)
    charging(desk, 3)
    desk.stop(3)
    desk.run(20 * MS)
    assert not desk.world.truth(3).contacts_closed
