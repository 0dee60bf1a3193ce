"""A backup to a stick, where somebody has put links: root writes to the stick and reads backups, and nothing else."""

import os
import stat

import pytest

from cabinet.console.registry import error_text
from cabinet.console.wording import wording
from cabinet.errors import Refused
from cabinet.system.steward.backup_to_usb import FOLDER
from cabinet.system.steward.protocol import BackUp, BackupCopied
from cabinet.texts import LANGUAGES
from cabinet_testing.fake_computer import FakeComputer

NAME = "cabinet-000007-2026-11-25T00-00-00.db"


@pytest.fixture
def computer(tmp_path):
    computer = FakeComputer(tmp_path)
    (computer.backups / NAME).write_bytes(b"of the cabinet")
    return computer


@pytest.fixture
def elsewhere(tmp_path):
    """A file of root's, such as what the next update runs."""
    path = tmp_path / "trial.json"
    path.write_bytes(b"of root")
    return path


def refused(computer, path):
    """The backup is refused for what lies at `path`, and no half file stays behind."""
    failed = computer.steward.answer(BackUp())
    assert (failed.code, failed.params) == ("not_ours", {"path": str(path)})
    folder = computer.stick / FOLDER
    assert folder.is_symlink() or not folder.is_dir() or [p for p in folder.iterdir() if p.is_file()] == []


def test_folder_on_the_stick_that_is_a_link_is_refused(computer, tmp_path):
    target = tmp_path / "of root"
    target.mkdir()
    (computer.stick / FOLDER).symlink_to(target)
    refused(computer, computer.stick / FOLDER)
    assert list(target.iterdir()) == []


def test_folder_on_the_stick_that_is_a_file_is_refused(computer):
    (computer.stick / FOLDER).write_bytes(b"")
    refused(computer, computer.stick / FOLDER)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.part"])
def test_link_in_the_place_of_the_copy_is_replaced_and_not_followed(computer, elsewhere, name):
    (computer.stick / FOLDER).mkdir()
    (computer.stick / FOLDER / name).symlink_to(elsewhere)
    assert isinstance(computer.steward.answer(BackUp()), BackupCopied)
    assert elsewhere.read_bytes() == b"of root"
    copy = computer.stick / FOLDER / NAME
    assert not copy.is_symlink()
    assert copy.read_bytes() == b"of the cabinet"
    assert os.listdir(copy.parent) == [NAME]


def test_link_that_comes_back_while_the_copy_begins_is_not_followed(computer, elsewhere, monkeypatch):
    """The user who mounted the stick may still write to it."""
    (computer.stick / FOLDER).mkdir()
    unlink = os.unlink

    def and_put_back(name, *, dir_fd=None):
        with_link = str(name).endswith(".part")
        if with_link and not (computer.stick / FOLDER / name).is_symlink():
            (computer.stick / FOLDER / name).symlink_to(elsewhere)
            return
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", and_put_back)
    assert "File exists" in computer.steward.answer(BackUp()).text
    assert elsewhere.read_bytes() == b"of root"


@pytest.mark.parametrize("name", [NAME, f"{NAME}.part"])
def test_folder_in_the_place_of_the_copy_is_refused(computer, name):
    (computer.stick / FOLDER / name).mkdir(parents=True)
    refused(computer, computer.stick / FOLDER / name)


def test_backup_that_is_a_link_is_not_read(computer, elsewhere):
    """The service's account makes the backups; what it may not read, root must not carry out for it."""
    (computer.backups / NAME).unlink()
    (computer.backups / NAME).symlink_to(elsewhere)
    refused(computer, computer.backups / NAME)


def test_backup_that_becomes_a_link_when_it_is_opened_is_not_read(computer, elsewhere, monkeypatch):
    lstat = os.lstat

    def and_swap(name, *, dir_fd=None):
        found = lstat(name, dir_fd=dir_fd)
        if name == NAME:
            (computer.backups / NAME).unlink()
            (computer.backups / NAME).symlink_to(elsewhere)
        return found

    monkeypatch.setattr(os, "lstat", and_swap)
    refused(computer, computer.backups / NAME)


def test_backup_that_is_a_pipe_is_waited_for_by_nobody(computer):
    (computer.backups / NAME).unlink()
    os.mkfifo(computer.backups / NAME)
    refused(computer, computer.backups / NAME)


def test_folder_of_backups_that_is_a_link_is_not_read(computer, tmp_path):
    computer.backups.rename(tmp_path / "of root")
    computer.backups.symlink_to(tmp_path / "of root")
    refused(computer, computer.backups)


@pytest.mark.parametrize("name", ["cabinet-999999.db", "cabinet-x.db", f"{NAME}.part", "cabinet-shadow.db"])
def test_only_what_is_called_as_a_backup_is_one(computer, elsewhere, name):
    (computer.backups / name).symlink_to(elsewhere)
    copied = computer.steward.answer(BackUp())
    assert copied.to.endswith(f"/{NAME}")


def test_newest_is_the_one_made_last_whatever_the_clock_said(computer):
    """A computer without a battery makes backups in 1970."""
    later = computer.backups / "cabinet-000008-1970-01-01T00-05-00.db"
    later.write_bytes(b"made last")
    os.utime(later, (300, 300))
    assert computer.steward.answer(BackUp()).to.endswith(f"/{later.name}")


def test_without_a_folder_there_is_no_backup_yet(computer):
    (computer.backups / NAME).unlink()
    computer.backups.rmdir()
    assert computer.steward.answer(BackUp()).code == "no_backup_yet"


def test_copy_is_for_nobody_outside_the_cabinet(computer):
    computer.steward.answer(BackUp())
    assert stat.S_IMODE((computer.stick / FOLDER / NAME).stat().st_mode) & ~0o640 == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_technician_reads_where_the_link_is(computer, language):
    (computer.stick / FOLDER).symlink_to(computer.backups)
    failed = computer.steward.answer(BackUp())
    said = error_text(wording(language), Refused(failed.code, **failed.params))
    assert said == wording(language)("refusal.not_ours", path=str(computer.stick / FOLDER))
