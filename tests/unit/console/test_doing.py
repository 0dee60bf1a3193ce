"""Commands of a technician at the console, against the real guard over the simulated cabinet."""

import datetime
import inspect
import re
import zoneinfo

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.console.commands import relay_wear
from cabinet.console.commands.calibration_math import Point, fitted, parse
from cabinet.console.commands.relay_wear import due, signed_text
from cabinet.console.commands.running_test import job_text, progress
from cabinet.console.wording import wording
from cabinet.errors import Refused
from cabinet.guard.state_files import StateWriter
from cabinet.link.guard_protocol import Done
from cabinet.maintenance import PPB, UNITY_PPM, Attribution, Gains, Job, JobKind, JobState
from cabinet.model import EndReason, Fault, Phase
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.sim_cabinet import SimCabinet, demo_config


@pytest.fixture
def sim(prepared):
    return prepared(demo_config(outlets=4))


@pytest.fixture
def tech(sim, tmp_path):
    return ConsoleHarness(sim, tmp_path)


def charge(sim, outlet):
    sim.plug(outlet, "resistor:500")
    assert isinstance(sim.start(outlet), Done)
    assert sim.run(5 * NS, until=lambda: sim.outlet(outlet).phase is Phase.CHARGING)


def test_outlet_is_closed_for_a_test_after_a_yes_and_opens_by_itself(sim, tech):
    assert "Nobody may be touching" in tech.say("on 3 3")
    assert tech.say("no") == "Nothing was done."
    assert tech.guard.asked == []
    tech.say("on 3 3")
    assert tech.say("yes") == "Outlet 3 closes; the guard opens it after 3 s. Sooner: off 3"
    tech.wait(1)
    assert sim.outlet(3).closed
    tech.shell.hang_up()
    tech.wait(3)
    assert not sim.outlet(3).closed


def test_test_of_a_charging_outlet_is_refused_and_forced_by_service_only(sim, tech):
    charge(sim, 3)
    assert tech.say("on 3 60") == "A resident is charging (outlet 3); only force ends that."
    tech.log_in("night")
    assert tech.say("on 3 60 force") == "A resident is charging (outlet 3); force is for level service."
    assert tech.guard.asked == []
    assert sim.outlet(3).session_id == "s1"
    tech.log_in("tech")
    assert "THE CHARGE of a resident ENDS (outlet 3)." in tech.say("on 3 60 force")
    tech.say("yes")
    tech.wait(1)
    assert sim.outlet(3).trial
    assert [event.reason for event in sim.events(3) if event.reason] == [EndReason.STOPPED_BY_STAFF]


def test_off_ends_a_test_at_once_and_a_charge_only_by_force(sim, tech):
    tech.say("on 4 60")
    tech.say("yes")
    tech.wait(1)
    tech.log_in("night")
    assert tech.say("off 4") == "Outlet 4 is open."
    assert not sim.outlet(4).closed
    charge(sim, 3)
    assert "only force" in tech.say("off 3")
    assert sim.outlet(3).closed
    assert tech.say("off 3 force") == "Outlet 3 is open; the charge there has ended."
    assert not sim.outlet(3).closed


def test_pre_close_check_says_why_not(sim, tech):
    sim.world.set_mains(volts=150)
    tech.wait(3)
    assert tech.say("on 3 60") == "no: the mains voltage is out of bounds"
    assert tech.guard.asked == []


def test_lock_with_a_note_and_unlock(sim, tech):
    tech.log_in("night")
    assert "residents read: cover broken" in tech.say("lock 3 cover broken")
    assert tech.say("yes") == "Outlet 3 is out of service."
    assert (sim.outlet(3).note, sim.outlet(3).refusal) == ("cover broken", "out_of_service")
    assert "Outlet 3 is out of service: cover broken" in tech.say("maintenance")
    assert "out of service" in tech.say("status")
    assert "residents read: cover broken" in tech.say("outlet 3")
    tech.say("on 3 2")
    assert "closes" in tech.say("yes"), "staff may test it"
    tech.wait(1)
    assert "test by staff" in tech.say("status")
    assert "did not arrive whole" in tech.say("lock 4 \ufffd\u574f")
    assert "longer than 80" in tech.say("lock 4 " + "x" * 81)
    tech.say("unlock 3")
    assert tech.say("yes") == "Outlet 3 is in service again."
    assert sim.outlet(3).note is None


