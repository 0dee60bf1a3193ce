"""A whole update over a computer that only pretends: what is installed in the end, and what is remembered."""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from cabinet.clock import ManualClock
from cabinet.errors import CabinetError
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.trial import TRIAL_S, UpdatePhase, UpdateRecord
from cabinet.system.update.watch import UpdateRun


class Computer:
    """Does what it is told, and fails where it is told to."""

    def __init__(self) -> None:
        self.boot = "this"
        self.done: list[str] = []
        self.held: list[str] = []
        self.refuses: set[str] = set()
        self.refused_early = False  # by dpkg, before it has changed anything
        self.busy: CabinetError | None = None  # another program installs
        self.charges: int | None = 0
        self.read_only: list[str] = []
        self.wont_remount: set[str] = set()
        self.wont_start: list[str] = []
        self.wont_restore = False
        self.problems: dict[str, list[str]] = {}  # of the self-test, by what is installed
        self.not_running: list[str] = []
        self.started_again: list[str] = []
        self.schema_now: int | None = 12
        self.installed = "old.deb"

    def boot_id(self) -> str:
        return self.boot

    def sessions(self) -> int | None:
        return self.charges

    @contextlib.contextmanager
    def package_tools(self):
        if self.busy:
            raise self.busy
        self.held.append("tools")
        try:
            yield
        finally:
            self.held.clear()

    def is_whole(self, version: str) -> bool:
        return self.installed == {"0.1.0": "old.deb", "0.2.0": "new.deb"}[version]

    def read_only_places(self) -> Sequence[str]:
        return list(self.read_only)

    def remount(self, place: str, how: str) -> None:
        assert not self.held, "a file that is open to be written keeps its file system busy"
        self.done.append(f"remount {place} {how}")
        if how in self.wont_remount:
            raise CabinetError(f"mount: {place} is busy")
        if how == "rw":
            self.read_only.remove(place)
        else:
            self.read_only.append(place)

    def install(self, package: Path) -> None:
        assert "tools" in self.held
        self.done.append(f"install {package.name}")
        if self.read_only:
            raise CabinetError("Read-only file system")
        if package.name in self.refuses:
            self.installed = self.installed if self.refused_early else "half"
            raise CabinetError(f"{package.name} cannot be installed")
        self.installed = package.name
        if package.name == "old.deb":
            self.not_running, self.started_again = [], []

    def down(self) -> Sequence[str]:
        return self.not_running

    def restarted(self) -> Sequence[str]:
        return self.started_again

    def self_test(self) -> Sequence[str]:
        return self.problems.get(self.installed, [])

    def schema(self) -> int | None:
        return self.schema_now

    def restore(self, backup: Path) -> None:
        self.done.append(f"restore {backup.name}")
        if self.wont_restore:
            raise CabinetError(f"there is no backup {backup}")
        self.schema_now = 12

    def start(self) -> Sequence[str]:
        self.done.append("start")
        return self.wont_start


class UpdateHarness:
    def __init__(self, folder: Path) -> None:
        self.computer = Computer()
        self.records = UpdateFolder(folder)
        self.records.new.write_bytes(b"the new one")
        self.clock = ManualClock()
        self.trial = UpdateRecord(
            old="0.1.0", new="0.2.0", phase=UpdatePhase.PREPARED, boot_id="this", schema=12, backup="/b/before.db",
            sha256=hashlib.sha256(b"the new one").hexdigest(),
        )  # fmt: skip
        self.records.save(self.trial)
        self.while_waiting = lambda waited_s: None
        self.waited_s = 0.0

    def wait(self, seconds: float) -> None:
        self.clock.advance_ns(round(seconds * 1e9))
        self.waited_s += seconds
        self.while_waiting(self.waited_s)

    def run(self) -> UpdateRecord | None:
        return UpdateRun(cast(Any, self.computer), self.records, self.clock, self.wait).resume()


@pytest.fixture
def harness(tmp_path: Path) -> UpdateHarness:
    return UpdateHarness(tmp_path)


def test_good_version_is_kept_after_five_minutes(harness):
    ended = harness.run()
    assert (ended.phase, ended.why) == (UpdatePhase.KEPT, "")
    assert harness.computer.done == ["install new.deb"]
    assert harness.waited_s >= TRIAL_S
    assert (harness.records.load(), harness.records.last()) == (None, ended)


def test_end_of_the_trial_is_on_disk_while_it_lasts(harness):
    seen = []
    begun_ns = harness.clock.monotonic_ns()
    harness.while_waiting = lambda waited_s: seen.append(harness.records.load())
    harness.run()
    assert {(trial.phase, trial.until_ns) for trial in seen} == {(UpdatePhase.TRIAL, begun_ns + round(TRIAL_S * 1e9))}
    assert seen[0].left_s("this", begun_ns + 10**10) == TRIAL_S - 10


