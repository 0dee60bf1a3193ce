"""One account writes the database: root makes no files that lock it out, and whom a file locks out is told why."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from cabinet.clock import WallTime
from cabinet.errors import StorageFull, StoreError
from cabinet.main import main
from cabinet.service.storage import Storage
from cabinet.store import backup, file_owner, residents
from cabinet.store.database import Database

ACCOUNT, GROUP = 52_001, 52_002  # of nobody
WALL = WallTime(1_780_000_000_000, True)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another account")


@contextlib.contextmanager
def account() -> Iterator[None]:
    """Act as another account meanwhile, if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(GROUP, GROUP, 0)
    os.setresuid(ACCOUNT, ACCOUNT, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder as the package makes it, where others than root come through to; there is no database in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        state = Path(folder) / "state"
        state.mkdir()
        if os.geteuid() == 0:
            os.chown(state, 0, GROUP)
        state.chmod(0o3770)
        yield state


@pytest.fixture
def path(state: Path) -> Path:
    """A database of the account, in use before."""
    path = state / "cabinet.db"
    with account():
        Database(path).close()
        backup.make(path, WALL)
    return path


def owners(folder: Path) -> dict[str, int]:
    return {str(each.relative_to(folder)): each.stat().st_uid for each in folder.rglob("*")}


def open_to_write(path: Path) -> None:
    Database(path).close()


def restore(path: Path) -> None:
    backup.restore(path, backup.backups(path)[-1], WALL)


def hold(path: Path) -> None:
    with backup.exclusive_lock(path):
        pass


def back_up(path: Path) -> None:
    backup.make(path, WALL)


def add(database: Database) -> None:
    with database.transaction() as connection:
        residents.add(connection, "1001", "", "hash", 0)


@as_root
@pytest.mark.parametrize("work", [open_to_write, back_up, restore, hold])
def test_root_writes_nothing_beside_the_database_of_another(path, state, work):
    before = owners(state)
    with pytest.raises(StoreError, match=f"put before the command: sudo -u #{ACCOUNT}$"):
        work(path)
    assert owners(state) == before
    assert set(before.values()) == {ACCOUNT}
    with account():
        work(path)


@as_root
@pytest.mark.parametrize("work", [open_to_write, hold])
def test_root_makes_no_database_in_the_folder_that_the_package_made(state, work):
    with pytest.raises(StoreError, match=r"put before the command: sudo -u cabinet-service$"):
        work(state / "cabinet.db")
    assert owners(state) == {}


@as_root
def test_root_makes_no_database_in_the_folder_of_another(state):
    os.chown(state, ACCOUNT, GROUP)
    with pytest.raises(StoreError, match=f"sudo -u #{ACCOUNT}$"):
        Database(state / "cabinet.db")


@as_root
def test_root_works_in_a_folder_of_its_own(state):
    os.chown(state, 0, 0)
    state.chmod(0o755)
    path = state / "cabinet.db"
    for work in (open_to_write, hold, back_up, restore):
        work(path)
    assert set(owners(state).values()) == {0}


@as_root
def test_root_may_read_and_leaves_nothing_that_locks_the_account_out(path, state):
    """SQLite makes the files beside the database; to root's it gives the database's owner."""
    database = Database(path, read_only=True)
    with database.reading() as connection:
        connection.execute("SELECT count(*) FROM session").fetchone()
        assert set(owners(state).values()) == {ACCOUNT}
    database.close()
    assert backup.problems(path) == []
    assert set(owners(state).values()) == {ACCOUNT}
    with account():
        open_to_write(path)


@as_root
def test_root_may_copy_it_to_a_place_of_root(path, state, tmp_path):
    backup.copy_into(path, tmp_path / "copy.db")
    backup.make(path, WALL, tmp_path)
    assert set(owners(state).values()) == {ACCOUNT}


@as_root
@pytest.mark.parametrize(
    "words",
    [("store", "restore", "newest"), ("store", "backup"), ("resident", "add", "10023344"), ("staff", "list"),
     ("ledger", "balance")],
)  # fmt: skip
def test_command_run_as_root_says_how_to_run_it(path, state, words, capsys):
    config = state.parent / "cabinet.toml"
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    config.write_text(text + f'\n[paths]\nstate = "{state}"\nrun = "{state.parent}/run"\n', encoding="utf-8")
    before = owners(state)
    assert main([*words, "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"put before the command: sudo -u #{ACCOUNT}\n")
    assert len(said.splitlines()) == 1
    assert owners(state) == before


@as_root
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_database_of_root_is_said_to_be_and_not_blamed_on_the_disk(path, monkeypatch, mode):
    """Left by a program that still let root restore: opened all the same by SQLite, to read."""
    os.chown(path, 0, 0)
    path.chmod(mode)
    monkeypatch.setattr(file_owner, "SERVICE", f"#{ACCOUNT}")
    with account(), pytest.raises(StoreError, match=f"belongs to root, .* sudo chown #{ACCOUNT}: {path}$") as caught:
        Database(path)
    assert not isinstance(caught.value, StorageFull)


@as_root
@pytest.mark.parametrize(("name", "work"), [("cabinet.db-wal", open_to_write), ("cabinet.lock", hold)])
def test_file_of_root_beside_the_database_is_named(path, state, monkeypatch, name, work):
    (state / name).touch(0o600)
    os.chown(state / name, 0, 0)
    monkeypatch.setattr(file_owner, "SERVICE", f"#{ACCOUNT}")
    with account(), pytest.raises(StoreError, match=f"{name}: belongs to root, .* sudo chown #{ACCOUNT}: "):
        work(path)


@as_root
@pytest.mark.parametrize("read_only", [False, True])
def test_other_account_is_told_whose_it_is(path, monkeypatch, read_only):
    monkeypatch.setattr(f"{__name__}.ACCOUNT", ACCOUNT + 10)
    with account(), pytest.raises(StoreError, match=f": put before the command: sudo -u #{path.stat().st_uid}$"):
        Database(path, read_only=read_only)


def test_database_that_is_ours_and_may_not_be_written_is_told_apart_from_a_full_disk(path):
    path.chmod(0o400)
    with account(), pytest.raises(StoreError, match=f"may not write it: chmod 600 {path}") as caught:
        Database(path)
    assert not isinstance(caught.value, StorageFull)


def test_disk_that_is_read_only_is_one_without_room(path, monkeypatch):
    """The disk takes no writes: the file's owner does not matter, and the check passes."""
    statvfs = os.statvfs

    class ReadOnly:
        f_flag = os.ST_RDONLY | statvfs(path.parent).f_flag

    path.chmod(0o400)
    monkeypatch.setattr(os, "statvfs", lambda where: ReadOnly)
    with account():
        database = Database(path)
        with pytest.raises(StorageFull, match="free some space on its disk"):
            add(database)
        database.close()


def test_folder_that_may_not_be_written_is_named(path, state):
    state.chmod(0o550)
    with account(), pytest.raises(StoreError, match=f"^{state}: .* may not write there: "):
        Database(path)


@as_root
def test_service_that_is_locked_out_does_not_start_and_blames_no_disk(path, monkeypatch):
    """It would take no money and say that the disk is full; its unit is started again until this is put right."""
    os.chown(path, 0, 0)
    path.chmod(0o644)
    monkeypatch.setattr(file_owner, "SERVICE", f"#{ACCOUNT}")
    storage = Storage(path)
    with account(), pytest.raises(StoreError, match="belongs to root"):
        asyncio.run(storage.open())
    assert not storage.full
    asyncio.run(storage.close())
