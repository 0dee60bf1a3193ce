"""`cabinet update install` up to the moment it hands over to the unit: refused with every reason, or prepared."""

import argparse
import shutil
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cabinet.commands import update
from cabinet.errors import CabinetError
from cabinet.system.update import bundle
from cabinet.system.update.bundle import Manifest
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.trial import UpdatePhase, UpdateRecord, required_bytes
from cabinet_testing.fake_computer import KEYS, OURS, FakeInstalledComputer


class FakeUpdateComputer(FakeInstalledComputer):
    """An arm64 cabinet with 0.1.0 on it, with no objection to an update."""

    def __init__(self) -> None:
        super().__init__()
        self.charges = 0
        self.machine = "arm64"
        self.packed: list[object] = []
        self.done: list[object] = []
        self.while_packing = lambda: None
        self.gave_up: list[str] = []

    def architecture(self):
        return self.machine

    def sessions(self):
        return self.charges

    def pack_installed(self, files, package):
        self.packed.append(package)
        self.done.append("pack")
        self.while_packing()

    def sync(self):
        self.done.append("sync")

    def watcher_gave_up(self):
        return self.gave_up.pop(0) if self.gave_up else ""

    def boot_id(self):
        return "this"

    def schema(self):
        return 12

    def back_up(self):
        self.done.append("back up")
        return "/b/before.db"


@pytest.fixture
def computer(monkeypatch, tmp_path):
    computer = FakeUpdateComputer()
    monkeypatch.setattr(update, "Computer", lambda config: computer)
    monkeypatch.setattr(update, "trusted_keys", lambda: KEYS)
    return computer


@pytest.fixture
def records(tmp_path):
    return UpdateFolder(tmp_path / "update")


@pytest.fixture
def prepare(tmp_path, records, computer):
    """Has the command prepare a bundle of a package of 11,000 bytes."""

    def prepared(version="0.2.0", **asked):
        package = tmp_path / "cabinet.deb"
        package.write_bytes(b"the package" * 1000)
        manifest = Manifest(
            format=1, version=version, architecture="arm64", python="3.11", size=package.stat().st_size,
            sha256=bundle.sha256_of(package),
        )  # fmt: skip
        bundle.write(tmp_path / "a.bundle", package, manifest, OURS)
        words = {"config": tmp_path / "cabinet.toml", "during_sessions": False, "older": False, **asked}
        return update._prepare(argparse.Namespace(bundle=tmp_path / "a.bundle", **words), records)

    return prepared


def test_bundle_is_put_in_place_with_all_that_going_back_needs(prepare, records, computer, capsys):
    trial = prepare()
    assert trial == records.load()
    assert trial == UpdateRecord(
        old="0.1.0", new="0.2.0", phase=UpdatePhase.PREPARED, boot_id="this", schema=12, backup="/b/before.db",
        sha256=bundle.sha256_of(records.new),
    )  # fmt: skip
    assert records.new.read_bytes() == b"the package" * 1000
    assert computer.packed == [records.old]
    assert "version 0.2.0, signed by maker; 0.1.0 is packed to go back to" in capsys.readouterr().out


def test_what_going_back_needs_is_on_disk_before_the_record_and_the_database_is_the_latest(prepare, records, computer):
    """The packed files judge after a power cut; a payment after the backup would be lost."""
    computer.sync = lambda: computer.done.append(("sync", records.load()))
    prepare()
    assert computer.done == ["pack", ("sync", None), "back up"]


def test_what_was_asked_for_is_remembered(prepare, computer):
    computer.charges = 1
    assert prepare(during_sessions=True).during_sessions


def test_two_at_once_do_not_touch_each_others_packages(prepare, records, computer):
    """The second one's is not verified yet when the first one's is put in place."""
    met = []

    def second() -> None:
        with pytest.raises(CabinetError, match="another update is under way"):
            prepare()
        met.append(records.incoming.exists())

    computer.while_packing = second
    prepare()
    assert met == [False]
    assert records.new.read_bytes() == b"the package" * 1000


def test_refused_bundle_names_every_reason_and_leaves_nothing(prepare, records, computer):
    computer.charges, computer.machine = 2, "armhf"
    with pytest.raises(CabinetError) as refused:
        prepare("0.0.9")
    assert str(refused.value).splitlines() == [
        "the bundle is for arm64, this computer is armhf",
        "version 0.0.9 is not newer than 0.1.0: --older installs it all the same",
        "2 charges run: wait, or --during-sessions pauses them for the update and goes on with them",
    ]
    assert (list(records.folder.iterdir()), computer.packed) == ([], [])


def test_update_under_way_is_not_disturbed(prepare, records):
    records.check_private()
    records.save(UpdateRecord(old="0.0.9", new="0.1.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=12))
    with pytest.raises(CabinetError, match=r"version 0\.1\.0 is on trial"):
        prepare()
    assert records.load().phase is UpdatePhase.TRIAL
    assert not records.new.exists()


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (1, True)])
def test_package_that_lies_there_already_needs_no_room_a_second_time(prepare, monkeypatch, missing, refused):
    """The inspection of the stick, which copies nothing, then reports the same."""
    size = 11_000
    sizes: Any = (SimpleNamespace(size=size), SimpleNamespace(installed=3000))
    needed = required_bytes(*sizes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - size - missing))
    if refused:
        with pytest.raises(CabinetError, match="are needed"):
            prepare()
    else:
        prepare()


# --- following what happens -------------------------------------------------------------------------------------------


@pytest.fixture
def trial(records):
    records.check_private()
    trial = UpdateRecord(old="0.1.0", new="0.2.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=12)
    records.save(trial)
    return trial


def test_update_is_followed_to_its_end(records, computer, trial, capsys):
    ended = msgspec.structs.replace(trial, phase=UpdatePhase.KEPT)
    assert update._follow(computer, records, trial, lambda seconds: records.end(ended)) == 0
    assert capsys.readouterr().out == "version 0.2.0 is on trial\nversion 0.2.0 is installed and stays\n"


@pytest.mark.parametrize("state", ["failed", "dead", "auto-restart"])
def test_update_that_nobody_sees_through_any_more_is_not_waited_for(records, computer, trial, state):
    computer.gave_up = ["", state]
    with pytest.raises(CabinetError, match=rf"cabinet-update\.service.*\({state}\).*journalctl"):
        update._follow(computer, records, trial, lambda seconds: None)
    assert records.load() == trial


def test_watcher_that_ends_its_record_and_then_itself_has_not_failed(records, computer, trial):
    """Asked in this order, whatever comes between."""

    def gave_up():
        records.end(msgspec.structs.replace(trial, phase=UpdatePhase.GONE_BACK))
        return "dead"

    computer.watcher_gave_up = gave_up
    assert update._follow(computer, records, trial, lambda seconds: None) == 1