def test_package_that_cannot_be_installed_goes_back(harness):
    harness.computer.refuses = {"new.deb"}
    ended = harness.run()
    assert (ended.phase, harness.computer.installed) == (UpdatePhase.GONE_BACK, "old.deb")
    assert "new.deb cannot be installed" in ended.why
    assert harness.waited_s == 0


def test_failed_self_test_goes_back_at_once(harness):
    harness.computer.problems["new.deb"] = ["the configuration is refused"]
    ended = harness.run()
    assert (ended.phase, harness.computer.installed, harness.waited_s) == (UpdatePhase.GONE_BACK, "old.deb", 0)
    assert harness.computer.done == ["install new.deb", "install old.deb", "start"]


def test_unit_that_never_comes_up_goes_back(harness):
    harness.computer.install = lambda package, install=harness.computer.install: (
        install(package),
        harness.computer.not_running.extend(["cabinet-guard"] if package.name == "new.deb" else []),
    )
    ended = harness.run()
    assert ended.phase is UpdatePhase.GONE_BACK
    assert "cabinet-guard" in ended.why
    assert harness.waited_s < TRIAL_S


def test_unit_that_crashes_in_the_last_seconds_goes_back(harness):
    def crash(waited_s: float) -> None:
        if waited_s >= TRIAL_S - 10:
            harness.computer.started_again = ["cabinet-service"]

    harness.while_waiting = crash
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.installed == "old.deb"


def test_newer_database_goes_back_with_the_version(harness):
    harness.computer.problems["new.deb"] = ["wrong"]
    harness.computer.schema_now = 13
    ended = harness.run()
    assert harness.computer.done == ["install new.deb", "install old.deb", "restore before.db", "start"]
    assert "kept beside" in ended.why


def test_database_whose_form_nobody_could_tell_stays_where_the_old_version_reads_it(harness):
    harness.computer.problems["new.deb"] = ["wrong"]
    harness.computer.schema_now = None
    harness.run()
    assert harness.computer.done == ["install new.deb", "install old.deb", "start"]


def test_database_of_the_same_form_keeps_its_money(harness):
    harness.computer.problems["new.deb"] = ["wrong"]
    harness.run()
    assert not [done for done in harness.computer.done if done.startswith("restore")]


@pytest.mark.parametrize("phase", [UpdatePhase.INSTALLING, UpdatePhase.TRIAL, UpdatePhase.GOING_BACK])
def test_power_cut_meanwhile_goes_back(harness, phase):
    harness.computer.installed = "new.deb"
    harness.records.save(
        UpdateRecord(old="0.1.0", new="0.2.0", phase=phase, boot_id="before", schema=12, backup="/b/before.db")
    )
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.done == ["install old.deb", "start"]


def test_power_cut_before_the_installation_changes_nothing(harness):
    harness.computer.boot = "another"
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert (harness.computer.done, harness.records.load()) == ([], None)


def test_going_back_that_fails_is_taken_up_again(harness):
    harness.computer.refuses = {"new.deb", "old.deb"}
    with pytest.raises(CabinetError):
        harness.run()
    harness.computer.refuses = set()
    assert harness.records.load().phase is UpdatePhase.GOING_BACK
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.done == ["install new.deb", "install old.deb", "install old.deb", "start"]


def test_second_attempt_to_go_back_does_not_install_what_is_there(harness):
    """It would stop the guard and every charge for nothing."""
    harness.computer.problems["new.deb"] = ["wrong"]
    harness.computer.schema_now, harness.computer.wont_restore = 13, True
    with pytest.raises(CabinetError, match="there is no backup"):
        harness.run()
    assert harness.computer.done[-2:] == ["restore before.db", "start"], "what can run meanwhile runs"
    harness.computer.done.clear()
    harness.computer.wont_restore = False
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.done == ["restore before.db", "start"]


def test_same_version_once_more_is_not_taken_for_the_old_one(harness):
    harness.records.save(msgspec.structs.replace(harness.trial, new="0.1.0"))
    harness.computer.is_whole = lambda version: True  # dpkg says so of either
    harness.computer.problems["new.deb"] = ["wrong"]
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.done == ["install new.deb", "install old.deb", "start"]


def test_package_that_changed_nothing_needs_no_going_back(harness):
    harness.computer.refuses, harness.computer.refused_early = {"new.deb"}, True
    harness.computer.schema_now = None  # a reason to restore, if anything had been changed
    ended = harness.run()
    assert (ended.phase, ended.why) == (UpdatePhase.GONE_BACK, "new.deb cannot be installed")
    assert harness.computer.done == ["install new.deb", "start"]


def test_while_another_program_installs_nothing_begins(harness):
    harness.computer.busy = CabinetError("another program installs packages")
    ended = harness.run()
    assert (ended.phase, ended.why) == (UpdatePhase.GONE_BACK, "another program installs packages")
    assert harness.computer.done == []


