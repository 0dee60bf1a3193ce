"""The main job on the real processes: from a scanned code to a receipt, for the resident, the company and the staff."""

import json
import random
import re
from collections.abc import Iterator

import httpx
import pytest

from cabinet_testing.real_cabinet import RealCabinet, Resident, running, wait_for
from cabinet_testing.serial_terminal import SerialTerminal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCabinet]:
    """A cabinet whose guard scans as often as on a Pi: a reaction is measured."""
    with running(tmp_path_factory.mktemp("cabinet")) as started:
        yield started


def charge_until(cabinet: RealCabinet, resident: Resident, path: str, words: str, within_s: float = 60) -> str:
    """The charge's page once it says `words`."""

    def page() -> str | None:
        text = resident.client.get(path).text
        return text if words in text else None

    return wait_for(f"{words!r} on {path}", page, within_s)


def test_resident_charges_until_full_and_everybody_sees_it(cabinet):
    resident = cabinet.resident("10000001")
    cabinet.sim("plug", "3", "demo", "--charge", "85")
    page = resident.start("C5T4")
    path = page.url.path
    assert page.status_code == 200
    assert path.startswith("/charge/")

    wait_for("charging on the guard", lambda: cabinet.outlet(3).phase.value == "charging")
    assert cabinet.outlet(3).closed
    wait_for("its full power", lambda: 100_000 < (cabinet.outlet(3).power_mw.value or 0) < 250_000)
    charge_until(cabinet, resident, path, "充电中")

    with SerialTerminal(cabinet) as console:
        console.log_in()
        screen = console.run("status")
        assert re.search(r"\b3\b.*充电中", screen), screen
        assert "充电" in console.run("outlet 3")

    receipt = charge_until(cabinet, resident, path, "收据", 120)
    assert "已充满" in receipt
    wait_for("outlet 3 open", lambda: not cabinet.outlet(3).closed)

    record = next(r for r in cabinet.usage() if r["outlet"] == 3)
    truth_mwh = cabinet.truth_mwh(3)
    print(f"billed {record['energy_mwh']} mWh, simulator's truth {truth_mwh:.1f} mWh")
    assert record["end_reason"] == "full"
    assert record["energy_mwh"] == pytest.approx(truth_mwh, rel=0.005, abs=50)
    assert record["total_fen"] == sum(line["amount_fen"] for line in record["lines"])
    assert record["held_fen"] == record["total_fen"] + record["refund_fen"]
    assert "unbroken" in cabinet.command("usage", "verify")
    answer = httpx.get(
        f"{cabinet.url}/api/v1/usage", headers={"Authorization": f"Bearer {cabinet.api_token()}"}, timeout=10
    )
    assert answer.status_code == 200
    assert json.loads(answer.text.splitlines()[0])["number"] == 1


def test_short_at_a_random_moment_opens_its_outlet_and_no_other(cabinet):
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    residents = {n: cabinet.resident(f"2000000{n}") for n in (1, 5, 9)}
    codes = {1: "A7K2", 5: "E2W7", 9: "J3X2"}
    pages = {}
    for outlet, resident in residents.items():
        cabinet.sim("plug", str(outlet), "lead-acid-48v20ah", "--charge", "30")
        pages[outlet] = resident.start(codes[outlet]).url.path
    wait_for("three charges", lambda: all(cabinet.outlet(n).phase.value == "charging" for n in codes))
    started = cabinet.snapshot()

    amps = chance.randint(25, 300)  # above 78 A the contactor breaks it, and the others are without power for 60 ms
    wait_for("a random moment", lambda: chance.random() < 0.1)
    cabinet.sim("fault", "5", "short", "--amps", str(amps))
    tripped = wait_for("the trip", lambda: (o := cabinet.outlet(5)).fault is not None and o)
    reaction_ms = cabinet.reaction_ms(5)
    print(f"seed {seed}: short of {amps} A RMS, relay command after {reaction_ms:.2f} ms")
    assert reaction_ms < 500, "far above the 20 ms that bench/trip.py measures"

    assert (tripped.fault.value, tripped.latched, tripped.closed) == ("short_circuit", True, False)
    wait_for("the contactor", lambda: cabinet.snapshot().contactor_closed)
    now = cabinet.snapshot()
    assert [o.closed for o in now.outlets] == [o.outlet in (1, 9) for o in now.outlets]
    assert [o.fault for o in now.outlets if o.outlet != 5] == [None] * 9
    assert now.health.started_at_ns == started.health.started_at_ns
    charge_until(cabinet, residents[5], pages[5], "短路")
    record = wait_for("its usage record", lambda: next((r for r in cabinet.usage() if r["outlet"] == 5), None))
    assert (record["end_reason"], record["fault"]) == ("tripped", "short_circuit")

    latched = residents[5].client.get(f"/s/{codes[5]}")
    assert "待维修" in latched.text
    assert "/start" not in latched.text
    other = residents[5].offer("B3M9")
    refused = residents[5].send(other, "/s/B3M9/start", to=f"/s/{codes[5]}/start", kind="full")
    assert refused.status_code == 409, "whoever sends the form all the same is refused, and nothing is done"
    assert not cabinet.outlet(5).closed
    cabinet.sim("clear", "5")
    with SerialTerminal(cabinet) as console:
        console.log_in()
        assert "5" in console.run("faults")
        console.clear(5)
    wait_for("the latch cleared", lambda: not cabinet.outlet(5).latched)
    for outlet in (1, 9):
        stopped = residents[outlet].send(residents[outlet].client.get(pages[outlet]), f"{pages[outlet]}/stop")
        assert stopped.status_code == 200
        charge_until(cabinet, residents[outlet], pages[outlet], "收据")
    assert "unbroken" in cabinet.command("usage", "verify")
