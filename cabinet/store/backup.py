"""Copies of the database that are whole, looking whether it is, and putting a copy in its place.

A backup is made by `VACUUM INTO`, from one state of the file and while others write; it is on disk before it has its
name. Restoring never throws anything away: what was there is kept beside.
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
from cabinet.store import accounts, usage
from cabinet.store.database import Database, translated

KEPT = 7
NUMBERS_LEFT_OUT = 1000  # more charges than a cabinet makes between two backups
ROOM = 1.1  # of the file's size must be free for another of it

_NAME = "cabinet-%Y-%m-%dT%H-%M-%S.db"


class Backup(msgspec.Struct, frozen=True):
    """One copy, and how far it goes."""

    path: Path
    size: int
    sessions: int
    usage_number: int


def folder_of(database: Path) -> Path:
    return database.parent / "backups"


def make(database: Path, wall: WallTime) -> Path:
    """A new backup in the folder beside; older ones than the last `KEPT` go. Raises StoreError."""
    folder = folder_of(database)
    with translated(database):
        folder.mkdir(exist_ok=True)
        if shutil.disk_usage(folder).free < ROOM * database.stat().st_size:
            raise StoreError(f"{folder}: no room for a backup of {database.stat().st_size // 1024} KiB")
        moment = datetime.datetime.fromtimestamp(wall.unix_ms / 1000, datetime.UTC)
        target = folder / moment.strftime(_NAME)
        copy_into(database, target)
        for old in backups(database)[:-KEPT]:
            old.unlink()
    return target


def copy_into(database: Path, target: Path) -> None:
    """One whole copy at `target`, there as a whole or not at all. Raises StoreError."""
    part = target.with_suffix(".part")
    with translated(database):
        part.unlink(missing_ok=True)
        source = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        try:
            source.execute("VACUUM INTO ?", (str(part),))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            source.close()
        sync(part)
        part.replace(target)
        sync(target.parent)


def backups(database: Path) -> list[Path]:
    """The oldest first: their names sort by time."""
    return sorted(folder_of(database).glob("cabinet-*.db"))


def newest(database: Path) -> Path | None:
    return next(reversed(backups(database)), None)


def look_at(path: Path) -> Backup:
    """Raises StoreError for what is no database of ours."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection, translated(path):
        sessions = connection.execute("SELECT count(*) FROM session").fetchone()[0]
        number = connection.execute("SELECT coalesce(max(number), 0) FROM usage_record").fetchone()[0]
    return Backup(path, path.stat().st_size, sessions, number)


def problems(path: Path, thorough: bool = True) -> list[str]:
    """What is wrong with a database, a sentence each: pages, references, ledger, usage log; nothing, if it is whole."""
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
            found += accounts.check(connection)
            bad = usage.verify(connection).bad
            found += [] if bad is None else [f"usage record {bad.number}: {bad.problem}"]
    except StoreError as error:
        found.append(str(error))
    finally:
        database.close()
    return found


def restore(database: Path, backup: Path, wall: WallTime) -> Path | None:
    """Put `backup` in place of the database; returns where what was there is kept now, if anything was.

    The caller holds `only_one`. Raises StoreError; then everything is as it was.
    """
    if wrong := problems(backup):
        raise StoreError(f"{backup}: is not whole: {wrong[0]}")
    fresh = database.with_suffix(".restored")
    with translated(database):
        database.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        shutil.copyfile(backup, fresh)
        copy = Database(fresh)
        try:
            with copy.transaction() as connection:
                last = connection.execute("SELECT coalesce(max(number), 0) FROM session").fetchone()[0]
                connection.execute(
                    "INSERT INTO restored (unix_ms, backup, first_number) VALUES (?, ?, ?)",
                    (wall.unix_ms, backup.name, last + 1 + NUMBERS_LEFT_OUT),
                )
        finally:
            copy.close()
        sync(fresh)
        kept = _set_aside(database, wall)
        fresh.replace(database)
        sync(database.parent)
    return kept


def _set_aside(database: Path, wall: WallTime) -> Path | None:
    if not database.exists():
        return None
    moment = datetime.datetime.fromtimestamp(wall.unix_ms / 1000, datetime.UTC)
    kept = database.with_name(f"{database.name}.before-{moment:%Y-%m-%dT%H-%M-%S}")
    for ending in ("-wal", "-shm", ""):
        part = database.with_name(database.name + ending)
        if part.exists():
            part.replace(kept.with_name(kept.name + ending))
    return kept


@contextlib.contextmanager
def only_one(database: Path) -> Iterator[None]:
    """Held by the service for its life, and while a backup is put in its place. Raises StoreError where it is held."""
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


def sync(path: Path) -> None:
    """A file, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