def test_lock_that_the_disk_does_not_take_says_that_a_restart_would_lose_it(sim, tech, monkeypatch):
    monkeypatch.setattr(StateWriter, "unwritten", ["upkeep.json"])
    tech.say("lock 3 broken")
    assert tech.say("yes").splitlines() == [
        "Outlet 3 is out of service.",
        "The disk takes no writes: nothing is switched on, and a power cut would lose: upkeep.json. Make room on it.",
    ]
    assert "a power cut would lose: upkeep.json" in tech.say("maintenance")


@pytest.mark.parametrize("why", ["clock", "storage", "key"])
def test_month_of_the_usage_log_that_is_not_closed_is_due(sim, tmp_path, why):
    tech = ConsoleHarness(sim, tmp_path, unclosed=lambda: ("2026-10", why))
    assert "The usage log of 2026-10 is not closed: " in tech.say("maintenance")


def test_force_may_follow_a_left_out_outlet_and_a_wrong_one_is_never_all(tech):
    assert "every relay clicks" in tech.say("selftest force")
    tech.say("no")
    assert tech.say("selftest 11 force").startswith("Usage: selftest [N|0] [force]")
    assert tech.say("selftest forced").startswith("Usage: selftest [N|0] [force]")


@pytest.mark.parametrize("line", ["replace 3", "calibrate 3", "commission"])
def test_what_cannot_be_forced_says_how_to_end_the_charge(sim, tech, line):
    charge(sim, 3)
    said = tech.say(line)
    assert said == "A resident is charging (outlet 3). Wait, or end that first: off N force"
    tech.say("off 3 force")
    assert tech.say(line) != said


def test_lock_of_a_charging_outlet_takes_force_by_service(sim, tech):
    charge(sim, 3)
    assert "only force" in tech.say("lock 3 broken")
    assert "ENDS" in tech.say("lock 3 force broken")
    tech.say("yes")
    assert (sim.outlet(3).note, sim.outlet(3).closed) == ("broken", False)


def test_self_test_is_followed_to_its_end(sim, tech):
    sim.world.fault(4, "stuck_open")
    assert "every relay clicks" in tech.say("selftest")
    said = tech.say("yes")
    assert "self-test, begun by console:tech: FAILED" in said
    assert "did not follow: outlet 4" in said
    assert tech.say("job") in said


def test_relay_cycle_tells_contacts_from_no_load(sim, tech):
    sim.plug(3, "resistor:60")
    tech.say("relay 3 cycle 3")
    said = tech.say("yes")
    assert "PASSED" in said
    assert "3 of 3 cycles: current in 3" in said
    tech.say("relay 4 cycle 1")
    assert "the contacts are not" in tech.say("yes")


def test_view_of_a_test_may_be_left_and_the_test_goes_on(sim, tech):
    tech.say("relay 4 cycle 3")
    tech.begin("yes")
    assert "It goes on in the guard" in tech.shell.interrupt().text
    tech.wait(10)
    assert "3 of 3" in tech.say("job")


def test_alert_line_residual_monitor_and_siren_are_tried(sim, tech):
    sim.plug(3, "resistor:60")
    tech.say("alert test 3")
    assert "line that moved: 3" in tech.say("yes")
    tech.say("rcd test")
    assert "the monitor answered after" in tech.say("yes")
    tech.say("siren test 1")
    assert "PASSED" in tech.say("yes")


def test_parts_that_are_not_fitted_are_named(tmp_path):
    sim = SimCabinet(
        tmp_path, demo_config({"siren_pin = 7\n": "", "residual_test_pin = 26\n": "", "contactor_pin = 17\n": ""})
    )
    tech = ConsoleHarness(sim, tmp_path)
    assert tech.say("siren test") == "This cabinet has no siren (hardware.siren_pin)."
    assert tech.say("rcd test") == "This cabinet has no test output for its residual-current monitor."
    assert tech.say("lamp") == "This cabinet has no outputs for lamps: there is nothing to test."
    tech.say("contactor open")
    assert tech.say("yes") == "no: this cabinet has no contactor (hardware.contactor_pin)"


def test_contactor_is_held_open_and_let_close(sim, tech):
    tech.say("contactor open")
    assert "held open" in tech.say("yes")
    assert not sim.guard.snapshot().contactor_closed
    assert "The contactor is held open by console:tech" in tech.say("maintenance")
    tech.say("contactor close")
    tech.say("yes")
    tech.wait(4)
    assert sim.guard.snapshot().contactor_closed


