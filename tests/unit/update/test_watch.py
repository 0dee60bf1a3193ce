"""A whole update over a computer that only pretends: what is installed in the end, and what is remembered."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cabinet.clock import ManualClock
from cabinet.errors import CabinetError
from cabinet.update.records import Records
from cabinet.update.trial import TRIAL_S, Phase, Trial
from cabinet.update.watch import see_through


class Computer:
    """Does what it is told, and fails where it is told to."""

    def __init__(self) -> None:
        self.boot = "this"
        self.done: list[str] = []
        self.refuses: set[str] = set()
        self.problems: dict[str, list[str]] = {}  # of the self-test, by what is installed
        self.not_running: list[str] = []
        self.started_again: list[str] = []
        self.schema_now: int | None = 12
        self.installed = "old.deb"

    def boot_id(self) -> str:
        return self.boot

    def install(self, package: Path) -> None:
        self.done.append(f"install {package.name}")
        if package.name in self.refuses:
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

    def start(self) -> None:
        self.done.append("start")


class Bench:
    def __init__(self, folder: Path) -> None:
        self.computer = Computer()
        self.records = Records(folder)
        self.clock = ManualClock()
        self.trial = Trial(
            old="0.1.0", new="0.2.0", phase=Phase.PREPARED, boot_id="this", schema=12, backup="/b/before.db"
        )
        self.records.save(self.trial)
        self.while_waiting = lambda waited_s: None
        self.waited_s = 0.0

    def wait(self, seconds: float) -> None:
        self.clock.advance_ns(round(seconds * 1e9))
        self.waited_s += seconds
        self.while_waiting(self.waited_s)

    def run(self) -> Trial | None:
        return see_through(self.computer, self.records, self.clock, self.wait)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_good_version_is_kept_after_five_minutes(bench):
    ended = bench.run()
    assert (ended.phase, ended.why) == (Phase.KEPT, "")
    assert bench.computer.done == ["install new.deb"]
    assert bench.waited_s >= TRIAL_S
    assert (bench.records.load(), bench.records.last()) == (None, ended)


def test_end_of_the_trial_is_on_disk_while_it_lasts(bench):
    seen = []
    begun_ns = bench.clock.monotonic_ns()
    bench.while_waiting = lambda waited_s: seen.append(bench.records.load())
    bench.run()
    assert {(trial.phase, trial.until_ns) for trial in seen} == {(Phase.TRIAL, begun_ns + round(TRIAL_S * 1e9))}
    assert seen[0].left_s("this", begun_ns + 10**10) == TRIAL_S - 10


def test_package_that_cannot_be_installed_goes_back(bench):
    bench.computer.refuses = {"new.deb"}
    ended = bench.run()
    assert (ended.phase, bench.computer.installed) == (Phase.GONE_BACK, "old.deb")
    assert "new.deb cannot be installed" in ended.why
    assert bench.waited_s == 0


def test_failed_self_test_goes_back_at_once(bench):
    bench.computer.problems["new.deb"] = ["the configuration is refused"]
    ended = bench.run()
    assert (ended.phase, bench.computer.installed, bench.waited_s) == (Phase.GONE_BACK, "old.deb", 0)
    assert bench.computer.done == ["install new.deb", "install old.deb", "start"]


def test_unit_that_never_comes_up_goes_back(bench):
    bench.computer.install = lambda package, install=bench.computer.install: (
        install(package),
        bench.computer.not_running.extend(["cabinet-guard"] if package.name == "new.deb" else []),
    )
    ended = bench.run()
    assert ended.phase is Phase.GONE_BACK
    assert "cabinet-guard" in ended.why
    assert bench.waited_s < TRIAL_S


def test_unit_that_crashes_in_the_last_seconds_goes_back(bench):
    def crash(waited_s: float) -> None:
        if waited_s >= TRIAL_S - 10:
            bench.computer.started_again = ["cabinet-service"]

    bench.while_waiting = crash
    assert bench.run().phase is Phase.GONE_BACK
    assert bench.computer.installed == "old.deb"


def test_newer_database_goes_back_with_the_version(bench):
    bench.computer.problems["new.deb"] = ["wrong"]
    bench.computer.schema_now = 13
    ended = bench.run()
    assert bench.computer.done == ["install new.deb", "install old.deb", "restore before.db", "start"]
    assert "kept beside" in ended.why


def test_database_of_the_same_form_keeps_its_money(bench):
    bench.computer.problems["new.deb"] = ["wrong"]
    bench.run()
    assert not [done for done in bench.computer.done if done.startswith("restore")]


@pytest.mark.parametrize("phase", [Phase.INSTALLING, Phase.TRIAL, Phase.GOING_BACK])
def test_power_cut_meanwhile_goes_back(bench, phase):
    bench.records.save(Trial(old="0.1.0", new="0.2.0", phase=phase, boot_id="before", schema=12, backup="/b/before.db"))
    assert bench.run().phase is Phase.GONE_BACK
    assert bench.computer.done == ["install old.deb", "start"]


def test_power_cut_before_the_installation_changes_nothing(bench):
    bench.computer.boot = "another"
    assert bench.run().phase is Phase.GONE_BACK
    assert (bench.computer.done, bench.records.load()) == ([], None)


def test_going_back_that_fails_is_taken_up_again(bench):
    bench.computer.refuses = {"new.deb", "old.deb"}
    with pytest.raises(CabinetError):
        bench.run()
    bench.computer.refuses = set()
    assert bench.records.load().phase is Phase.GOING_BACK
    assert bench.run().phase is Phase.GONE_BACK


def test_without_an_update_there_is_nothing_to_do(bench):
    bench.run()
    bench.computer.done.clear()
    assert bench.run() is None
    assert bench.computer.done == []


def test_folder_of_somebody_else_is_not_used(tmp_path):
    folder = tmp_path / "update"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(CabinetError, match="not of root alone"):
        Records(folder).check_private()
