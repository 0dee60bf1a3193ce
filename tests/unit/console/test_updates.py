"""`update check` at the console: what a technician with a stick reads, in which cases, and that nothing is done."""

import msgspec
import pytest

import cabinet
from cabinet.clock import NS, WallTime
from cabinet.console.audit_file import AuditFile
from cabinet.console.commands.updates import PROGRAM_WITHIN_S
from cabinet.console.terminal.columns import COLUMNS, width
from cabinet.errors import CabinetError, Refused
from cabinet.link.service_protocol import ConsoleAuditEntry, SessionLine, Sessions
from cabinet.model import Phase as OutletPhase
from cabinet.system.steward.protocol import (
    BundleFound,
    DriveFound,
    InspectionProgress,
    InstalledVersion,
)
from cabinet.system.update.bundle import Manifest
from cabinet.system.update.trial import (
    ComputerFacts,
    InstallOptions,
    UpdatePhase,
    UpdateRecord,
    objections,
    required_bytes,
)
from cabinet.system.update.wording import objection_text
from cabinet.texts import Texts
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import FakeServiceClient
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

MANIFEST = Manifest(format=1, version="0.2.0", architecture="arm64", python="3.11", size=48 << 20, sha256="0" * 64)
HERE = ComputerFacts(
    architecture="arm64", python="3.11", version=cabinet.__version__, free=9 << 30, installed=90 << 20,
    changed_files=(), on_trial=None,
)  # fmt: skip
QUIET = InstalledVersion(HERE, None, None, None, [])
STICK = DriveFound("/dev/sda1", "/media/stick", 1)
BUNDLE = BundleFound("cabinet-0.2.0-arm64.bundle", MANIFEST, "maker", "newer")
INSTALL = "sudo cabinet update install"


class FakeSteward:
    """Finds what it was given, one thing after the other, and counts the inspections; it can do nothing else.

    `queued`: it finds faster than the console reads.
    """

    def __init__(self, *finds):
        self.finds = list(finds)
        self.begun = self.ended = self.reported = 0
        self.queued = False
        self.on_close: Exception | None = None
        self.after_each = lambda: None

    def inspect_updates(self):
        self.begun += 1
        try:
            for found in self.finds:
                self.reported += 1
                self.after_each()
                if isinstance(found, Exception):
                    raise found
                yield found
                if not self.queued:
                    yield None
        except GeneratorExit:
            if self.on_close is not None:
                raise self.on_close from None
            raise
        finally:
            self.ended += 1


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    return SimCabinet(tmp_path_factory.mktemp("sim"), demo_config(outlets=2))


def idle(count=0):
    """A service with that many charges under way."""
    line = SessionLine("SG-1-000124", 3, "charging", WallTime(0, True), None, 405, 21_300, 6, None, None)
    return FakeServiceClient(Sessions([line] * count, []))


def technician(sim, tmp_path, *finds, name="tech", records=None, **more):
    steward = FakeSteward(*finds)
    tech = ConsoleHarness(sim, tmp_path, name, steward=steward, records=records or idle(), **more)
    return tech, steward


def said(sim, tmp_path, *finds, **more):
    return technician(sim, tmp_path, *finds, **more)[0].say("update check")


# --- what runs here --------------------------------------------------------------------------------------------------


def test_without_a_stick_it_says_so_and_shows_what_runs_and_the_last_update(sim, tmp_path):
    last = UpdateRecord(
        old="0.1.0", new="0.1.5", phase=UpdatePhase.GONE_BACK, boot_id="b", schema=12, why="self-test: it is broken"
    )
    text = said(sim, tmp_path, msgspec.structs.replace(QUIET, last=last))
    assert text.splitlines() == [
        f"Version {cabinet.__version__} is installed (arm64, Python 3.11).",
        "Last update: version 0.1.0 is installed, 0.1.5 is not: self-test: it is broken",
        "No USB stick is plugged in. Bundles (*.bundle) belong into its top folder.",
    ]


