"""A cabinet put into service at the console: real guard and simulator, planted mistakes found, report signed."""

import re
import zoneinfo

import msgspec
import pypdfium2
import pytest

from cabinet.console.commission import report
from cabinet.console.commission.record import NAME, CommissioningFolder
from cabinet.errors import CabinetError
from cabinet.maintenance import Attribution
from tests.desk import Desk, demo_config
from tests.unit.console.bench import Technician

WATTS = 60


class Fitter:
    """Does what the console asks: plugs the lamp, warms contacts, types codes; `answers` replace what would be said."""

    def __init__(self, desk: Desk, tech: Technician, answers: dict[str, str] | None = None) -> None:
        self.desk = desk
        self.tech = tech
        self.answers = answers or {}
        self.warmed: int | None = None

    def work(self, text: str, steps: int = 200) -> str:
        """Until the report is signed, or the console asks nothing any more."""
        for _ in range(steps):
            if not self.asked():
                return text
            text = self.tech.say(self.answer(text))
        raise AssertionError(f"never comes to an end: {text}")

    def asked(self) -> bool:
        return self.tech.shell._prompt() != "DEMO-1> "

    def answer(self, text: str) -> str:
        for pattern, said in self.answers.items():
            if re.search(pattern, text):
                return said
        if found := re.search(r"Plug a lamp .* into outlet (\d+)", text):
            return self._plug(int(found[1]))
        if found := re.search(r"Warm the contacts of outlet (\d+)", text):
            return self._warm(int(found[1]))
        if found := re.search(r"sticker of outlet (\d+)\.", text):
            outlet = self.desk.config.outlet_by_number(int(found[1]))
            assert outlet is not None
            return f"http://127.0.0.1:8080/s/{outlet.code}"
        if "reference meter at the lamp" in text:
            return f"{WATTS} {WATTS / 220:.3f}"
        if "Did" in text:
            return "yes"
        return "Wang Fang" if "your full name" in text else ""

    def _plug(self, outlet: int) -> str:
        for number, each in self.desk.world.outlets.items():
            if each.load is not None:
                self.desk.world.unplug(number)
        self.desk.plug(outlet, f"resistor:{WATTS}")
        return ""

    def _warm(self, outlet: int) -> str:
        if self.warmed is not None:
            self.desk.world.fault(self.warmed, "warmed", kelvin=1)
        self.warmed = outlet
        self.desk.world.fault(outlet, "warmed", kelvin=12)
        self.tech.wait(8)
        return ""


def small_config():
    """Four outlets and two thermometers: the same steps in less time."""
    whole = demo_config()
    return msgspec.structs.replace(whole, outlet=whole.outlet[:4])


def site(tmp_path, config):
    """The desk, with its state folder where the configuration says."""
    paths = msgspec.structs.replace(config.paths, state=str(tmp_path / "state"))
    return Desk(tmp_path / "guard", msgspec.structs.replace(config, paths=paths))


@pytest.fixture
def desk(tmp_path):
    return site(tmp_path, small_config())


@pytest.fixture
def tech(desk, tmp_path):
    return Technician(desk, tmp_path)


def files(desk: Desk, suffix: str):
    return sorted(CommissioningFolder(path_of(desk)).folder.glob(f"*{suffix}"))


def path_of(desk: Desk):
    from pathlib import Path

    return Path(desk.config.paths.state)


@pytest.mark.slow
def test_faultless_cabinet_passes_with_a_signed_report_as_text_and_pdf(desk, tech):
    said = Fitter(desk, tech).work(tech.say("commission"))
    assert "Written:" in said
    assert any("Nothing is wrong." in text for text in tech.read)
    (written,) = files(desk, ".txt")
    text = written.read_text()
    assert "Result: PASSED" in text
    assert text.count("\nok ") == 1 + 4 * 3 + 3 + 2 + 4
    assert "Signed: Wang Fang (console:tech)" in text
    assert report.verify(text)
    assert not report.verify(text.replace("PASSED", "FAILED"))
    (paper,) = files(desk, ".pdf")
    assert len(pypdfium2.PdfDocument(paper)) == 1
    assert "Report signed" in tech.say("commission status")
    assert all(not state.closed for state in desk.guard.snapshot().outlets)
    assert all(state.fault is None for state in desk.guard.snapshot().outlets)


