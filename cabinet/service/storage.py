"""The database as the event loop sees it: every call in a thread of its own, so that a slow disk holds up no page.

Writes go through one thread and one connection in the order they were asked for; reads have another of each.
"""

import asyncio
import functools
import logging
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from cabinet.clock import WallTime
from cabinet.errors import StorageFull, StoreDamaged, StoreError
from cabinet.store import backup
from cabinet.store.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

RESERVE_BYTES = 8 * 1024 * 1024  # below this no new session starts, so that the running ones can still be settled


class Storage:
    """`full` from the first write that found no room until one that did; `short` as the disk was last measured.

    `damaged`: the file is not a whole database any more; only a restart with another one ends that.
    """

    def __init__(self, path: Path, connection_class: type[sqlite3.Connection] = sqlite3.Connection) -> None:
        self._path = path
        self._connection_class = connection_class
        self._write_thread = ThreadPoolExecutor(1, "store-write")
        self._read_thread = ThreadPoolExecutor(1, "store-read")
        self._writer: Database | None = None
        self._reader: Database | None = None
        self.full = False
        self.short = False
        self.damaged = False

    async def open(self) -> None:
        """Create or migrate the file, and look whether it is whole: `damaged`, where it is not; `full`, without room.

        May be called again where there was no room. Raises StoreError.
        """
        backup.check_not_half_restored(self._path)
        open_writer = functools.partial(Database, self._path, connection_class=self._connection_class)
        try:
            self._writer = await self._in(self._write_thread, open_writer)
            self._reader = await self._in(self._read_thread, functools.partial(Database, self._path, read_only=True))
        except StoreDamaged as error:
            self._found_damaged(str(error))
        except StorageFull as error:
            log.error("no sessions until there is room: %s", error)
            self.full = True
        else:
            self.full = False
            wrong = await self._in(self._read_thread, functools.partial(backup.problems, self._path, thorough=False))
            if wrong:
                self._found_damaged(wrong[0])
        await self.measure()

    def _found_damaged(self, what: str) -> None:
        if not self.damaged:
            log.critical("no sessions until a backup is restored: %s", what)
        self.damaged = True

    async def back_up(self, wall: WallTime) -> None:
        """A new backup, in a thread of its own. Raises StoreError; never of a damaged file."""
        if not self.damaged:
            try:
                path = await asyncio.to_thread(backup.make, self._path, wall)
            except StoreDamaged as error:
                self._found_damaged(str(error))
                raise
            log.info("backup: %s", path)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction and return what it returns, committed.

        Raises StorageFull (nothing of it was kept), StoreError, and whatever `work` raises. Where the caller is
        cancelled meanwhile, the transaction still runs to its end.
        """
        try:
            result = await self._in(self._write_thread, functools.partial(self._transact, work))
        except StorageFull as error:
            if not self.full:
                log.error("no new sessions until there is room: %s", error)
            self.full = True
            raise
        except StoreDamaged as error:
            self._found_damaged(str(error))
            raise
        if self.full:
            log.warning("the disk takes writes again")
        self.full = False
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns from the last committed state. Raises StoreError."""
        try:
            return await self._in(self._read_thread, functools.partial(self._look, work))
        except StoreDamaged as error:
            self._found_damaged(str(error))
            raise

    async def measure(self) -> None:
        """Look how much room there is."""
        self.short = await self._in(self._read_thread, self._is_short)

    def _is_short(self) -> bool:
        try:
            return shutil.disk_usage(self._path.parent).free < RESERVE_BYTES
        except OSError:
            return True

    @property
    def is_open(self) -> bool:
        """Whether there is anything to read and write."""
        return self._writer is not None and self._reader is not None

    @property
    def hindrance(self) -> str | None:
        """Why no new session may start as far as the database goes: storage_damaged, storage_full, or None."""
        if self.damaged:
            return "storage_damaged"
        return "storage_full" if self.short_of_room else None

    @property
    def short_of_room(self) -> bool:
        """Whether new sessions must wait for room on the disk."""
        return self.full or self.short

    async def close(self) -> None:
        """What was asked for before still runs; then the connections are closed."""
        for thread, database in ((self._read_thread, self._reader), (self._write_thread, self._writer)):
            if database is not None:
                await self._in(thread, database.close)
            thread.shutdown(wait=False)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise self._not_open()
        with self._writer.transaction() as connection:
            return work(connection)

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise self._not_open()
        with self._reader.reading() as connection:
            return work(connection)

    def _not_open(self) -> StoreError:
        if self.damaged:
            return StoreDamaged(f"{self._path}: is damaged")
        return StorageFull(f"{self._path}: could not be opened for want of room")

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