def test_update_that_was_kept_is_told(sim, tmp_path):
    last = UpdateRecord(old="0.0.9", new="0.1.0", phase=UpdatePhase.KEPT, boot_id="b", schema=12)
    text = said(sim, tmp_path, msgspec.structs.replace(QUIET, last=last))
    assert "Last update: version 0.1.0 is installed and stays" in text


def test_cabinet_that_was_never_updated_says_so(sim, tmp_path):
    assert "There has been no update by a bundle." in said(sim, tmp_path, QUIET)


def test_trial_under_way_is_told_with_its_end_and_stands_against_another(sim, tmp_path):
    trial = UpdateRecord(old="0.0.9", new=cabinet.__version__, phase=UpdatePhase.TRIAL, boot_id="b", schema=12)
    here = msgspec.structs.replace(HERE, on_trial=cabinet.__version__)
    surveyed = msgspec.structs.replace(QUIET, computer=here, trial=trial, left_s=125)
    tech, _ = technician(sim, tmp_path, surveyed, STICK, BUNDLE)
    text = tech.say("update check")
    assert f"Now: version {cabinet.__version__} is on trial" in text
    assert "for another 125 s; leave the computer on" in text
    assert "wait until it is over" in text
    assert "no objection" not in text


def test_other_version_on_the_disk_than_runs_is_told(sim, tmp_path):
    here = msgspec.structs.replace(HERE, version="7.0.0")
    text = said(sim, tmp_path, msgspec.structs.replace(QUIET, computer=here))
    assert "Version 7.0.0 is installed" in text
    assert f"This console is still of version {cabinet.__version__}." in text


def test_computer_that_cannot_be_asked_costs_neither_version_nor_bundles(sim, tmp_path):
    surveyed = InstalledVersion(None, None, None, None, ["dpkg-query: no packages found"])
    text = said(sim, tmp_path, surveyed, STICK, msgspec.structs.replace(BUNDLE, age=None))
    assert f"Version {cabinet.__version__} runs here." in text
    assert "Not known: dpkg-query: no packages found" in text
    assert "version 0.2.0, newer or older is not known, signed by maker" in text
    assert INSTALL not in text  # whether it may be is not known


# --- a bundle --------------------------------------------------------------------------------------------------------


def test_bundle_that_may_be_installed_ends_with_the_command_for_it(sim, tmp_path):
    text = said(sim, tmp_path, QUIET, STICK, BUNDLE)
    assert text.splitlines()[2:] == [
        "",
        "/dev/sda1: /media/stick",
        "cabinet-0.2.0-arm64.bundle",
        "  version 0.2.0, newer, signed by maker",
        "  for arm64, Python 3.11: fits this computer; 48.0 MiB",
        "  no objection to installing it now",
        "  to install it, in a shell of the computer:",
        f"  {INSTALL} /media/stick/cabinet-0.2.0-arm64.bundle",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"free": required_bytes(MANIFEST, HERE) - 1},
        {"changed_files": ("/usr/lib/cabinet/x.py",)},
        {"on_trial": "0.1.9"},
        {"switched_off": True},
        {"architecture": "amd64"},
        {"python": "3.13"},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_install_would_object_to_is_told_in_the_same_words(sim, tmp_path, change, language):
    here = msgspec.structs.replace(HERE, **change)
    tech, _ = technician(sim, tmp_path, msgspec.structs.replace(QUIET, computer=here), STICK, BUNDLE)
    tech.say(f"language {language}")
    shown = "".join(tech.say("update check").split())
    installing = msgspec.structs.replace(here, newer=True, sessions=0)
    (objection,) = objections(MANIFEST, installing, InstallOptions())
    assert "".join(objection_text(objection, Texts("update", language)).split()) in shown


