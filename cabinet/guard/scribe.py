"""Writes what must outlive the guard, from a thread of its own: the loop never waits for a disk.

What could not be written is tried again until it can: a disk that was full may have room again. Meanwhile `unwritten`
names it, for staff to be told.

Latched faults are kept in `latches.json`, replaced as a whole and synced, so that a power cut leaves the old list or
the new one. A file that cannot be read stops the guard: an outlet whose fault was forgotten must not be closed.
"""

import logging
import queue
import threading
from pathlib import Path
from typing import NamedTuple

import msgspec

from cabinet.errors import CabinetError
from cabinet.guard.durable import replace_file
from cabinet.model import Fault

log = logging.getLogger(__name__)

RETRY_S = 5.0


class LatchFileError(CabinetError):
    """`latches.json` is there and cannot be read."""


class Latch(msgspec.Struct, frozen=True):
    """A fault that staff must clear. `why` holds the numbers that tripped it."""

    fault: Fault
    why: dict[str, int]


class _Page(NamedTuple):
    """A file to be written."""

    name: str
    content: bytes
    loss: str


class Scribe:
    """Keeps the latches' file, and writes what else must be kept. `latches` is read once, before the loop starts."""

    def __init__(self, state: Path, retry_s: float = RETRY_S) -> None:
        self.folder = state
        self._retry_s = retry_s
        self._path = state / "latches.json"
        self._pending: dict[str, _Page] = {}  # by name: only the newest of each is written
        self._failed: dict[str, _Page] = {}  # to be tried again
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="scribe", daemon=True)
        self._thread.start()

    def latches(self) -> dict[int, Latch]:
        """Outlet → its latch. Raises LatchFileError."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[int, Latch])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise LatchFileError(
                f"{self._path}: cannot be read ({error}); inspect the cabinet, then remove the file"
            ) from error

    def save(self, latches: dict[int, Latch]) -> None:
        """Write them soon; returns at once."""
        self.write(self._path.name, msgspec.json.encode(latches), "latched faults would be lost with power")

    def write(self, name: str, content: bytes, loss: str) -> None:
        """Replace the file of that name soon; returns at once. `loss` says what it means where that fails."""
        self._pending[name] = _Page(
            name, content, loss
        )  # before its name: whoever takes that finds this or a newer one
        self._queue.put(name)

    @property
    def unwritten(self) -> list[str]:
        """Names of the files that the disk does not take now."""
        return sorted(self._failed)

    def close(self) -> None:
        """Everything handed over is on disk when this returns, as far as the disk takes it."""
        self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while True:
            try:
                name = self._queue.get(timeout=self._retry_s if self._failed else None)
            except queue.Empty:
                self._try_again()
                continue
            if name is None:
                self._try_again()  # for the last time
                return
            page = self._pending.pop(name, None)
            if page is not None:  # otherwise a newer one was written in its place
                self._write(page)

    def _try_again(self) -> None:
        for failed in list(self._failed.values()):
            self._write(failed)

    def _write(self, page: _Page) -> None:
        path = self.folder / page.name
        try:
            replace_file(path, page.content, path.with_suffix(".new"))
        except OSError as error:
            if page.name not in self._failed:  # said once, and not every five seconds
                log.error("%s: cannot be written (%s); %s", path, error, page.loss)
            self._failed[page.name] = page
            return
        if self._failed.pop(page.name, None) is not None:
            log.info("%s: written at last", path)
