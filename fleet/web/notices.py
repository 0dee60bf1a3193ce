"""Notices of the database: which cabinet has something new. One connection of each web process listens for them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator

import psycopg

from cabinet.errors import StoreError
from fleet.store import database

log = logging.getLogger(__name__)

CHANNEL = "fleet_cabinet"
MIN_GAP_S = 0.5  # between two looks of one viewer
AGAIN_S = 1.0  # after the connection was lost


class CabinetNotices:
    """Wakes the viewers of a cabinet. `run` until cancelled; without it pages only renew themselves."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._closed = False
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def subscribed(self, cabinet: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the cabinet has something new."""
        changed = asyncio.Event()
        watchers = self._watchers.setdefault(cabinet, set())
        watchers.add(changed)
        try:
            yield changed
        finally:
            watchers.discard(changed)
            if not watchers and self._watchers.get(cabinet) is watchers:
                del self._watchers[cabinet]

    async def watch(self, cabinet: str, at_least_every_s: float) -> AsyncGenerator[None, None]:
        """Yield at once, then after each notice, at least every `at_least_every_s`; end with `close`."""
        with self.subscribed(cabinet) as changed:
            while not self._closed:
                changed.clear()
                yield None
                await asyncio.sleep(MIN_GAP_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), at_least_every_s)

    def touch(self, cabinet: str) -> None:
        for watcher in self._watchers.get(cabinet, ()):
            watcher.set()

    def close(self) -> None:
        """End every watch: open pages must not delay the end of the process."""
        self._closed = True
        self._touch_all()

    async def run(self) -> None:
        """Listen until cancelled; connect again if the connection is lost."""
        while True:
            try:
                connection = await database.connect(self._url, autocommit=True)
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self.listening.set()
                    self._touch_all()  # notices may have been missed
                    async for notice in connection.notifies():
                        self.touch(notice.payload)
            except (psycopg.Error, StoreError) as error:
                log.warning("notices of the database: %s; trying again", " ".join(str(error).split()))
            self.listening.clear()
            await asyncio.sleep(AGAIN_S)

    def _touch_all(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.set()