def test_day_of_a_replaced_relay_is_the_sites():
    evening_utc_ms = 1_795_638_600_000  # 2026-11-25 20:30 UTC
    signed = Attribution("console:tech", evening_utc_ms, True)
    assert signed_text(signed, zoneinfo.ZoneInfo("Asia/Shanghai")) == "2026-11-26 console:tech"
    assert signed_text(msgspec.structs.replace(signed, trusted=False), datetime.UTC) == "2026-11-25? console:tech"


def test_worn_relay_is_due_until_it_is_replaced(sim, tech):
    assert tech.say("maintenance") == "Nothing is due."
    sim.guard.maintenance_control.records.record(3).used_ppb = 85 * PPB // 100
    assert "Outlet 3: the relay has used 85 % of its life. Replace it." in tech.say("maintenance")
    assert "REPLACE SOON" in tech.say("wear")
    tech.say("replace 3")
    assert "relay 3 cycle 5" in tech.say("yes")
    assert "REPLACE SOON" not in tech.say("wear")
    assert "console:tech" in tech.say("wear")
    assert tech.say("maintenance") == "Outlet 3: calibrate it, its relay was replaced."


def test_what_is_due_puts_the_urgent_first(prepared):
    sim = prepared()
    sim.world.fault(2, "nack", chip="thermometer")
    sim.unit(5).fault, sim.unit(5).latched = Fault.SHORT_CIRCUIT, True
    sim.guard.maintenance_control.records.record(3).used_ppb = PPB
    sim.run(11 * NS)
    found = due(sim.guard.maintenance_state(), sim.guard.snapshot(), 50_000)
    assert [(each.code, each.outlet) for each in found] == [
        ("latched", 5), ("relay", 3), ("no_thermometer", 1), ("no_thermometer", 2)
    ]  # fmt: skip


def test_program_is_told_that_a_test_has_begun_and_asks_for_its_end(sim, tech):
    asked = msgspec.json.decode(tech.shell.machine_line("relay 4 cycle 2 --yes"))
    assert (asked["ok"], asked["data"]["kind"], asked["data"]["state"]) == (True, "relay_cycle", "running")
    tech.wait(6)
    assert msgspec.json.decode(tech.shell.machine_line("job"))["data"]["state"] == "passed"
    refused = msgspec.json.decode(tech.shell.machine_line("calibrate 3 --yes"))
    assert (refused["ok"], refused["code"]) == (False, "for_people")
    assert [type(command).__name__ for command in tech.guard.asked] == ["CycleRelay"]


# --- calibration -----------------------------------------------------------------------------------------------------

TRUE = {"220": (220_000, 1_000), "500": (500_000, 2_273)}


def off_by(sim, outlet, current, power):
    """The outlet's sensor reads that share of what flows."""
    chip, channel = sim.world.outlets[outlet].meter
    gains = chip.channels[channel].gains
    gains.sensor_current, gains.sensor_power = current, power
    chip.channels[channel].scale_changed()


def calibrate(sim, tech):
    tech.say("calibrate 3")
    tech.say("yes")
    for watts, typed in (("220", "220 1.000"), ("500", "500 2.273")):
        if sim.world.outlets[3].load is not None:
            sim.world.unplug(3)
        sim.plug(3, f"resistor:{watts}")
        assert "Point" in tech.say(typed)


def test_calibration_brings_the_readings_to_the_reference_and_is_undone(sim, tech):
    off_by(sim, 3, 0.97, 0.95)
    calibrate(sim, tech)
    fit = tech.say("done")
    assert "From 2 points" in fit
    said = tech.say("yes")
    assert "Set and kept." in said
    assert not sim.outlet(3).closed
    page = sim.guard.maintenance_state().outlets[2]
    assert page.gains.current_ppm == pytest.approx(UNITY_PPM / 0.97, rel=0.01)
    assert page.gains.power_ppm == pytest.approx(UNITY_PPM / 0.95, rel=0.01)
    assert page.calibration.signed.who == "console:tech"
    assert page.calibration.before == Gains()
    assert "calibrated by console:tech" in tech.say("calibrate 3 undo")
    tech.say("yes")
    assert sim.guard.maintenance_state().outlets[2].gains == Gains()