def test_old_version_whose_sensor_is_dead_is_back_all_the_same(harness):
    """The dead sensor may be the reason for the update: each unit gets its start, and the end is recorded."""
    harness.computer.problems["new.deb"] = ["wrong"]
    harness.computer.wont_start = ["cabinet-guard.service failed"]
    ended = harness.run()
    assert ended.phase is UpdatePhase.GONE_BACK
    assert ended.why == "self-test: wrong; the old version runs, and says: cabinet-guard.service failed"
    assert (harness.records.load(), harness.records.last()) == (None, ended)


# --- looked at once more before it is installed ----------------------------------------------------------------------


def test_package_that_is_not_the_signed_one_any_more_is_not_installed(harness):
    harness.records.new.write_bytes(b"somebody's")
    ended = harness.run()
    assert ended.phase is UpdatePhase.GONE_BACK
    assert "is not the one that was signed" in ended.why
    assert harness.computer.done == []


def test_record_of_a_version_that_kept_no_sum_is_seen_through(harness):
    harness.records.save(msgspec.structs.replace(harness.trial, sha256=""))
    assert harness.run().phase is UpdatePhase.KEPT


@pytest.mark.parametrize("charges", [1, None])
def test_charge_that_began_meanwhile_is_not_cut(harness, charges):
    harness.computer.charges = charges
    ended = harness.run()
    assert (ended.phase, harness.computer.done) == (UpdatePhase.GONE_BACK, [])
    assert "nothing was changed" in ended.why


def test_charge_that_began_meanwhile_is_paused_where_that_was_asked_for(harness):
    harness.records.save(msgspec.structs.replace(harness.trial, during_sessions=True))
    harness.computer.charges = 1
    assert harness.run().phase is UpdatePhase.KEPT


# --- a root that is read-only ----------------------------------------------------------------------------------------


def test_read_only_root_is_writable_for_the_update_alone(harness):
    harness.computer.read_only = ["/"]
    assert harness.run().phase is UpdatePhase.KEPT
    assert harness.computer.done == ["remount / rw", "install new.deb", "remount / ro"]


def test_restart_in_the_trial_goes_back_on_a_read_only_root(harness):
    """fstab makes it read-only again; a remount by hand is forgotten."""
    harness.records.save(msgspec.structs.replace(harness.trial, phase=UpdatePhase.TRIAL, boot_id="before"))
    harness.computer.installed, harness.computer.read_only = "new.deb", ["/"]
    assert harness.run().phase is UpdatePhase.GONE_BACK
    assert harness.computer.done == ["remount / rw", "install old.deb", "start", "remount / ro"]


def test_root_that_was_made_writable_is_read_only_again_after_a_refusal(harness):
    harness.computer.read_only, harness.computer.charges = ["/"], 1
    harness.run()
    assert harness.computer.done == ["remount / rw", "remount / ro"]


def test_root_that_cannot_be_made_writable_is_a_refusal(harness):
    harness.computer.read_only, harness.computer.wont_remount = ["/"], {"rw", "ro"}
    ended = harness.run()
    assert ended.phase is UpdatePhase.GONE_BACK
    assert ended.why == "mount: / is busy"
    assert "install new.deb" not in harness.computer.done


def test_root_that_stays_writable_is_told_and_costs_no_update(harness):
    harness.computer.read_only, harness.computer.wont_remount = ["/"], {"ro"}
    ended = harness.run()
    assert (ended.phase, ended.why) == (UpdatePhase.KEPT, "/ is writable still: mount: / is busy")
    assert (harness.records.load(), harness.records.last()) == (None, ended)


def test_root_is_busy_until_who_follows_the_update_has_seen_its_end(harness):
    """The program that follows it is the old one, whose files are gone and open still."""
    harness.computer.read_only, harness.computer.wont_remount = ["/"], {"ro"}

    def follow(waited_s: float) -> None:
        if harness.records.load() is None:
            harness.computer.wont_remount.clear()

    harness.while_waiting = follow
    assert (harness.run().why, harness.computer.read_only) == ("", ["/"])


# --- nobody else meanwhile -------------------------------------------------------------------------------------------


def test_second_one_that_would_prepare_is_sent_away(harness):
    with (
        harness.records.alone(),
        pytest.raises(CabinetError, match="another update is under way"),
        harness.records.alone(),
    ):
        pass
    with harness.records.alone():
        pass


def test_without_an_update_there_is_nothing_to_do(harness):
    harness.run()
    harness.computer.done.clear()
    assert harness.run() is None
    assert harness.computer.done == []


def test_folder_of_somebody_else_is_not_used(tmp_path):
    folder = tmp_path / "update"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(CabinetError, match="not of root alone"):
        UpdateFolder(folder).check_private()
