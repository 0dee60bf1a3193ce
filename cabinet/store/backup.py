"""Backups of the database: make, check and restore complete copies.

`VACUUM INTO` makes a backup from one state of the file while other processes write; the backup is on disk before it
gets its name. A restore deletes nothing: the replaced database is kept in the same folder.
"""

import contextlib
import datetime
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cabinet.clock import WallTime
from cabinet.errors import StoreError
from cabinet.store import consistency_check, file_owner, ledger_books, outbox, usage
from cabinet.store.database import Database, translated
from cabinet.system import backup_names
from cabinet.system.atomic_file import replacing, sync, write_file

KEPT = 7
NUMBERS_LEFT_OUT = 1000  # more charges than a cabinet makes between two backups
ROOM = 1.1  # free space needed for a copy, as a multiple of the file's size
BEFORE_UPDATE = "before-update.db"  # not counted in `KEPT`: the new version's first start could push it out


class Backup(msgspec.Struct, frozen=True):
    """One backup: its size, the number of its sessions and its last usage record."""

    path: Path
    size: int
    sessions: int
    usage_number: int


def folder_of(database: Path) -> Path:
    return database.parent / "backups"


def make(database: Path, wall: WallTime, folder: Path | None = None) -> Path:
    """Make a backup in `folder` (default: `folder_of(database)`) and keep only `KEPT` there. Raises StoreError."""
    if folder is None:
        file_owner.check_account(database)
        folder = folder_of(database)
    with translated(database):
        folder.mkdir(exist_ok=True)
        with _alone_in(folder):
            _make_room(database, folder)
            moment = datetime.datetime.fromtimestamp(wall.unix_ms / 1000, datetime.UTC)
            number = max((backup_names.number(path.name) for path in backups_in(folder)), default=0) + 1
            target = folder / f"cabinet-{number:06}-{moment:%Y-%m-%dT%H-%M-%S}.db"
            copy_into(database, target)
            for old in surplus(backups_in(folder)):
                old.unlink()
    return target


def make_before_update(database: Path) -> Path:
    """Make the backup that an update goes back to; it replaces the one of the last update. Raises StoreError."""
    folder = folder_of(database)
    with translated(database):
        folder.mkdir(exist_ok=True)
        with _alone_in(folder):
            _make_room(database, folder)
            copy_into(database, folder / BEFORE_UPDATE)
    return folder / BEFORE_UPDATE


def _make_room(database: Path, folder: Path) -> None:
    for part in folder.glob("*.part"):
        part.unlink()  # left by a backup that was killed
    if shutil.disk_usage(folder).free < ROOM * database.stat().st_size:
        raise StoreError(f"{folder}: no room for a backup of {database.stat().st_size // 1024} KiB")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder; wait first until no other process makes a backup there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def surplus(paths: list[Path]) -> list[Path]:
    """Return the backups to delete, of `paths`, oldest first: the earlier ones of a day with several, then the oldest.

    A service that restarts repeatedly therefore does not push out the backups of earlier days.
    """
    kept, gone = list(paths), []
    while len(kept) > KEPT:
        days = [backup_names.day(path.name) for path in kept]
        first = next((index for index, day in enumerate(days) if day in days[index + 1 :]), 0)
        gone.append(kept.pop(first))
    return gone


def copy_into(database: Path, target: Path) -> None:
    """Copy the database to `target`, completely or not at all. Raises StoreError."""
    mode = 0o600  # of the database: the copy holds the same secrets
    with translated(database), replacing(target, mode) as copy:
        source = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        try:
            source.execute("VACUUM INTO ?", (copy.name,))
        finally:
            source.close()


def copy_beside(files: list[Path], folder: Path) -> None:
    """Copy the files that a restored database needs, each private, completely or not at all. Raises StoreError."""
    for file in files:
        with translated(folder / file.name):
            write_file(folder / file.name, file.read_bytes(), 0o600)


def backups(database: Path) -> list[Path]:
    """Return the backups in the order of creation."""
    return backups_in(folder_of(database))


