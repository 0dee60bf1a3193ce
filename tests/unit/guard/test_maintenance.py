"""Staff commands of the guard: tests, locks, wear, calibration, over the simulated cabinet under a manual clock."""

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.guard import CHARGE_STEP_NS
from cabinet.guard.maintenance_file import NAME, UNREADABLE_NOTE
from cabinet.link.guard_protocol import (
    CycleRelay,
    Refusal,
    SetContactorLockout,
    SoundSiren,
    StartSelfTest,
    StartTestCharge,
    TakeOutOfService,
    TestAlertLine,
    TestResidual,
)
from cabinet.maintenance import (
    JobState,
)
from cabinet.model import ABSENT, CABINET, EndReason, EventKind, Fault
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_maintenance import LAMP, WHO, ask, charging, job_done, page_of, switched


@pytest.fixture
def sim(prepared):
    return prepared()


# --- closing for a test ----------------------------------------------------------------------------------------------


def test_test_closing_ends_by_itself_with_nobody_there(sim):
    sim.plug(3, LAMP)
    assert ask(sim, StartTestCharge, 3, 4) is None
    assert sim.run(NS, until=lambda: sim.outlet(3).closed)
    assert sim.outlet(3).trial
    assert sim.outlet(3).session_id == "test:console:tech"
    begun_ns = sim.clock.monotonic_ns()
    assert sim.run(6 * NS, until=lambda: not sim.outlet(3).closed)
    assert 3 * NS < sim.clock.monotonic_ns() - begun_ns <= 4 * NS + CHARGE_STEP_NS
    assert sim.events(3)[-1].reason is EndReason.LIMIT_TIME
    assert sim.world.truth(3).coil_told is False


def test_test_closing_ends_in_time_although_the_mains_are_away(sim):
    assert ask(sim, StartTestCharge, 3, 2) is None
    sim.run(NS)
    sim.world.set_mains(cut=True)
    sim.run(NS + CHARGE_STEP_NS)
    assert not sim.outlet(3).closed


def test_test_closing_does_not_end_for_want_of_a_load(tmp_path):
    sim = SimCabinet(tmp_path, demo_config({"heartbeat_pin = 27\n": ""}))
    assert ask(sim, StartTestCharge, 3, 600) is None
    sim.stride(590 * NS)
    assert sim.outlet(3).closed
    sim.stride(20 * NS)
    assert not sim.outlet(3).closed


@pytest.mark.after(charging, 3)
def test_test_closing_is_refused_while_a_resident_charges_and_ends_the_charge_when_forced(sim):
    before = switched(sim, 3)
    assert ask(sim, StartTestCharge, 3, 10) == "resident_charging"
    assert not sim.outlet(3).trial
    assert switched(sim, 3) == before
    assert ask(sim, StartTestCharge, 3, 10, forced=True) is None
    sim.run(NS, until=lambda: sim.outlet(3).closed)
    ended = sim.events(3, EventKind.ENDED)
    assert [(event.reason, event.session_id) for event in ended] == [(EndReason.STOPPED_BY_STAFF, "s1")]
    assert sim.outlet(3).trial


@pytest.mark.after(charging, 3)
def test_forced_test_that_the_check_refuses_does_not_end_the_charge(sim):
    sim.unit(3).inputs.voltage_mv = ABSENT
    assert ask(sim, StartTestCharge, 3, 10, forced=True) == "voltage_out_of_band"
    assert sim.unit(3).has_resident


def test_test_closing_passes_the_pre_close_check(sim):
    sim.world.fault(None, "contactor_welded")
    sim.unit(3).fault, sim.unit(3).latched = Fault.SHORT_CIRCUIT, True
    assert ask(sim, StartTestCharge, 3, 10) == "fault_latched"
    assert ask(sim, StartTestCharge, 11, 10) == "unknown_outlet"
    assert switched(sim, 3) == 1, "the self-test's click"


def test_protections_guard_a_test_as_a_charge(sim):
    sim.plug(3, LAMP)
    assert ask(sim, StartTestCharge, 3, 60) is None
    sim.run(NS)
    sim.world.fault(3, "short", amps=60)
    assert sim.run(NS, until=lambda: sim.outlet(3).latched)
    assert sim.outlet(3).fault is Fault.SHORT_CIRCUIT
    assert not sim.outlet(3).closed


def test_resident_is_refused_where_staff_test(sim):
    assert ask(sim, StartTestCharge, 3, 60) is None
    assert sim.start(3) == Refusal(1, "outlet_busy", {"outlet": 3})


# --- locks -----------------------------------------------------------------------------------------------------------


