"""Files replaced as a whole: old or new content after a cut at any step, on a full disk, with mode and owner kept."""

import errno
import itertools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cabinet.system import atomic_file
from cabinet.system.atomic_file import BLOCK, ReservedFile, keep_copy, replace_content, replacing, write_file

OLD, NEW = b"old content", b"the new content, which is longer"
CUT, COMPLETE = 9, 0
FILE_MODULES = ("posix", "io", "_io", "fcntl")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_bytes(OLD)
    return path


def cut_at(step: int, act: Callable[[], object]) -> int:
    """Run `act` in a process that ends, without any clean-up, before its call number `step` that may touch a file."""
    child = os.fork()
    if child == 0:
        calls = itertools.count()

        def cut(_: object, event: str, function: Any) -> None:
            if event == "c_call" and touches_files(function) and next(calls) == step:
                os._exit(CUT)

        sys.setprofile(cut)
        act()
        os._exit(COMPLETE)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def touches_files(function: Any) -> bool:
    """Return whether a function in C may touch a file: a cut before any other one leaves the same files."""
    return function.__module__ in FILE_MODULES or type(function.__self__).__module__ in FILE_MODULES


WRITERS: dict[str, Callable[[Path], object]] = {
    "write_file": lambda path: write_file(path, NEW),
    "private": lambda path: write_file(path, NEW, 0o600, owner=os.geteuid()),
    "replace_content": lambda path: replace_content(path, NEW),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_cut_at_each_step_leaves_the_old_or_the_new_content_and_the_next_write_succeeds(path, writer):
    found = set()
    for step in itertools.count():
        path.write_bytes(OLD)
        ended = cut_at(step, lambda: writer(path))
        found.add(path.read_bytes())
        writer(path)
        assert path.read_bytes() == NEW
        assert os.listdir(path.parent) == [path.name], "what a cut left is removed by the next write"
        if ended == COMPLETE:
            break
        assert ended == CUT
    assert step > 10
    assert found == {OLD, NEW}


def test_cut_of_a_first_write_leaves_no_file_or_a_complete_one(tmp_path):
    path = tmp_path / "made" / "first"
    found = set()
    for step in itertools.count():
        ended = cut_at(step, lambda: write_file(path, NEW, new=True))
        found.add(path.read_bytes() if path.exists() else None)
        path.unlink(missing_ok=True)
        if ended == COMPLETE:
            break
    assert found == {None, NEW}


@pytest.mark.parametrize("call", ["open", "fsync"])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_disk_that_takes_nothing_keeps_the_old_content_and_its_room(path, writer, call, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        writer(path)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == [path.name]


def test_content_that_cannot_be_produced_changes_nothing(path):
    def interrupted() -> None:
        with replacing(path) as file:
            file.write(NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("synced", "steps"),
    [(True, ["fsync file", "replace", "fsync folder"]), (False, ["replace"])],
    ids=["disk", "memory"],
)
def test_file_is_on_disk_before_its_name_and_the_name_before_the_return(path, monkeypatch, synced, steps):
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced_as(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        assert folder or os.fstat(descriptor).st_size == len(NEW)
        done.append("fsync folder" if folder else "fsync file")
        fsync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        done.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced_as)
    monkeypatch.setattr(Path, "replace", replaced)
    write_file(path, NEW, synced=synced)
    assert done == steps


def test_new_folder_is_synced_into_its_parent(tmp_path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(atomic_file, "sync", synced.append)
    write_file(tmp_path / "state" / "file", NEW)
    assert synced == [tmp_path, tmp_path / "state"]


def test_new_folder_of_files_in_memory_waits_for_no_disk(tmp_path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(atomic_file, "sync", synced.append)
    write_file(tmp_path / "run" / "file", NEW, synced=False)
    ReservedFile(tmp_path / "status" / "file", BLOCK, synced=False).write(NEW)
    assert synced == []


def test_folder_that_cannot_be_synced_is_an_error_and_the_new_content_is_there(path, monkeypatch):
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(atomic_file, "sync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_file(path, NEW)
    assert path.read_bytes() == NEW
    assert os.listdir(path.parent) == [path.name]


def test_file_has_its_mode_and_owner_before_its_content(path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))
    with replacing(path, 0o600, owner=1234) as file:
        found = os.fstat(file.fileno())
        assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o600, 0)
        assert given == [(1234, -1)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_left_readable_by_others_gives_the_next_one_neither_its_mode_nor_its_content(path):
    part = path.with_name("state.json.part")
    part.write_bytes(b"left by a process that was killed, and longer than the new content")
    part.chmod(0o666)
    write_file(path, NEW, 0o600)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, 0o600)


def test_link_in_place_of_the_unfinished_file_is_not_followed(path, tmp_path):
    target = tmp_path / "of another program"
    target.write_bytes(OLD)
    path.with_name("state.json.part").symlink_to(target)
    write_file(path, NEW)
    assert (path.read_bytes(), target.read_bytes()) == (NEW, OLD)


def test_link_in_place_of_the_file_is_replaced_not_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    write_file(link, NEW)
    assert (link.is_symlink(), link.read_bytes(), path.read_bytes()) == (False, NEW, OLD)


def test_new_file_replaces_none(path):
    with pytest.raises(FileExistsError):
        write_file(path, NEW, new=True)
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == [path.name]


def test_file_of_another_program_keeps_mode_and_owner(path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))
    path.chmod(0o604)
    replace_content(path, NEW)
    assert given == [(path.stat().st_uid, path.stat().st_gid)]
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, 0o604)


def test_file_system_without_owners_is_no_error(path, monkeypatch):
    def none(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not on FAT")

    monkeypatch.setattr(os, "fchown", none)
    replace_content(path, NEW)
    assert path.read_bytes() == NEW


def test_copy_keeps_the_original_state(path):
    copy = path.with_name("before")
    path.chmod(0o604)
    keep_copy(path, copy)
    path.write_bytes(NEW)
    keep_copy(path, copy)
    assert (copy.read_bytes(), stat.S_IMODE(copy.stat().st_mode)) == (OLD, 0o604)
