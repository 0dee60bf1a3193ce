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
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

WATTS = 60


class Fitter:
    """Does what the console asks: plugs the lamp, warms contacts, types codes; `answers` replace what would be said."""

    def __init__(self, sim: SimCabinet, tech: ConsoleHarness, answers: dict[str, str] | None = None) -> None:
        self.sim = sim
        self.tech = tech
        self.answers = answers or {}
        self.warmed: int | None = None

    def work(self, text: str, steps: int = 200) -> str:
        """Continue until the report is signed, or the console asks no more questions."""
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
            outlet = self.sim.config.outlet_by_number(int(found[1]))
            assert outlet is not None
            return f"http://127.0.0.1:8080/s/{outlet.code}"
        if "reference meter at the lamp" in text:
            return f"{WATTS} {WATTS / 220:.3f}"
        if "Did" in text:
            return "yes"
        return "Wang Fang" if "your full name" in text else ""

    def _plug(self, outlet: int) -> str:
        for number, each in self.sim.world.outlets.items():
            if each.load is not None:
                self.sim.world.unplug(number)
        self.sim.plug(outlet, f"resistor:{WATTS}")
        return ""

    def _warm(self, outlet: int) -> str:
        if self.warmed is not None:
            self.sim.world.fault(self.warmed, "warmed", kelvin=1)
        self.warmed = outlet
        self.sim.world.fault(outlet, "warmed", kelvin=12)
        self.tech.wait(8)
        return ""


def site(tmp_path, config):
    """A simulated cabinet, with its state folder where the configuration says."""
    paths = msgspec.structs.replace(config.paths, state=str(tmp_path / "state"))
    return SimCabinet(tmp_path / "guard", msgspec.structs.replace(config, paths=paths))


@pytest.fixture
def sim(tmp_path):
    return site(tmp_path, demo_config(outlets=4))  # the same steps in less time


@pytest.fixture
def tech(sim, tmp_path):
    return ConsoleHarness(sim, tmp_path)


def files(sim: SimCabinet, suffix: str):
    return sorted(CommissioningFolder(path_of(sim)).folder.glob(f"*{suffix}"))


def path_of(sim: SimCabinet):
    from pathlib import Path

    return Path(sim.config.paths.state)


@pytest.mark.slow
def test_faultless_cabinet_passes_with_a_signed_report_as_text_and_pdf(sim, tech):
    said = Fitter(sim, tech).work(tech.say("commission"))
    assert "Written:" in said
    assert any("Nothing is wrong." in text for text in tech.read)
    (written,) = files(sim, ".txt")
    text = written.read_text()
    assert "Result: PASSED" in text
    assert text.count("\nok ") == 1 + 4 * 3 + 3 + 2 + 4
    assert "Signed: Wang Fang (console:tech)" in text
    assert report.verify(text)
    assert not report.verify(text.replace("PASSED", "FAILED"))
    (paper,) = files(sim, ".pdf")
    assert len(pypdfium2.PdfDocument(paper)) == 1
    assert "Report signed" in tech.say("commission status")
    assert all(not state.closed for state in sim.guard.snapshot().outlets)
    assert all(state.fault is None for state in sim.guard.snapshot().outlets)


@pytest.mark.slow
def test_three_planted_wiring_mistakes_are_all_found_and_named(tmp_path):
    sim = site(tmp_path, demo_config(outlets=6))
    sim.world.fault(3, "relays_swapped", other=5)
    sim.world.fault(2, "current_reversed")
    sim.world.fault(1, "thermometers_swapped", other=5)
    tech = ConsoleHarness(sim, tmp_path)
    said = Fitter(sim, tech, {"reference meter": "skip", "on the sticker": "skip"}).work(tech.say("commission"))
    (written,) = files(sim, ".txt")
    wrong = [line.removeprefix("  ! ") for line in written.read_text().splitlines() if line.startswith("  ! ")]
    assert wrong == [
        "Outlet 2: its current sensor is reversed (power flows backwards)",
        "The relays of outlets 3 and 5 are swapped",
        "The thermometers of outlets 1 and 5 are swapped",
    ]
    assert "Result: NOT PASSED" in written.read_text()
    assert "Mend what is wrong" in said
    assert all(state.fault is None for state in sim.guard.snapshot().outlets), "its own trips are cleared"


@pytest.mark.slow
def test_interrupted_run_goes_on_where_it_was_and_mended_steps_are_tried_again(sim, tech, tmp_path):
    sim.world.fault(2, "current_reversed")
    fitter = Fitter(sim, tech, {"reference meter": "skip"})
    text = tech.say("commission")
    while "into outlet 3" not in text:
        text = tech.say(fitter.answer(text))
    tech.shell.hang_up()
    assert all(not state.closed for state in sim.guard.snapshot().outlets)
    again = ConsoleHarness(sim, tmp_path)
    text = again.say("commission")
    assert "[8/" in text
    assert "into outlet 3" in text
    fitter.tech = again
    fitter.work(text)
    sim.world.clear(2)
    text = again.say("commission")
    assert "1 of " in text
    assert "into outlet 2" in text, "only what was wrong"
    fitter.work(text)
    assert "PASSED" in files(sim, ".txt")[-1].read_text()
    assert "NOT PASSED" in files(sim, ".txt")[0].read_text()


def test_run_that_is_left_in_a_probe_opens_the_outlet(sim, tech):
    fitter = Fitter(sim, tech)
    text = tech.say("commission")
    while "Plug a lamp" not in text:
        text = tech.say(fitter.answer(text))
    tech.begin(fitter.answer(text))
    tech.wait(1)
    assert sim.outlet(1).closed
    assert "commission goes on from here" in tech.shell.interrupt().text
    assert not sim.outlet(1).closed
    assert "outlet 1" in tech.say("commission")


def test_moments_of_the_report_are_the_sites():
    evening_utc = Attribution("console:tech", 1_795_638_600_000, True)  # 2026-11-25 20:30 UTC
    assert report.moment(evening_utc, zoneinfo.ZoneInfo("Asia/Shanghai")) == "2026-11-26 04:30 UTC+0800"


def test_residents_come_first(sim, tech):
    sim.plug(3, "resistor:500")
    sim.start(3)
    assert "end that first" in tech.say("commission")


def test_other_wiring_begins_anew(sim, tech, tmp_path):
    fitter = Fitter(sim, tech)
    text = tech.say("commission")
    tech.say(fitter.answer(text))
    tech.shell.interrupt()
    assert "1 of" in tech.say("commission status")
    moved = msgspec.structs.replace(sim.config.outlet[0], relay="expander:0x20/12")
    changed = msgspec.structs.replace(sim.config, outlet=(moved, *sim.config.outlet[1:]))
    other = ConsoleHarness(SimCabinet(tmp_path / "other", changed), tmp_path)
    assert "never commissioned" in other.say("commission status")


def test_record_that_cannot_be_read_is_said_and_kept(sim, tech):
    folder = CommissioningFolder(path_of(sim)).folder
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
