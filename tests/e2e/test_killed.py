"""Processes killed in the middle of charges: who opens, how soon, and what is billed afterwards."""

import os
import re
import signal
from pathlib import Path

import pytest

from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Energise, Role
from cabinet.model import ChargeLimits, Fault
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import RealCabinet, Resident, running, wait_for

pytestmark = pytest.mark.slow

CODES = {1: "A7K2", 4: "D8R6", 6: "F9H3", 9: "J3X2"}
FAR_TOO_LATE_MS = 1000  # the bar of 300 ms is printed beside the figure; a test on a busy machine fails far above it


def start_four(cabinet: RealCabinet) -> dict[int, tuple[Resident, str]]:
    """Four residents charging, with the page of each charge."""
    charges = {}
    for outlet, code in CODES.items():
        resident = cabinet.resident(f"3000000{outlet}")
        cabinet.plug(outlet, "lead-acid-48v20ah", 30)
        charges[outlet] = resident, resident.start(code).url.path
    wait_for("four charges", lambda: all(cabinet.outlet(n).phase.value == "charging" for n in CODES))
    return charges


def stop_all(cabinet: RealCabinet, charges: dict[int, tuple[Resident, str]]) -> None:
    for resident, path in charges.values():
        page = resident.client.get(path)
        assert resident.send(page, f"{path}/stop").status_code == 200
    wait_for("four records", lambda: len(cabinet.usage()) == 4)
    assert "OK: 4 records" in cabinet.command("usage", "verify")


def opened_after_ms(cabinet: RealCabinet, since_seq: int, heartbeat: bool) -> float:
    """Return the time from the guard's last heartbeat edge or death to the last opening, by the simulator's clock."""
    journal = cabinet.journal(since_seq)
    parted = [r for r in journal if r["kind"] == "contacts_opened" and r.get("outlet") in CODES]
    assert {r["outlet"] for r in parted} == set(CODES), journal
    return max(r["at_ns"] for r in parted) / 1e6


def last_seq(cabinet: RealCabinet) -> int:
    return max(record["seq"] for record in cabinet.journal())


@pytest.mark.parametrize(
    ("number", "heartbeat"),
    [(signal.SIGKILL, True), (signal.SIGKILL, False), (signal.SIGSTOP, False)],
    ids=["killed", "killed, no heartbeat hardware", "hung, no heartbeat hardware"],
)
def test_guard_gone_while_four_outlets_charge_opens_every_relay_and_sessions_go_on(tmp_path, number, heartbeat):
    changes = None if heartbeat else {"heartbeat_pin = 27\n": ""}
    with running(tmp_path, changes, "sim", "guard", "service") as cabinet:
        charges = start_four(cabinet)
        guard, seq = cabinet.guard_pid(), last_seq(cabinet)
        gone_ms = cabinet.now_ms()
        os.kill(guard, number)
        wait_for("every relay open", lambda: cabinet.all_contacts_open() or cabinet.guard_is_another(guard))
        took_ms = opened_after_ms(cabinet, seq, heartbeat) - gone_ms
        print(f"{number.name}: every relay open {took_ms:.0f} ms after (bar 300 ms, keeper's timeout 200 ms)")
        assert took_ms < FAR_TOO_LATE_MS

        wait_for("sessions to go on", lambda: all(cabinet.phase(n) == "charging" for n in CODES))
        assert cabinet.guard_pid() != guard
        before_mwh = {n: cabinet.truth_mwh(n) for n in CODES}
        wait_for("some more energy", lambda: all(cabinet.truth_mwh(n) > before_mwh[n] + 50 for n in CODES))
        stop_all(cabinet, charges)
        for record in cabinet.usage():
            truth_mwh = cabinet.truth_mwh(record["outlet"])
            print(f"outlet {record['outlet']}: billed {record['energy_mwh']} mWh, truth {truth_mwh:.1f} mWh")
            assert record["energy_mwh"] <= truth_mwh + 1, "never to the resident's cost"
            # one checkpoint (1 s here) of about 220 W is 61 mWh; the keeper's counters leave less than that to lose
            assert record["energy_mwh"] > truth_mwh - 150


def test_killed_service_lets_charging_go_on_and_bills_what_was_delivered(tmp_path):
    with running(tmp_path, None, "sim", "guard", "service") as cabinet:
        charges = start_four(cabinet)
        cabinet.processes.pop("service").kill()
        killed_mwh = {n: cabinet.truth_mwh(n) for n in CODES}
        wait_for("charging without a service", lambda: all(cabinet.truth_mwh(n) > killed_mwh[n] + 100 for n in CODES))
        assert [cabinet.phase(n) for n in CODES] == ["charging"] * 4
        cabinet.start("service")
        for resident, _ in charges.values():
            resident.client.base_url = cabinet.url
        wait_for("the pages again", lambda: all("充电中" in r.client.get(p).text for r, p in charges.values()))
        stop_all(cabinet, charges)
        for record in cabinet.usage():
            truth_mwh = cabinet.truth_mwh(record["outlet"])
            print(f"outlet {record['outlet']}: billed {record['energy_mwh']} mWh, truth {truth_mwh:.1f} mWh")
            assert record["energy_mwh"] == pytest.approx(truth_mwh, abs=70), "one checkpoint interval of 1 s at 220 W"
            assert record["total_fen"] == sum(line["amount_fen"] for line in record["lines"])
            assert record["held_fen"] == record["total_fen"] + record["refund_fen"]


