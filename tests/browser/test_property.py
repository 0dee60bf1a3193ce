"""The property company's way in a real browser: a trip seen live and its plot, an import, a top-up, the usage log."""

import csv
import io
import re

import openpyxl
import pytest
from playwright.sync_api import expect

from cabinet_testing.browser_visitors import DESKTOP, PHONE, Device, Visitor, Visitors
from cabinet_testing.real_cabinet import RealCabinet, wait_for

STAFF, PASSWORD = "office", "ten outlets and a roof"
OUTLET, CODE = 5, "E2W7"
NEW_CARDS = {"zh": "61000001", "en": "61000002"}


@pytest.fixture(scope="module", autouse=True)
def login(cabinet: RealCabinet) -> None:
    cabinet.command("staff", "add", STAFF, "--password", PASSWORD)


def sign_in(visitor: Visitor) -> None:
    visitor.open("/property")
    visitor.fill("property.name", STAFF)
    visitor.fill("property.password", PASSWORD)
    visitor.press("sign_in.button")
    visitor.sees("property.outlets")


def test_a_trip_is_seen_live_and_its_plot_shows_what_was_measured(visitors: Visitors, cabinet: RealCabinet):
    resident = cabinet.resident("60000001")
    visitor = visitors("zh", DESKTOP)
    sign_in(visitor)
    tile = visitor.page.locator(f"[sse-swap=outlet-{OUTLET}]")
    expect(tile).to_contain_text(visitor.words("condition.free"))

    cabinet.plug(OUTLET, "lead-acid-48v20ah", 0.3)
    resident.start(CODE)
    expect(tile).to_contain_text(visitor.words("condition.in_use"))
    wait_for("its charge", lambda: cabinet.phase(OUTLET) == "charging")
    cabinet.sim("fault", str(OUTLET), "short", "--amps", "60")
    expect(tile).to_contain_text(visitor.words("condition.needs_service"))
    expect(tile).to_contain_text(visitor.words("fault.short_circuit.name"))

    wait_for("its recording", lambda: list((cabinet.state / "trips").glob("*.trip")))
    visitor.follow("nav.faults")
    visitor.follow("faults.plot", number=1)
    picture = visitor.page.locator("figure.plot img")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 0
    visitor.sees("fault.short_circuit.name")


@pytest.mark.parametrize(("language", "device"), [("zh", DESKTOP), ("en", PHONE)])
def test_residents_are_imported_and_one_is_topped_up(
    visitors: Visitors, cabinet: RealCabinet, language: str, device: Device
):
    card = NEW_CARDS[language]
    visitor = visitors(language, device)
    sign_in(visitor)
    visitor.open("/property/residents")
    visitor.follow("import.title")
    table = f"card,name,balance\n{card},王芳,20\n".encode()
    file = {"name": "residents.csv", "mimeType": "text/csv", "buffer": table}
    visitor.page.get_by_label(visitor.words("import.file")).set_input_files(file)  # type: ignore[arg-type]
    visitor.press("import.check")
    visitor.sees("import.nothing_yet")
    visitor.press("import.begin", count=1)
    visitor.sees("import.added", count=1)
    pin = visitor.page.locator("td code").inner_text()

    visitor.page.goto(f"/property/residents?find={card}")
    visitor.page.locator("table.sheet a").first.click()
    visitor.fill("residents.amount", "12.50")
    visitor.press("residents.next_step")
    visitor.page.locator("form[action$=top-up] button").click()
    visitor.sees("residents.wallet")
    expect(visitor.page.locator("table.facts")).to_contain_text("32.50")

    visitor.open("/sign-in")
    visitor.sign_in(card, pin)
    expect(visitor.page.locator(".balance")).to_contain_text("32.50")


def test_the_usage_log_is_saved_as_csv_and_as_a_spreadsheet(visitors: Visitors, cabinet: RealCabinet):
    resident = cabinet.resident("60000002")
    cabinet.plug(7, "lead-acid-48v20ah", 0.3)
    charge = resident.start("G4N8")
    wait_for("its charge", lambda: cabinet.phase(7) == "charging")
    resident.send(resident.client.get(charge.url), f"{charge.url.path}/stop")
    wait_for("its record", lambda: any(record["outlet"] == 7 for record in cabinet.usage()))

    visitor = visitors("zh", DESKTOP)
    sign_in(visitor)
    visitor.follow("nav.usage")
    saved = {}
    for kind in ("csv", "xlsx"):
        with visitor.page.expect_download() as download:
            visitor.follow(f"log.{kind}")
        assert re.search(rf"\.{kind}$", download.value.suggested_filename)
        saved[kind] = download.value.path().read_bytes()
    rows = list(csv.reader(io.StringIO(saved["csv"].decode("utf-8-sig"))))
    sheet = openpyxl.load_workbook(io.BytesIO(saved["xlsx"])).active
    assert sheet is not None
    assert len(rows) == sheet.max_row
    assert len(rows) == len(cabinet.usage()) + 1