@pytest.mark.slow
def test_three_planted_wiring_mistakes_are_all_found_and_named(tmp_path):
    desk = site(tmp_path, demo_config())
    desk.world.fault(3, "relays_swapped", other=7)
    desk.world.fault(5, "current_reversed")
    desk.world.fault(1, "thermometers_swapped", other=9)
    tech = Technician(desk, tmp_path)
    said = Fitter(desk, tech, {"reference meter": "skip", "on the sticker": "skip"}).work(tech.say("commission"))
    (written,) = files(desk, ".txt")
    wrong = [line.removeprefix("  ! ") for line in written.read_text().splitlines() if line.startswith("  ! ")]
    assert wrong == [
        "The relays of outlets 3 and 7 are swapped",
        "Outlet 5: its current sensor is reversed (power flows backwards)",
        "The thermometers of outlets 1 and 9 are swapped",
    ]
    assert "Result: NOT PASSED" in written.read_text()
    assert "Mend what is wrong" in said
    assert all(state.fault is None for state in desk.guard.snapshot().outlets), "its own trips are cleared"


@pytest.mark.slow
def test_interrupted_run_goes_on_where_it_was_and_mended_steps_are_tried_again(desk, tech, tmp_path):
    desk.world.fault(2, "current_reversed")
    fitter = Fitter(desk, tech, {"reference meter": "skip"})
    text = tech.say("commission")
    while "into outlet 3" not in text:
        text = tech.say(fitter.answer(text))
    tech.shell.hang_up()
    assert all(not state.closed for state in desk.guard.snapshot().outlets)
    again = Technician(desk, tmp_path)
    text = again.say("commission")
    assert "[8/" in text
    assert "into outlet 3" in text
    fitter.tech = again
    fitter.work(text)
    desk.world.clear(2)
    text = again.say("commission")
    assert "1 of " in text
    assert "into outlet 2" in text, "only what was wrong"
    fitter.work(text)
    assert "PASSED" in files(desk, ".txt")[-1].read_text()
    assert "NOT PASSED" in files(desk, ".txt")[0].read_text()


def test_run_that_is_left_in_a_probe_opens_the_outlet(desk, tech):
    fitter = Fitter(desk, tech)
    text = tech.say("commission")
    while "Plug a lamp" not in text:
        text = tech.say(fitter.answer(text))
    tech.begin(fitter.answer(text))
    tech.wait(1)
    assert desk.outlet(1).closed
    assert "commission goes on from here" in tech.shell.interrupt().text
    assert not desk.outlet(1).closed
    assert "outlet 1" in tech.say("commission")


def test_moments_of_the_report_are_the_sites():
    evening_utc = Attribution("console:tech", 1_795_638_600_000, True)  # 2026-11-25 20:30 UTC
    assert report.moment(evening_utc, zoneinfo.ZoneInfo("Asia/Shanghai")) == "2026-11-26 04:30 UTC+0800"


def test_residents_come_first(desk, tech):
    desk.plug(3, "resistor:500")
    desk.start(3)
    assert "end that first" in tech.say("commission")


def test_other_wiring_begins_anew(desk, tech, tmp_path):
    fitter = Fitter(desk, tech)
    text = tech.say("commission")
    tech.say(fitter.answer(text))
    tech.shell.interrupt()
    assert "1 of" in tech.say("commission status")
    moved = msgspec.structs.replace(desk.config.outlet[0], relay="expander:0x20/12")
    changed = msgspec.structs.replace(desk.config, outlet=(moved, *desk.config.outlet[1:]))
    other = Technician(Desk(tmp_path / "other", changed), tmp_path)
    assert "never commissioned" in other.say("commission status")


def test_record_that_cannot_be_read_is_said_and_kept(desk, tech):
    folder = CommissioningFolder(path_of(desk)).folder
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"{")
    assert "moveitawaytobeginanew" in "".join(tech.say("commission").split())  # wherever it is folded
    assert (folder / NAME).read_bytes() == b"{"


def test_signing_key_is_the_owners_alone(tmp_path):
    key = report.load_key(tmp_path)
    assert report.load_key(tmp_path) == key
    path = tmp_path / report.KEY_NAME
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o644)
    with pytest.raises(CabinetError, match="others may read it"):
        report.load_key(tmp_path)


@pytest.mark.parametrize("text", ["", "no signature", "x\n-- Ed25519 !!\n-- !!\n", "x\n-- Ed25519 AAAA\n-- AAAA\n"])
def test_text_without_a_good_signature_is_none(text):
    assert not report.verify(text)


def test_signature_of_another_key_is_not_this_cabinets(tmp_path):
    signed = report.sign("body\n", report.load_key(tmp_path / "a"))
    assert report.verify(signed)
    other = report.sign("body\n", report.load_key(tmp_path / "b"))
    assert not report.verify(other, signed.splitlines()[1].split()[-1])