def test_calibration_that_does_not_read_back_is_put_back(sim, tech):
    off_by(sim, 3, 0.97, 0.95)
    calibrate(sim, tech)
    tech.say("done")
    sim.world.unplug(3)
    sim.plug(3, "resistor:300")
    assert "The gains before are back in place." in tech.say("yes")
    assert sim.guard.maintenance_state().outlets[2].gains == Gains()
    assert not sim.outlet(3).closed


@pytest.mark.parametrize("leave", ["interrupt", "hang_up", "end"])
def test_calibration_that_is_left_opens_the_outlet_and_changes_nothing(sim, tech, leave):
    tech.say("calibrate 3")
    tech.say("yes")
    assert sim.outlet(3).closed
    getattr(tech.shell, leave)()
    assert not sim.outlet(3).closed
    assert sim.guard.maintenance_state().outlets[2].calibration is None


def test_calibration_says_what_is_wrong_with_a_load(sim, tech):
    tech.say("calibrate 3")
    tech.say("yes")
    assert "no number of watts" in tech.say("five hundred")
    sim.plug(3, "resistor:10")
    assert "too small" in tech.say("10 0.05")
    assert "At least 2 points" in tech.say("done")


def test_trip_in_the_middle_ends_the_calibration(sim, tech):
    sim.plug(3, "resistor:220")
    tech.say("calibrate 3")
    tech.say("yes")
    sim.world.fault(3, "short", amps=60)
    tech.wait(0.5)
    assert tech.say("220 1.0") == "no: a fault has latched it"
    assert tech.say("status").startswith("mains")


@pytest.mark.parametrize(
    "typed", ["", "500", "500 2 3", "nan 1", "1 inf", "-5 2", "500 x", "20000 2", "٥٠٠ 2", "5_0 2"]
)
def test_reference_that_is_none_is_refused(typed):
    with pytest.raises(Refused):
        parse(typed)


@pytest.mark.parametrize("typed", ["500 2.27", "500W 2.27A", "500 W 2,27 A"])
def test_reference_is_read_as_people_write_it(typed):
    assert parse(typed) == (500_000, 2_270)


GOOD = [Point(1000, 220_000, 970, 209_000), Point(2270, 500_000, 2202, 475_000)]


def test_fit_is_true_over_read_times_the_gain_in_use():
    assert fitted(GOOD, Gains()).power_ppm == pytest.approx(UNITY_PPM * 500 / 475, rel=1e-3)
    assert fitted(GOOD, Gains(1_100_000, 1_100_000)).current_ppm == pytest.approx(1_134_000, rel=1e-3)


@pytest.mark.parametrize(
    ("points", "key"),
    [
        (GOOD[:1], "points"),
        ([GOOD[0], GOOD[0]], "apart"),
        ([GOOD[0], Point(2270, 500_000, 2400, 475_000)], "spread_current"),
        ([GOOD[0], Point(2270, 500_000, 2202, 400_000)], "spread_power"),
        ([Point(1000, 220_000, 500, 209_000), Point(2270, 500_000, 1135, 475_000)], "gain_current"),
    ],
)
def test_points_that_make_no_calibration_are_told_apart(points, key):
    with pytest.raises(Refused) as refused:
        fitted(points, Gains())
    assert refused.value.code == key


VALUES = {"times": 3, "done": 2, "with_current": 1, "output_differs": 0, "least_peak_ma": 0, "peak_ma": 390,
          "open_peak_ma": 5, "ms": 120}  # fmt: skip
DUE = ("damaged", "unwritten", "cabinet_fault", "latched", "relay", "contactor_held", "locked", "residual_failed",
       "residual", "backwards", "no_thermometer", "calibrate", "late", "bus")  # fmt: skip


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("state", JobState)
def test_every_test_that_the_guard_runs_is_told_in_words(language, kind, state):
    words = wording(language)
    for outlet, outlets, why, fault in ((0, [], "", None), (3, [3], "contactor_open", Fault.RELAY_WELDED)):
        job = Job(1, kind, outlet, "console:tech", state, VALUES, outlets, why, fault)
        assert words(f"job.state.{state.value}") in job_text(job, words)
        assert progress(job, words)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_everything_that_may_be_due_has_words(language):
    source = inspect.getsource(relay_wear)
    assert set(re.findall(r'Due\("(\w+)"', source)) == set(DUE)
    assert [code for code in DUE if f"due.{code}" not in wording(language)] == []
