"""The way of a resident on a mobile network: the fleet's page in a real browser, a cabinet that only dials out."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, expect

from cabinet_testing import fleet_site
from cabinet_testing.browser_visitors import PHONE, Visitors, first_number
from cabinet_testing.fleet_scene import TARIFF
from cabinet_testing.fleet_site import COMPANY, CabinetNetwork, FleetSite
from cabinet_testing.lacking import needs
from cabinet_testing.real_cabinet import wait_for

pytestmark = pytest.mark.whole_cabinet

DEAR = TARIFF.replace("fen_per_hour = 60", "fen_per_hour = 36000")  # a charge of seconds costs something


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[FleetSite]:
    needs(fleet_site.missing() or CabinetNetwork.missing())
    network = CabinetNetwork()
    with fleet_site.temporary_folder() as folder:
        site = FleetSite(folder, safe=False, host=CabinetNetwork.HOST)
        network.make()
        try:
            network.let_out(*site.cabinet_ports)
            site.start()
            site.add_company(DEAR)
            site.add_cabinet(1, network)
            yield site
        finally:
            site.stop()
            network.remove()


def fetch(site: FleetSite, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(site.postgres.url("fleet")) as connection:
        return connection.execute(query.encode()).fetchall()


def test_resident_on_a_mobile_network_goes_from_the_scanned_code_to_the_receipt(browser: Browser, site: FleetSite):
    cabinet = site.cabinets[0]
    code, phone = cabinet.code(3), "13900000002"
    visitors = Visitors(browser, site.url)
    visitor = visitors("zh", PHONE)
    page = visitor.page
    wait_for("the tariff in force", lambda: fetch(site, "SELECT 1 FROM desired WHERE applied_version = version") != [])

    visitor.open(f"/q/{code}")
    visitor.sees("outlet.title", number=3)
    visitor.sees("condition.free")
    visitor.fill("sign_in.phone", phone)
    visitor.press("sign_in.phone_button")
    visitor.fill("sign_in.code", _sms_code(site.sms, phone))
    visitor.press("sign_in.code_button")
    expect(page).to_have_url(re.compile(f"/s/{code}$"))
    site.command("resident", "top-up", "--company", COMPANY, "--phone", phone, "1000")
    page.reload()
    visitor.press("outlet.start_full")
    expect(page).to_have_url(re.compile(r"/charge/[\w-]+$"))
    visitor.sees("charge.plug_in")
    cabinet.plug(3, "lead-acid-48v20ah", 0.3)
    visitor.sees("state.charging")
    power = page.locator("dl.figures").get_by_text(visitor.words("charge.power"), exact=True).locator("xpath=../dd")
    visitor.until(power, re.compile(r"1\d\d"))
    visitor.stop()
    visitor.sees("ended.stopped_by_resident")
    visitor.sees("receipt.title")
    paid_fen = round(100 * first_number(page, "table.bill tr.total td"))
    assert paid_fen > 0
    visitor.open("/account")
    assert first_number(page, ".balance strong") == pytest.approx(10 - paid_fen / 100)
    visitors.leave()

    # wallet, fleet ledger, cabinet ledger and usage log agree
    [(order, state, cost_fen, refund_fen, held_fen, usage_number)] = fetch(
        site, "SELECT number, state, cost_fen, refund_fen, held_fen, usage_number FROM charge_order"
    )
    assert (state, cost_fen, refund_fen) == ("paid_out", paid_fen, int(str(held_fen)) - paid_fen)
    [(record, at_fleet_fen)] = fetch(site, "SELECT body, electricity_fen + service_fen FROM usage_record")
    assert json.loads(str(record))["total_fen"] == at_fleet_fen == paid_fen
    with sqlite3.connect(f"file:{cabinet.state}/cabinet.db?mode=ro", uri=True) as connection:
        balances = dict(connection.execute("SELECT name, balance_fen FROM account").fetchall())
        [(number, body)] = connection.execute("SELECT number, body FROM usage_record").fetchall()
    assert balances["cash"] == -paid_fen
    assert balances[f"order:{order}"] == 0
    assert (number, json.loads(body)["total_fen"]) == (usage_number, paid_fen)
    assert "problem" not in site.command("ledger", "check")
    assert "problem" not in cabinet.command("store", "check")


def _sms_code(file: Path, phone: str) -> str:
    """Return the code of the last message to this phone."""
    wait_for("the message", lambda: file.exists() and phone in file.read_text(encoding="utf-8"))
    line = [each for each in file.read_text(encoding="utf-8").splitlines() if phone in each][-1]
    codes = re.findall(r"\b\d{6}\b", line.replace(phone, ""))
    return str(codes[-1])