def backups_in(folder: Path) -> list[Path]:
    """Return the backups in the order of creation."""
    found = [path for path in folder.glob("cabinet-*.db") if backup_names.is_backup(path.name)]
    return sorted(found, key=lambda path: backup_names.order(path.name))


def newest(database: Path) -> Path | None:
    return next(reversed(backups(database)), None)


def inspect(path: Path) -> Backup:
    """Return the facts of one backup. Raises StoreError if it is not a database of this program."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection, translated(path):
        sessions = connection.execute("SELECT count(*) FROM session").fetchone()[0]
        number = connection.execute("SELECT coalesce(max(number), 0) FROM usage_record").fetchone()[0]
    return Backup(path, path.stat().st_size, sessions, number)


def problems(path: Path, thorough: bool = True) -> list[str]:
    """Return the problems of a database, one sentence each; empty if it is intact.

    `thorough`: in addition to the pages, check references, ledger, usage log, and whether these agree.
    """
    try:
        database = Database(path, read_only=True)
    except StoreError as error:
        return [str(error)]
    found: list[str] = []
    try:
        with database.reading() as connection:
            kind = "integrity_check" if thorough else "quick_check"
            found = [row[0] for row in connection.execute(f"PRAGMA {kind}(20)") if row[0] != "ok"]
            if found or not thorough:
                return found
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
            found = [f"a row of {row[0]} refers to nothing in {row[2]}" for row in dangling[:20]]
            found += ledger_books.check(connection)
            bad = usage.verify(connection).bad
            found += [] if bad is None else [f"usage record {bad.number}: {bad.problem}"]
            found += consistency_check.problems(connection)
    except StoreError as error:
        found.append(str(error))
    finally:
        database.close()
    return found


def restore(database: Path, backup: Path, wall: WallTime) -> Path | None:
    """Replace the database with `backup`; return the new path of the old database, or None if there was none.

    The caller holds `exclusive_lock`. Raises StoreError; the database is then unchanged.
    """
    file_owner.check_account(database)
    if wrong := problems(backup):
        raise StoreError(f"{backup}: is not whole: {wrong[0]}")
    fresh = database.with_suffix(".restored")
    with translated(database):
        database.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.touch(0o600, exist_ok=False)  # independent of the backup's mode: on a stick it may be world-readable
        shutil.copyfile(backup, fresh)
        copy = Database(fresh)
        try:
            with copy.transaction() as connection:
                last = connection.execute("SELECT coalesce(max(number), 0) FROM session").fetchone()[0]
                connection.execute(
                    "INSERT INTO restored (unix_ms, backup, first_number) VALUES (?, ?, ?)",
                    (wall.unix_ms, backup.name, last + 1 + NUMBERS_LEFT_OUT),
                )
                outbox.forget(connection)  # the fleet has facts that this store never wrote: another epoch begins
        finally:
            copy.close()
        sync(fresh)
        kept = _set_aside(database, wall)
        fresh.replace(database)
        sync(database.parent)
    return kept


def _set_aside(database: Path, wall: WallTime) -> Path | None:
    parts = [database.with_name(database.name + ending) for ending in ("", "-wal", "-shm")]
    if not any(part.exists() for part in parts):
        return None
    moment = datetime.datetime.fromtimestamp(wall.unix_ms / 1000, datetime.UTC)
    kept = database.with_name(f"{database.name}.before-{moment:%Y-%m-%dT%H-%M-%S}")
    for part in parts:
        if part.exists():
            part.replace(kept.with_name(kept.name + part.name.removeprefix(database.name)))
    sync(database.parent)
    return kept


def check_not_half_restored(database: Path) -> None:
    """Raise StoreError if a restore was interrupted before the rename: no empty database must be created then."""
    if not database.exists() and database.with_suffix(".restored").exists():
        raise StoreError(f"{database}: a restore of it was interrupted: run `cabinet store restore` again")


@contextlib.contextmanager
def exclusive_lock(database: Path) -> Iterator[None]:
    """Hold the database: the service for its lifetime, a restore while it replaces the file.

    Raises StoreError if another process holds it, or if the account is the wrong one (`owner`).
    """
    file_owner.check_account(database)
    path = database.with_suffix(".lock")
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{database}: the service is running with it: stop that first") from None
        yield