def test_locked_outlet_refuses_residents_and_lets_staff_test_also_after_a_restart(sim):
    assert ask(sim, TakeOutOfService, 3, "插座松动") is None
    sim.boot()
    assert sim.outlet(3).note == "插座松动"
    assert sim.outlet(3).refusal == "out_of_service"
    assert sim.start(3) == Refusal(1, "out_of_service", {"outlet": 3})
    assert ask(sim, StartTestCharge, 3, 2) is None
    assert page_of(sim, 3).locked.who == WHO
    assert ask(sim, TakeOutOfService, 3, None) is None
    sim.boot()
    assert sim.outlet(3).refusal is None


@pytest.mark.after(charging, 3)
def test_lock_of_a_charging_outlet_needs_force(sim):
    assert ask(sim, TakeOutOfService, 3, "x") == "resident_charging"
    assert sim.outlet(3).note is None
    assert sim.outlet(3).closed
    assert ask(sim, TakeOutOfService, 3, "x", forced=True) is None
    assert not sim.outlet(3).closed


def test_unreadable_book_takes_every_outlet_out_of_service_and_is_kept(sim):
    sim.close()
    (sim.state / NAME).write_bytes(b"{")
    sim.boot()
    assert {state.refusal for state in sim.guard.snapshot().outlets} == {"out_of_service"}
    assert sim.outlet(1).note == UNREADABLE_NOTE
    assert (sim.state / "upkeep.damaged").read_bytes() == b"{"
    assert "upkeep.json" in sim.guard.maintenance_state().damaged
    sim.boot()
    assert sim.outlet(1).refusal == "out_of_service"


# --- the contactor ---------------------------------------------------------------------------------------------------


@pytest.mark.after(charging, 3)
def test_contactor_held_open_stays_open_over_a_restart_until_released(sim):
    assert ask(sim, SetContactorLockout, True) == "resident_charging"
    assert sim.guard.snapshot().contactor_closed
    assert ask(sim, SetContactorLockout, True, forced=True) is None
    assert not sim.guard.snapshot().contactor_closed
    sim.boot()
    sim.run(3 * NS)
    assert not sim.guard.snapshot().contactor_closed
    assert sim.outlet(4).refusal == "contactor_open"
    assert sim.guard.maintenance_state().contactor_held.who == WHO
    assert ask(sim, SetContactorLockout, False) is None
    assert sim.run(5 * NS, until=lambda: sim.outlet(4).refusal is None)


@pytest.mark.parametrize("command", [CycleRelay, TestAlertLine, StartSelfTest])
def test_contactor_opens_at_once_whatever_test_runs(sim, command):
    sim.plug(3, LAMP)
    more = {"times": 5} if command is CycleRelay else {}
    assert ask(sim, command, 3, **more) is None
    sim.run(300 * MS)
    assert ask(sim, SetContactorLockout, True) is None
    assert not sim.guard.snapshot().contactor_closed
    job = job_done(sim)
    assert job.state in (JobState.BROKEN_OFF, JobState.PASSED)
    sim.run(3 * NS)
    assert not sim.guard.snapshot().contactor_closed
    assert not any(sim.world.truth(n).coil_told for n in range(1, 11))


# --- tests that take a while -----------------------------------------------------------------------------------------


def test_self_test_clicks_without_power_and_passes(sim):
    sim.plug(3, LAMP)
    before_uj = sim.world.truth(3).energy_uj
    assert ask(sim, StartSelfTest, CABINET) is None
    assert ask(sim, StartSelfTest, CABINET) is None, "the same again is the one that runs"
    assert ask(sim, CycleRelay, 3, 1) == "work_under_way"
    job = job_done(sim)
    assert (job.state, job.outlets, job.why) == (JobState.PASSED, [], "")
    assert sim.world.truth(3).energy_uj == before_uj, "the lamp never lit"
    assert [switched(sim, n) for n in (1, 3, 10)] == [2, 2, 2]
    assert sim.outlet(3).refusal is None


def test_self_test_finds_the_relay_that_does_not_follow(sim):
    sim.world.fault(7, "stuck_open")
    assert ask(sim, StartSelfTest, 7) is None
    job = job_done(sim)
    assert (job.state, job.outlets) == (JobState.FAILED, [7])
    assert sim.outlet(7).fault is Fault.RELAY_STUCK_OPEN
    assert switched(sim, 3) == 1, "only the one asked for"


def test_self_test_finds_a_contactor_that_does_not_open(sim):
    sim.plug(3, "resistor:200")
    sim.world.fault(None, "contactor_welded")
    assert ask(sim, StartSelfTest, 3) is None
    job = job_done(sim)
    assert (job.state, job.fault) == (JobState.FAILED, Fault.CONTACTOR_WELDED)


