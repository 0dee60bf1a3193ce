"""Background tasks, which run to their end even if no caller waits."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from cabinet.errors import CabinetError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """Keeps its tasks from being collected (the event loop does not) and logs their unexpected errors."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, CabinetError):
            log.error("a task of the service failed", exc_info=error)

    async def finished(self) -> None:
        """Wait for all tasks, and for those they start."""
        while self._tasks:
            await asyncio.wait(self._tasks)