def test_charge_that_ended_while_the_service_was_dead_is_settled_when_it_is_back(tmp_path):
    with running(tmp_path, None, "sim", "guard", "service") as cabinet:
        resident = cabinet.resident("40000001")
        cabinet.plug(3, "resistor:500")
        path = resident.start("C5T4").url.path
        wait_for("a steady charge", lambda: cabinet.truth_mwh(3) > 700)
        cabinet.processes.pop("service").kill()
        cabinet.sim("unplug", "3")
        wait_for("the guard to end it", lambda: not cabinet.outlet(3).closed)
        cabinet.start("service")
        resident.client.base_url = cabinet.url
        record = wait_for("its usage record", lambda: next(iter(cabinet.usage()), None))
        assert record["end_reason"] == "unplugged"
        assert record["energy_mwh"] == pytest.approx(cabinet.truth_mwh(3), abs=100)
        assert "收据" in resident.client.get(path).text


def test_keeper_and_guard_both_killed_leave_no_coil_with_power(tmp_path):
    with running(tmp_path, None, "sim", "guard", "service") as cabinet:
        start_four(cabinet)
        guard, seq = cabinet.guard_pid(), last_seq(cabinet)
        gone_ms = cabinet.now_ms()
        os.kill(cabinet.processes["guard"].popen.pid, signal.SIGKILL)
        os.kill(guard, signal.SIGKILL)
        wait_for("every relay open", cabinet.all_contacts_open)
        took_ms = opened_after_ms(cabinet, seq, True) - gone_ms
        print(f"keeper and guard killed: every relay open {took_ms:.0f} ms after, by the heartbeat hardware")
        assert took_ms < FAR_TOO_LATE_MS
        page = cabinet.resident("40000002").client.get("/s/B3M9")
        assert re.search(r"暂时|联系不上|无法", page.text), page.text
        assert cabinet.command("failsafe").strip() == "every relay and the contactor are open"


def test_stopping_in_order_opens_everything_and_ends_with_status_zero(tmp_path):
    with running(tmp_path) as cabinet:
        start_four(cabinet)
        assert cabinet.processes["console"].stop() == 0
        assert cabinet.processes["service"].stop() == 0
        assert cabinet.processes["guard"].stop() == 0
        wait_for("every relay open", cabinet.all_contacts_open)


def test_short_that_tripped_while_the_disk_took_nothing_is_remembered_by_another_keeper(tmp_path):
    with running(tmp_path, None, "sim", "guard") as cabinet:
        wait_for("an outlet that may close", lambda: cabinet.outlet(3).refusal is None)
        cabinet.plug(3, "lead-acid-48v20ah", 30)
        with BlockingGuard(guard_socket(cabinet.run), Role.SERVICE) as link:
            link.request(lambda n: Energise(n, 3, "session", ChargeLimits()))
        wait_for("a charge", lambda: cabinet.phase(3) == "charging")
        spares = [cabinet.state / name for name in ("latches.spare", "upkeep.spare")]
        for spare in spares:
            spare.unlink()
            spare.mkdir()  # what is written there fails from now on
        wait_for("no start", lambda: cabinet.outlet(4).refusal == "state_unwritable")
        cabinet.sim("fault", "3", "short", "--amps", "60")
        wait_for("the trip", lambda: cabinet.outlet(3).latched)
        keeper = cabinet.processes["guard"].popen
        os.kill(keeper.pid, signal.SIGKILL)
        keeper.wait()
        wait_for("every relay open", cabinet.all_contacts_open)
        for spare in spares:
            spare.rmdir()
        cabinet.start("guard")
        wait_for("the others to be ready", lambda: cabinet.outlet(4).refusal is None)
        assert (cabinet.outlet(3).fault, cabinet.outlet(3).refusal) == (Fault.SHORT_CIRCUIT, "fault_latched")


def take_the_bus_away(cabinet: RealCabinet) -> Path:
    """A guard that starts now finds no bus; return the name to give back. The simulator itself goes on."""
    return (cabinet.run / "sim.sock").rename(cabinet.run / "away.sock")


def test_guard_that_cannot_come_back_is_tried_again_until_it_can(tmp_path):
    """A guard that refuses to start ends the keeper only where none ever ran: nobody stands beside this one."""
    with running(tmp_path, None, "sim", "guard") as cabinet:
        away = take_the_bus_away(cabinet)
        os.kill(cabinet.guard_pid(), signal.SIGKILL)
        wait_for("the reason", lambda: "no simulator at" in cabinet.processes["guard"].log)
        assert cabinet.processes["guard"].popen.poll() is None
        away.rename(cabinet.run / "sim.sock")
        wait_for("a guard that answers", lambda: cabinet.phase(1) == "idle")


def test_keeper_is_stopped_at_once_while_it_waits_to_try_again(tmp_path):
    with running(tmp_path, None, "sim", "guard") as cabinet:
        take_the_bus_away(cabinet)
        os.kill(cabinet.guard_pid(), signal.SIGKILL)
        wait_for("the longest wait", lambda: "a new guard starts in 1.0 s" in cabinet.processes["guard"].log)
        assert cabinet.processes["guard"].stop() == 0