@pytest.mark.after(charging, 3)
def test_self_test_waits_for_residents_unless_forced(sim):
    assert ask(sim, StartSelfTest, 5) == "resident_charging"
    assert sim.outlet(3).closed
    assert ask(sim, StartSelfTest, 5, forced=True) is None
    assert job_done(sim).state is JobState.PASSED
    assert sim.events(3)[-1].reason is EndReason.STOPPED_BY_STAFF


def test_cycled_relay_with_a_lamp_shows_its_current_each_time(sim):
    sim.plug(3, LAMP)
    assert ask(sim, CycleRelay, 3, 4) is None
    assert sim.start(3).code == "outlet_busy" or sim.start(3).code == "not_ready"
    job = job_done(sim)
    assert job.state is JobState.PASSED
    assert (job.values["done"], job.values["with_current"], job.values["output_differs"]) == (4, 4, 0)
    assert job.values["least_peak_ma"] == pytest.approx(386, rel=0.1)
    assert job.values["open_peak_ma"] < 100
    assert switched(sim, 3) == 5


def test_cycled_relay_without_a_load_says_that_no_current_was_seen(sim):
    assert ask(sim, CycleRelay, 3, 2) is None
    job = job_done(sim)
    assert (job.state, job.values["with_current"]) == (JobState.PASSED, 0)


def test_cycled_relay_whose_contacts_miss_fails(sim):
    """The lamp is pulled out after the first closing, as a contact that misses would show."""
    sim.plug(3, LAMP)
    assert ask(sim, CycleRelay, 3, 3) is None
    assert sim.run(10 * NS, until=lambda: sim.guard.maintenance_state().job.values.get("done") == 1)
    sim.world.unplug(3)
    job = job_done(sim)
    assert (job.state, job.values["with_current"]) == (JobState.FAILED, 1)


def test_welded_relay_ends_the_cycling(sim):
    sim.plug(3, "resistor:200")
    assert ask(sim, CycleRelay, 3, 5) is None
    assert sim.run(10 * NS, until=lambda: sim.guard.maintenance_state().job.values.get("done") == 1)
    sim.world.fault(3, "welded")
    job = job_done(sim)
    assert (job.state, job.fault) == (JobState.FAILED, Fault.RELAY_WELDED)
    assert not sim.guard.snapshot().contactor_closed


def test_alert_line_is_seen_to_move_and_the_level_is_a_shorts_again(sim):
    sim.plug(3, LAMP)
    assert ask(sim, TestAlertLine, 3) is None
    job = job_done(sim)
    assert (job.state, job.outlets) == (JobState.PASSED, [3])
    assert not sim.outlet(3).closed
    sim.run(20 * MS)  # the last edge of the test may still be on its way
    before = sim.guard.maintenance_control.alert_edges[3]
    assert ask(sim, StartTestCharge, 3, 10) is None
    sim.run(2 * NS)
    assert sim.outlet(3).closed
    assert sim.guard.maintenance_control.alert_edges[3] == before
    sim.world.fault(3, "short", amps=60)
    sim.run(100 * MS)
    assert sim.guard.maintenance_control.alert_edges[3] > before


def test_alert_line_without_a_lamp_fails(sim):
    assert ask(sim, TestAlertLine, 3) is None
    job = job_done(sim)
    assert (job.state, job.outlets) == (JobState.FAILED, [])


def test_residual_test_passes_and_a_dead_monitor_fails(sim):
    assert ask(sim, TestResidual) is None
    job = job_done(sim)
    assert job.state is JobState.PASSED
    assert 0 < job.values["ms"] <= 300
    sim.world.fault(None, "rcm_dead")
    assert ask(sim, TestResidual) is None
    assert job_done(sim).state is JobState.FAILED
    assert sim.guard.snapshot().fault is Fault.RESIDUAL_CURRENT


def test_siren_sounds_for_its_seconds(sim):
    assert ask(sim, SoundSiren, 2) is None
    sim.run(NS)
    assert sim.world.siren.sounding
    assert job_done(sim).state is JobState.PASSED
    sim.run(10 * MS)
    assert not sim.world.siren.sounding


def test_parts_that_are_not_there_are_refused_by_name(tmp_path):
    config = demo_config({"siren_pin = 7\n": "", "residual_test_pin = 26\n": "", "contactor_pin = 17\n": "",
                          'alert = "gpio:6"\n': ""})  # fmt: skip
    sim = SimCabinet(tmp_path, config)
    assert ask(sim, SoundSiren, 2) == "not_fitted"
    assert ask(sim, TestResidual) == "not_fitted"
    assert ask(sim, StartSelfTest, 3) == "no_contactor"
    assert ask(sim, SetContactorLockout, True) == "no_contactor"
    assert ask(sim, TestAlertLine, 3) == "no_alert_line"
