"""`cabinet update install` up to the moment it hands over to the unit: refused with every reason, or prepared."""

import argparse
import shutil
from types import SimpleNamespace

import pytest

from cabinet.commands import update
from cabinet.errors import CabinetError
from cabinet.update import bundle
from cabinet.update.bundle import Manifest
from cabinet.update.records import Records
from cabinet.update.trial import Phase, Trial, room
from tests.unit.steward.stage import PlayedSystem
from tests.unit.update.test_bundle import KEYS, OURS


class PlayedComputer(PlayedSystem):
    """An arm64 cabinet with 0.1.0 on it, where nothing stands against an update."""

    def __init__(self) -> None:
        super().__init__()
        self.charges = 0
        self.machine = "arm64"
        self.packed = []

    def architecture(self):
        return self.machine

    def sessions(self):
        return self.charges

    def pack_installed(self, files, package):
        self.packed.append(package)

    def boot_id(self):
        return "this"

    def schema(self):
        return 12

    def back_up(self):
        return "/b/before.db"


@pytest.fixture
def computer(monkeypatch, tmp_path):
    played = PlayedComputer()
    monkeypatch.setattr(update, "Computer", lambda config: played)
    monkeypatch.setattr(update, "trusted", lambda: KEYS)
    return played


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "update")


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
    assert trial == Trial(
        old="0.1.0", new="0.2.0", phase=Phase.PREPARED, boot_id="this", schema=12, backup="/b/before.db"
    )
    assert records.new.read_bytes() == b"the package" * 1000
    assert computer.packed == [records.old]
    assert "version 0.2.0, signed by maker; 0.1.0 is packed to go back to" in capsys.readouterr().out


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
    records.save(Trial(old="0.0.9", new="0.1.0", phase=Phase.TRIAL, boot_id="this", schema=12))
    with pytest.raises(CabinetError, match=r"version 0\.1\.0 is on trial"):
        prepare()
    assert records.load().phase is Phase.TRIAL
    assert not records.new.exists()


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (1, True)])
def test_package_that_lies_there_already_needs_no_room_a_second_time(prepare, monkeypatch, missing, refused):
    """So that a look at the stick, which copies nothing, says the same."""
    size = 11_000
    needed = room(SimpleNamespace(size=size), SimpleNamespace(installed=3000))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - size - missing))
    if refused:
        with pytest.raises(CabinetError, match="are needed"):
            prepare()
    else:
        prepare()
