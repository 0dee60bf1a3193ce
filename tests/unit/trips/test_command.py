"""`cabinet trips` over recordings of a real guard: a short, cut and kept."""

import json
import xml.etree.ElementTree as ET

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Done
from cabinet.main import main
from cabinet.trips.folder import path_of
from cabinet_testing.sim_cabinet import SimCabinet


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Two recordings: a short at outlet 3, then one at outlet 8 that the contactor broke."""
    folder = tmp_path_factory.mktemp("state")
    sim = SimCabinet(folder)
    for outlet in (3, 8):
        sim.plug(outlet, "lead-acid-48v20ah", 30)
        assert isinstance(sim.start(outlet), Done)
    sim.run(5 * NS)
    sim.world.fault(3, "short", amps=60)
    sim.run(2 * NS)
    sim.world.fault(8, "short", amps=300, at_phase=30)
    sim.run(2 * NS)
    sim.close()
    return folder


def trips(state, capsys, *words: str) -> str:
    assert main(["trips", *words, "--state", str(state)]) == 0
    return capsys.readouterr().out


def test_list_has_a_line_a_trip(state, capsys):
    first, second = trips(state, capsys, "list", "--lang", "en").splitlines()
    assert "outlet 3    Short circuit, latched: peak" in first
    assert first.split()[0] == "1"
    assert "outlet 8" in second
    assert "短路" in trips(state, capsys, "list")


def test_list_for_programs_holds_the_numbers_that_tripped(state, capsys):
    entries = json.loads(trips(state, capsys, "list", "--json"))
    assert [entry["number"] for entry in entries] == [1, 2]
    assert entries[0]["trips"][0]["why"]["limit_ma"] == 30_000


def test_show_is_a_table_that_is_dense_around_the_trip(state, capsys):
    lines = trips(state, capsys, "show", "1", "--lang", "en").splitlines()
    assert any("limit" in line for line in lines[:4])
    table = lines[lines.index("") + 3 :]  # after the outlet's name and the titles
    times_ms = [float(line.split()[0]) for line in table]
    near = [at for at in times_ms if -25 < at < 25]
    assert len(near) >= 10
    assert len([at for at in times_ms if at < -300]) < 12


def test_show_for_programs_gives_every_row_of_the_outlet_asked_for(state, capsys):
    shown = json.loads(trips(state, capsys, "show", "1", "--outlet", "8", "--json"))
    rows = shown["rows"]
    assert shown["outlet"] == 8
    assert 900 <= len(rows["at_ns"]) <= 1100
    assert len(rows["outlet"]["peak_ma"]) == len(rows["at_ns"])
    assert max(peak for peak in rows["outlet"]["peak_ma"] if peak is not None) < 60_000, "the short was elsewhere"


def test_plot_is_a_picture_with_the_limits_and_the_trip(state, capsys, tmp_path):
    out = tmp_path / "trip.svg"
    trips(state, capsys, "plot", "1", "--lang", "en", "--out", str(out))
    root = ET.parse(out).getroot()
    assert root.tag.endswith("svg")
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("text"))
    for expected in ("Short circuit", "30 A", "264 V", "75 °C"):
        assert expected in words
    chinese = trips(state, capsys, "plot", "2", "--out", "-")
    assert "插座 8" in chinese


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "9"], "000009.trip: there is no such recording; see: cabinet trips list"),
        (["plot", "1", "--outlet", "44"], "--outlet 44: the recording has 1, 2, 3"),
        (["plot", "1", "--out", "/no/such/folder/trip.svg"], "/no/such/folder/trip.svg: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(state, capsys, words, message):
    assert main(["trips", *words, "--state", str(state)]) != 0
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1


def test_damaged_recording_is_said_in_its_line_and_the_others_are_listed(state, capsys, tmp_path):
    folder = tmp_path / "trips"
    folder.mkdir()
    for number in (1, 2):
        content = path_of(state / "trips", number).read_bytes()
        path_of(folder, number).write_bytes(content if number == 2 else content[:-1])
    first, second = trips(tmp_path, capsys, "list", "--lang", "en").splitlines()
    assert "damaged" in first
    assert "Short circuit" in second


def test_empty_folder_says_that_nothing_tripped(capsys, tmp_path):
    assert str(tmp_path) in trips(tmp_path, capsys, "list")
