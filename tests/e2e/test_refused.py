"""Refusals of the real processes: a clear sentence with the right status, and nothing half-done."""

import sqlite3

import httpx
import pytest

from cabinet.texts import table
from cabinet_testing.real_cabinet import Phone, RealCabinet, Resident, wait_for

pytestmark = pytest.mark.slow

SAYS = table("common", "zh")


def books(cabinet: RealCabinet) -> tuple[int, ...]:
    """Return the numbers of sessions, postings and usage records."""
    with sqlite3.connect(f"file:{cabinet.state / 'cabinet.db'}?mode=ro", uri=True) as connection:
        tables = ("session", "posting", "usage_record")
        return tuple(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables)


def said(page: httpx.Response) -> list[str]:
    """Keys of the refusals whose sentence stands on the page."""
    return [key for key, sentence in SAYS.items() if key.startswith("refusal.") and sentence in page.text]


@pytest.fixture
def nothing_changes(cabinet):
    """Check that books and outlets are the same afterwards: every request of the test is refused."""
    before, closed = books(cabinet), [o.closed for o in cabinet.snapshot().outlets]
    yield
    assert (books(cabinet), [o.closed for o in cabinet.snapshot().outlets]) == (before, closed)


@pytest.fixture(scope="module")
def resident(cabinet) -> Resident:
    return cabinet.resident("40000001")


@pytest.mark.usefixtures("nothing_changes")
def test_unknown_code_wrong_pin_and_stranger_are_told_apart(cabinet, resident):
    unknown = resident.client.get("/s/ZZZZ")
    assert (unknown.status_code, said(unknown)) == (404, ["refusal.unknown_code"])
    stranger = Phone(cabinet)
    wrong = stranger.sign_in("40000001", "0000")
    assert (wrong.status_code, said(wrong)) == (401, ["refusal.wrong_card_or_pin"])
    assert "/s/C5T4/start" not in stranger.client.get("/s/C5T4").text
    assert stranger.client.get("/api/v1/usage").status_code == 401
    assert stranger.client.get("/property").url.path == "/property/sign-in"


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"kind": "full"', "application/json", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"kind=" + b"x" * 100_000, "application/x-www-form-urlencoded", 413),
    ],
    ids=["malformed JSON", "no text at all", "oversized"],
)
def test_body_that_is_no_form_of_ours_starts_nothing(resident, content, kind, status):
    answer = resident.client.post("/s/C5T4/start", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


@pytest.mark.usefixtures("nothing_changes")
def test_choice_that_cannot_be_is_refused(resident):
    for choice in ({"kind": "hours", "number": "-1"}, {"kind": "amount", "number": "1e9"}, {"kind": "forever"}):
        assert resident.start("C5T4", **choice).status_code == 400, choice


def test_empty_wallet_starts_nothing(cabinet):
    poor = cabinet.resident("40000002", balance_yuan="0.00")
    before = books(cabinet)
    page = poor.client.get("/s/C5T4")
    if "/s/C5T4/start" in page.text:  # else the page says so before there is anything to press
        page = poor.start("C5T4")
        assert page.status_code == 402
    assert SAYS["refusal.no_money"] in page.text
    assert books(cabinet) == before
    assert not cabinet.outlet(3).closed


def test_busy_outlet_and_tripped_outlet_start_nothing_for_another(cabinet, resident):
    other = cabinet.resident("40000003")
    offered = other.offer("D8R6")
    cabinet.plug(4, "lead-acid-48v20ah", 30)
    charge = resident.start("D8R6")
    wait_for("charging", lambda: cabinet.phase(4) == "charging")
    before = books(cabinet)
    busy = other.send(offered, "/s/D8R6/start", kind="full")
    assert (busy.status_code, said(busy)) == (409, ["refusal.outlet_busy"])
    assert books(cabinet) == before
    cabinet.sim("fault", "4", "short", "--amps", "60")
    wait_for("the trip", lambda: cabinet.outlet(4).latched)
    wait_for("the receipt", lambda: "收据" in resident.client.get(charge.url.path).text)
    before = books(cabinet)

    def refused_as_latched() -> bool:
        tripped = other.send(offered, "/s/D8R6/start", kind="full")
        return (tripped.status_code, said(tripped)) == (409, ["refusal.fault_latched"])  # busy until the next snapshot

    wait_for("the refusal that names the latch", refused_as_latched)
    assert books(cabinet) == before
    assert not cabinet.outlet(4).closed


def test_guard_gone_is_said_on_the_pages_and_passes_by_itself(cabinet, resident):
    offered = resident.offer("C5T4")
    cabinet.processes.pop("guard").stop()
    wait_for("the page to say so", lambda: "充电柜暂时没有响应" in resident.client.get("/s/C5T4").text)
    answer = resident.send(offered, "/s/C5T4/start", kind="full")
    assert (answer.status_code, said(answer)) == (503, ["refusal.guard_unreachable"])
    cabinet.start("guard")
    assert resident.offer("C5T4")