@pytest.mark.parametrize("change", [{"architecture": "armhf"}, {"python": "3.13"}])
def test_bundle_for_another_computer_has_no_command(sim, tmp_path, change):
    manifest = msgspec.structs.replace(MANIFEST, **change)
    text = said(sim, tmp_path, QUIET, STICK, msgspec.structs.replace(BUNDLE, manifest=manifest))
    assert "DOES NOT FIT this computer" in text
    assert INSTALL not in text


@pytest.mark.parametrize(("age", "shown"), [("same", "the one that runs"), ("older", "older")])
def test_bundle_that_is_not_newer_is_told_and_its_command_says_so(sim, tmp_path, age, shown):
    text = said(sim, tmp_path, QUIET, STICK, msgspec.structs.replace(BUNDLE, age=age))
    assert f"version 0.2.0, {shown}, signed by maker" in text
    assert f"is not newer than {cabinet.__version__}" in text
    assert f"{INSTALL} --older /media/stick/" in text


@pytest.mark.parametrize("wrong", ["unsigned", "no_keys", "no_bundle", "not_a_file", "name", "unreadable"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_not_trusted_is_named_with_the_reason_and_nothing_else(sim, tmp_path, wrong, language):
    tech, _ = technician(sim, tmp_path, QUIET, STICK, BundleFound("x.bundle", wrong=wrong, why="Input/output error"))
    tech.say(f"language {language}")
    name, *rest = tech.say("update check").splitlines()[4:]
    assert name == "x.bundle"
    reason = Texts("update", language)(f"update.wrong.{wrong}", why="Input/output error")
    assert "".join("".join(rest).split()) == "".join(reason.split())


@pytest.mark.parametrize("wrong", ["changed", "cut_short", "late"])
def test_signed_bundle_whose_package_is_not_whole_has_no_command(sim, tmp_path, wrong):
    text = said(sim, tmp_path, QUIET, STICK, msgspec.structs.replace(BUNDLE, wrong=wrong))
    assert "version 0.2.0, newer, signed by maker" in text
    assert INSTALL not in text
    assert "no objection" not in text


def test_stick_that_was_mounted_to_look_has_to_be_mounted_for_the_command(sim, tmp_path):
    text = said(sim, tmp_path, QUIET, DriveFound("/dev/sda1", "", 1), BUNDLE)
    assert "/dev/sda1: was mounted to look, read-only, and is not any more" in text
    assert f"  sudo mount -o ro /dev/sda1 /mnt && {INSTALL} /mnt/cabinet-0.2.0-arm64.bundle" in text


def test_name_with_blanks_and_signs_is_one_word_for_the_shell(sim, tmp_path):
    text = said(sim, tmp_path, QUIET, STICK, msgspec.structs.replace(BUNDLE, name="new; rm -rf $HOME.bundle"))
    assert f"{INSTALL} '/media/stick/new; rm -rf $HOME.bundle'" in text


def test_stick_without_bundles_with_too_many_or_unreadable_says_so(sim, tmp_path):
    assert "no bundle (*.bundle) in its top folder" in said(sim, tmp_path, QUIET, DriveFound("/dev/sda1", "/media/s"))
    more = DriveFound("/dev/sda1", "/media/s", 1, more=450)
    assert "450 more are not looked at" in said(sim, tmp_path, QUIET, more, BUNDLE)
    broken = DriveFound("/dev/sda1", "", problem="Input/output error")
    text = said(sim, tmp_path, QUIET, STICK, BUNDLE, broken)
    assert text.count("/dev/sda1: ") == 1
    assert "cannot be read, or not to its end: Input/output error" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lines_fit_a_terminal_but_for_the_command(sim, tmp_path, language):
    manifest = msgspec.structs.replace(MANIFEST, architecture="amd64")
    here = msgspec.structs.replace(HERE, changed_files=("/usr/lib/cabinet/a.py",), free=0)
    tech, _ = technician(
        sim, tmp_path, InspectionProgress(), msgspec.structs.replace(QUIET, computer=here), STICK,
        InspectionProgress(BUNDLE.name, 1, 2), BUNDLE, msgspec.structs.replace(BUNDLE, manifest=manifest),
        BundleFound("x.bundle", wrong="unsigned"), records=idle(3),
    )  # fmt: skip
    tech.say(f"language {language}")
    lines = tech.say("update check").splitlines()
    assert [line for line in lines if width(line) > COLUMNS and "sudo" not in line] == []


# --- charges ---------------------------------------------------------------------------------------------------------


def test_charges_are_those_of_the_service(sim, tmp_path):
    assert "2 charges run: wait" in said(sim, tmp_path, QUIET, STICK, BUNDLE, records=idle(2))


def test_with_the_service_dead_the_guards_charges_count(tmp_path):
    sim = SimCabinet(tmp_path / "sim", demo_config(outlets=4))
    sim.plug(3, "resistor:500")
    sim.start(3)
    assert sim.run(5 * NS, until=lambda: sim.outlet(3).phase is OutletPhase.CHARGING)
    assert "1 charge runs: wait" in said(sim, tmp_path, QUIET, STICK, BUNDLE, records=FakeServiceClient())


def test_with_nobody_to_ask_the_charges_are_unknown_as_for_install(sim, tmp_path):
    tech, _ = technician(sim, tmp_path, QUIET, STICK, BUNDLE, records=FakeServiceClient())
    tech.guard.gone = True
    text = tech.say("update check")
    assert "whether charges run cannot be said" in text
    assert f"Version {cabinet.__version__} is installed" in text


# --- how it goes on --------------------------------------------------------------------------------------------------


def test_big_bundle_shows_how_far_it_is_in_a_few_lines(sim, tmp_path):
    size = 1000 << 20
    reading = [InspectionProgress(BUNDLE.name, done << 20, size) for done in range(1, 1000, 20)]
    tech, steward = technician(sim, tmp_path, InspectionProgress(), QUIET, STICK, *reading, BUNDLE)
    steward.queued = True
    text = tech.say("update check")
    shown = [line for line in text.splitlines() if line.endswith("…")]
    assert len(shown) == 11
    assert shown[:2] == [
        "Comparing the installed files, looking for sticks …",
        "cabinet-0.2.0-arm64.bundle: 0 % of 1000.0 MiB …",
    ]
    assert shown[-1] == "cabinet-0.2.0-arm64.bundle: 90 % of 1000.0 MiB …"


def test_key_ends_the_look_and_the_stick_is_let_go(sim, tmp_path):
    tech, steward = technician(sim, tmp_path, *[InspectionProgress(BUNDLE.name, 1, 2)] * 100)
    assert tech.begin("update check").live_s is not None
    tech.wait(1)
    tech.shell.tick()
    assert "Inspection stopped early" in tech.shell.line("").text
    assert (steward.begun, steward.ended) == (1, 1)


def test_stick_may_be_taken_out_only_if_the_steward_has_let_go_of_it(sim, tmp_path):
    tech, steward = technician(sim, tmp_path, *[InspectionProgress(BUNDLE.name, 1, 2)] * 100)
    steward.on_close = Refused("steward_gone")
    tech.begin("update check")
    reply = tech.shell.line("")
    assert "cabinet-steward" in reply.text
    assert "taken out" not in reply.text
    assert reply.prompt == "DEMO-1> "


def test_each_step_takes_all_findings_that_are_queued(sim, tmp_path):
    """Otherwise the steward's queue stays full behind a slow console, and it ends the inspection."""
    tech, steward = technician(
        sim, tmp_path, QUIET, STICK, *[BUNDLE] * 50, InspectionProgress(BUNDLE.name, 1, 2), BUNDLE
    )
    steward.queued = True
    tech.begin("update check")
    assert steward.reported == 53


@pytest.mark.parametrize("leave", ["hang_up", "end", "interrupt"])
def test_who_goes_away_lets_go_of_the_stick(sim, tmp_path, leave):
    tech, steward = technician(sim, tmp_path, *[InspectionProgress(BUNDLE.name, 1, 2)] * 100)
    tech.begin("update check")
    getattr(tech.shell, leave)()
    assert (steward.begun, steward.ended) == (1, 1)


def test_steward_that_fails_in_the_middle_is_a_sentence(sim, tmp_path):
    tech, _ = technician(sim, tmp_path, QUIET, CabinetError("/proc/self/mounts: Permission denied"))
    assert "That failed: /proc/self/mounts: Permission denied" in tech.say("update check")
    assert "DEMO-1" in tech.shell.line("").prompt


def test_without_a_steward_it_is_said_and_the_console_goes_on(sim, tmp_path):
    path = tmp_path / "audit.jsonl"
    tech = ConsoleHarness(sim, tmp_path, audit=AuditFile(path, sim.clock))
    reply = tech.begin("update check")
    assert "cabinet-steward" in reply.text
    assert (reply.live_s, reply.prompt) == (None, "DEMO-1> ")
    assert tech.shell.tick() is None
    rows = [msgspec.json.decode(line, type=ConsoleAuditEntry) for line in path.read_bytes().splitlines()]
    assert (rows[-1].line, rows[-1].outcome) == ("update check", "steward_gone")


@pytest.mark.parametrize("name", ["guest", "night", "tech"])
def test_everybody_may_look_and_the_steward_is_only_asked_to_look(sim, tmp_path, name):
    tech, steward = technician(sim, tmp_path, QUIET, STICK, BUNDLE, name=name)
    assert INSTALL in tech.say("update check")
    assert (steward.begun, steward.ended) == (1, 1)
    assert tech.guard.asked == []


def test_look_is_in_the_audit_log(sim, tmp_path):
    path = tmp_path / "audit.jsonl"
    tech, _ = technician(sim, tmp_path, QUIET, audit=AuditFile(path, sim.clock))
    tech.say("update check")
    rows = [msgspec.json.decode(line, type=ConsoleAuditEntry) for line in path.read_bytes().splitlines()]
    assert [(row.line, row.outcome) for row in rows if row.line != "login"] == [("update check", "ok")]


# --- for a program ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["json", "machine"])
def test_program_gets_one_line_with_everything(sim, tmp_path, how):
    unsigned = BundleFound("x.bundle", wrong="unsigned")
    tech, _ = technician(sim, tmp_path, InspectionProgress(), QUIET, STICK, BUNDLE, unsigned, records=idle(1))
    line = tech.say("update check --json") if how == "json" else tech.shell.machine_line("update check")
    answer = msgspec.json.decode(line)
    assert answer["ok"]
    data = answer["data"]
    assert (data["complete"], data["installed"]["version"]) == (True, cabinet.__version__)
    first, second = data["sticks"][0]["bundles"]
    assert (first["version"], first["signer"], first["age"], first["fits"]) == ("0.2.0", "maker", "newer", True)
    assert first["against"] == [{"code": "session_runs", "params": {}}]
    assert first["install"] == f"{INSTALL} /media/stick/cabinet-0.2.0-arm64.bundle"
    assert second == {"name": "x.bundle", "wrong": "unsigned", "why": ""}


def test_program_does_not_wait_longer_than_the_watchdog(sim, tmp_path):
    tech, steward = technician(sim, tmp_path, QUIET, STICK, *[InspectionProgress(BUNDLE.name, 1, 2)] * 10_000)
    steward.after_each = lambda: sim.clock.advance_ns(NS)
    data = msgspec.json.decode(tech.shell.machine_line("update check"))["data"]
    assert (data["complete"], len(data["sticks"])) == (False, 1)
    assert steward.reported <= PROGRAM_WITHIN_S + 2
    assert (steward.begun, steward.ended) == (1, 1)
