"""Database access for the event loop: every call runs in a worker thread, so a slow disk delays no page.

Writes go through one thread and one connection in the order of the calls; reads have another of each.
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
from cabinet.errors import Refused, StorageFull, StoreDamaged, StoreError
from cabinet.store import backup
from cabinet.store.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

RESERVE_BYTES = 8 * 1024 * 1024  # if less is free, no new session starts: running ones must still be settled


class Storage:
    """The database file. `full`: from a write that found no room until one that succeeds; `short`: as last measured.

    `damaged`: the file is no longer an intact database; only a restart with another file clears this.
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
        """Create or migrate the file and check it: set `damaged` if it is not intact, `full` if there is no room.

        May be called again if there was no room. Raises StoreError.
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
        """Make a backup, in a thread of its own, unless the file is damaged. Raises StoreError."""
        if not self.damaged:
            try:
                path = await asyncio.to_thread(backup.make, self._path, wall)
            except StoreDamaged as error:
                self._found_damaged(str(error))
                raise
            log.info("backup: %s", path)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction and return its result, committed.

        Raises StorageFull (nothing was kept), StoreError, and any exception of `work`. If the caller is cancelled
        meanwhile, the transaction still runs to its end.
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

    async def write_or_refuse(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Write as `write` does, for a person's request. Refuses storage_full."""
        try:
            return await self.write(work)
        except StorageFull as full:
            raise Refused("storage_full") from full

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `work` on the last committed state. Raises StoreError."""
        try:
            return await self._in(self._read_thread, functools.partial(self._query, work))
        except StoreDamaged as error:
            self._found_damaged(str(error))
            raise

    async def measure(self) -> None:
        """Measure the free room."""
        self.short = await self._in(self._read_thread, self._is_short)

    def _is_short(self) -> bool:
        try:
            return shutil.disk_usage(self._path.parent).free < RESERVE_BYTES
        except OSError:
            return True

    @property
    def is_open(self) -> bool:
        """Return whether the database can be read and written."""
        return self._writer is not None and self._reader is not None

    @property
    def refusal(self) -> str | None:
        """Return the code if the database permits no new session (storage_damaged, storage_full), else None."""
        if self.damaged:
            return "storage_damaged"
        return "storage_full" if self.short_of_room else None

    @property
    def short_of_room(self) -> bool:
        """Return whether new sessions must wait for room on the disk."""
        return self.full or self.short

    async def close(self) -> None:
        """Finish the calls made before, then close the connections."""
        for thread, database in ((self._read_thread, self._reader), (self._write_thread, self._writer)):
            if database is not None:
                await self._in(thread, database.close)
            thread.shutdown(wait=False)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise self._not_open()
        with self._writer.transaction() as connection:
            return work(connection)

    def _query(self, work: Callable[[sqlite3.Connection], T]) -> T:
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
