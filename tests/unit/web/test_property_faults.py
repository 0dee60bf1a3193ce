"""Faults on the property company's pages: now, every recorded trip, and the plot of each."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from cabinet.model import EndReason, Fault
from cabinet.trips.folder import FOLDER, path_of
from cabinet.trips.format import Header, OutletLimits, TripMark, encode, row_struct
from cabinet_testing.property_harness import PropertyHarness, charge, tell
from cabinet_testing.service_harness import NOON_MS

LIMITS = OutletLimits(30_000, 150_000, 5_500, 1_000_000, 176_000, 264_000, 65_000, 75_000)
SCAN_NS = 3_000_000


def record(at: PropertyHarness, number: int, outlet: int | None, session_id: str | None = None) -> None:
    """A recording of outlets 1 to 3 with a trip of one of them, or of all."""
    outlets = [1, 2, 3]
    rows = [(index * SCAN_NS, 25_000, *([900, 700, 220_000, 150_000, 30_000, 1] * 3)) for index in range(1000)]
    mark = TripMark(
        Fault.SHORT_CIRCUIT, outlet, 700 * SCAN_NS, True, {"peak_ma": 61_000, "limit_ma": 30_000}, session_id
    )
    header = Header(
        [mark], NOON_MS + number * 60_000, True, outlets, dict.fromkeys(outlets, LIMITS), SCAN_NS, len(rows)
    )
    folder = Path(at.harness.config.paths.state) / FOLDER
    folder.mkdir(exist_ok=True)
    path_of(folder, number).write_bytes(encode(header, b"".join(row_struct(3).pack(*row) for row in rows)))


def test_a_trip_says_when_where_and_why_and_leads_to_its_charge(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        session_id = await charge(at, 1, 3, reason=EndReason.TRIPPED)
        record(at, 1, 3, session_id)
        browser = await at.browser("viewer")
        shown = await browser.page("/property/faults")
        assert shown.mistakes == []
        assert "2026年5月29日 12:01:00 插座 3 短路，已锁定：" in shown.text
        assert {"/property/faults/1", "/property/usage/1"} <= {link["href"] for link in shown.all("a")}
        trip = await browser.page("/property/faults/1")
        assert trip.mistakes == []
        assert "插座 3 短路，已锁定" in trip.text
        assert [image["src"] for image in trip.all("img")] == ["/property/faults/1/plot/3"]
        answer = await browser.get("/property/faults/1/plot/3")
        assert answer.headers["content-type"].startswith("image/svg+xml")
        title = ElementTree.fromstring(answer.text).find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text == "插座 3：短路"

    tell(tmp_path, story)


def test_trips_go_page_by_page_and_by_outlet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cabinet.web.property.faults.TRIPS_A_PAGE", 2)

    async def story(at: PropertyHarness) -> None:
        for number, outlet in enumerate((1, 2, 1, None, 3), 1):
            record(at, number, outlet)
        browser = await at.browser("viewer")

        async def numbers(path: str) -> list[str]:
            seen: list[str] = []
            while path:
                shown = await browser.page(path)
                seen += [link["href"][17:] for link in shown.all("a", **{"class": "row-link"})]
                path = next((link["href"] for link in shown.all("a") if "before=" in link["href"]), "")
            return seen

        assert await numbers("/property/faults") == ["5", "4", "3", "2", "1"]
        assert await numbers("/property/faults?outlet=1") == ["4", "3", "1"]
        assert await numbers("/property/faults?outlet=9") == ["4"]

    tell(tmp_path, story)


def test_a_damaged_recording_is_said_to_be_damaged(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        record(at, 1, 3)
        path = path_of(Path(at.harness.config.paths.state) / FOLDER, 1)
        path.write_bytes(path.read_bytes()[:-9])
        browser = await at.browser("viewer")
        assert "这个文件已损坏" in (await browser.page("/property/faults")).text
        assert (await browser.get("/property/faults/1")).status_code == 404

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/property/faults/7", 404), ("/property/faults/1?outlet=9", 404), ("/property/faults/1/plot/9", 404),
        ("/property/faults?outlet=x", 400), ("/property/faults/1?outlet=-1", 400), ("/property/faults/..%2f1", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(tmp_path: Path, path: str, status: int) -> None:
    async def story(at: PropertyHarness) -> None:
        record(at, 1, 3)
        assert (await (await at.browser("viewer")).get(path)).status_code == status

    tell(tmp_path, story)


def test_a_fault_of_now_says_what_to_do(tmp_path: Path) -> None:
    async def story(at: PropertyHarness) -> None:
        browser = await at.browser("viewer")
        assert "现在没有故障" in (await browser.page("/property/faults")).text
        at.harness.guard.trip(4, Fault.OUTLET_HOT)
        await at.harness.settle(at.service)
        shown = await browser.page("/property/faults")
        assert "4 号插座：插座过热" in shown.text
        assert "clear 4" in shown.text

    tell(tmp_path, story)
