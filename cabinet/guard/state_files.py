"""State writer: three copies of the state that must outlive the guard, two of them in files written by a thread.

No disk delays the loop. Latched faults (`latches.json`) and locks (`upkeep.json`) are in the keeper's memory before the
call returns, which survives a killed guard; then in the folder of the sockets, which is memory too and survives the
keeper; then on disk, which survives a power cut. Room for the files is reserved, so a full disk accepts them too.

When a guard starts, it keeps every latch and lock that *any* copy holds: a release counts once it has reached every
copy. If the disk rejects a file, the write is repeated until it succeeds. Until then, and while the disk does not
answer, `writable` is False and nothing closes.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from cabinet.clock import NS, Clock, SystemClock
from cabinet.guard.counters import Counters, MemoryCopy
from cabinet.model import Fault
from cabinet.system.atomic_file import ReservedFile, write_file

log = logging.getLogger(__name__)

RETRY_S = 5.0
LATCHES, MAINTENANCE = "latches.json", "upkeep.json"
# Forty latches with eight numbers each are 12 kB, forty outlets with locks and calibration 30 kB.
ROOM_BYTES = {LATCHES: 32 * 1024, MAINTENANCE: 64 * 1024}
HANGS_NS = 10 * NS  # an SD card may take seconds for one write; after this time it is considered dead

T = TypeVar("T")


class Latch(msgspec.Struct, frozen=True):
    """A fault that staff must clear. `why` holds the numbers that tripped it."""

    fault: Fault
    why: dict[str, int]


class StateCopies(NamedTuple, Generic[T]):
    """The readable copies of one file, newest first. `lost` names the newest if it cannot be read."""

    copies: list[T]
    lost: str
    complete: bool  # every file exists and all are equal, or none exists: nothing is to be written


class _PendingWrite(NamedTuple):
    """A file to be written."""

    name: str
    content: bytes
    loss: str


class StateWriter:
    """Writer of the latches and of other state. `read_copies` and `latches` are called before the loop starts."""

    def __init__(
        self,
        state: Path,
        run: Path | None = None,
        memory: Counters | None = None,
        retry_s: float = RETRY_S,
        clock: Clock | None = None,
    ) -> None:
        """Open the copies. `run` is the guard's own folder in memory; without it and `memory` there is only the disk.

        `clock` measures how long the disk takes: it is the computer's clock, even if the guard runs by another.
        """
        self.folder = state
        self.damaged: list[str] = []  # files found unreadable, with the error of each
        self._retry_s = retry_s
        self._clock = clock or SystemClock()
        self._disk = {name: ReservedFile(state / name, room) for name, room in ROOM_BYTES.items()}
        self._run: dict[str, ReservedFile] = {}
        if run is not None:
            self._run = {name: ReservedFile(run / name, room, synced=False) for name, room in ROOM_BYTES.items()}
        kept = memory or Counters(0)
        self._memory: dict[str, MemoryCopy] = {LATCHES: kept.latches, MAINTENANCE: kept.maintenance_state}
        self._recent_trips = kept.recent_trips
        self._pending: dict[str, _PendingWrite] = {}  # by name: only the newest of each is written
        self._failed: dict[str, _PendingWrite] = {}  # to be tried again
        self._refused: frozenset[str] = frozenset()  # files that the disk rejects
        self._not_in_run: set[str] = set()
        self._busy_since_ns: int | None = None
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._check_files()  # nothing is closed yet, and nothing may close before this is known
        self._thread = threading.Thread(target=self._write_all, name="state-writer", daemon=True)
        self._thread.start()

    # --- State from earlier guards -----------------------------------------------------------------------------------

    def read_copies(self, name: str, kind: type[T]) -> StateCopies[T]:
        """Read every copy of the file. A copy that exists but cannot be read is named in `damaged`.

        It stays in place until the name is written, and its content is saved to another file: if the guard is killed
        meanwhile, the next one must still find a copy.
        """
        copies: list[T] = []
        lost, missing = "", False
        sources: list[MemoryCopy | ReservedFile] = [self._memory[name]]
        sources += [of[name] for of in (self._run, self._disk) if name in of]
        for source in sources:
            try:
                content = source.read()
                if content is not None:
                    copies.append(self._decoded(source, content, kind))
                elif isinstance(source, ReservedFile):
                    missing = True
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                at = source.path if isinstance(source, ReservedFile) else f"{name} in the keeper's memory"
                self.damaged.append(f"{at} ({error})")
                log.error("%s: cannot be read (%s)", at, error)
                if not copies:
                    lost = lost or str(at)
                missing = True
        same = not missing and all(copy == copies[0] for copy in copies)
        return StateCopies(copies, lost, same or not (copies or lost))

    def _decoded(self, source: MemoryCopy | ReservedFile, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, ValueError):
            if isinstance(source, ReservedFile):
                _keep_beside(source.path.with_suffix(".damaged"), content)
            raise

    def latches(self) -> StateCopies[dict[int, Latch]]:
        """Return all copies, outlet → latch. The first merges the others; there the newest copy names the fault."""
        recalled = self.read_copies(LATCHES, dict[int, Latch])
        merged: dict[int, Latch] = {}
        for copy in reversed(recalled.copies):
            merged.update(copy)
        return recalled._replace(copies=[merged, *recalled.copies])

    def recent_trips(self) -> dict[int, list[int]]:
        """Map each outlet to the times of its last trips, as kept by the previous guard under the same keeper."""
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            if (content := self._recent_trips.read()) is not None:
                return msgspec.json.decode(content, type=dict[int, list[int]])
        return {}

    # --- Writing -----------------------------------------------------------------------------------------------------

    def save(self, latches: dict[int, Latch]) -> None:
        """Keep the latches in memory now and write them soon; return at once."""
        self.write(LATCHES, msgspec.json.encode(latches), "latched faults would be lost with power")

    def write(self, name: str, content: bytes, loss: str) -> None:
        """Replace the content of that name; return at once. `loss` states the consequence if the disk rejects it."""
        self._write_memory(name, content)
        self._pending[name] = _PendingWrite(
            name, content, loss
        )  # before its name: the thread finds this or a newer page
        self._queue.put(name)

    def keep_trips(self, trips: dict[int, list[int]]) -> None:
        """Keep the times of trips, in memory only: they are times of this boot."""
        self._recent_trips.write(msgspec.json.encode(trips))

    def _write_memory(self, name: str, content: bytes) -> None:
        try:
            self._memory[name].write(content)
        except ValueError as error:
            log.error("%s: not kept in memory: %s", name, error)

    @property
    def writable(self) -> bool:
        """Return whether a latch set now would reach the disk: it accepts every file, answers, and the thread runs."""
        since_ns = self._busy_since_ns
        hangs = since_ns is not None and self._clock.monotonic_ns() - since_ns > HANGS_NS
        return not self._refused and not hangs and self._thread.is_alive()

    @property
    def unwritten(self) -> list[str]:
        """Names of the files that the disk rejects now."""
        return sorted(self._refused)

    def close(self) -> None:
        """Return when all pages are on disk, as far as the disk accepts them."""
        self._queue.put(None)
        self._thread.join()

    # --- Thread ------------------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            self._busy_since_ns = None
            try:
                name = self._queue.get(timeout=self._retry_s)
            except queue.Empty:
                self._busy_since_ns = self._clock.monotonic_ns()
                self._check_files()
                continue
            self._busy_since_ns = self._clock.monotonic_ns()
            if name is None:
                self._try_again()  # for the last time
                return
            page = self._pending.pop(name, None)
            if page is not None:  # otherwise a newer one was written in its place
                self._write(page)

    def _check_files(self) -> None:
        """Repeat failed writes; check that each file can be written before it must be, and keep its room reserved."""
        self._try_again()
        for name, file in self._run.items():
            self._in_run(name, file.reserve)
        for name, file in self._disk.items():
            if name not in self._failed:
                self._reserve(name, file)

    def _reserve(self, name: str, file: ReservedFile) -> None:
        try:
            file.reserve()
        except OSError as error:
            if name not in self._refused:
                log.error("%s: could not be written (%s); nothing is switched on until it can", file.path, error)
            self._refused |= {name}
            return
        self._note_accepted(name)

    def _note_accepted(self, name: str) -> None:
        if name in self._refused:
            log.info("%s: the disk takes it again", self._disk[name].path)
            self._refused -= {name}

    def _try_again(self) -> None:
        for failed in list(self._failed.values()):
            self._write(failed)

    def _write(self, page: _PendingWrite) -> None:
        self._write_run(page)
        file = self._disk[page.name]
        try:
            file.write(page.content)
        except OSError as error:
            if page.name not in self._failed:  # logged once, not every five seconds
                log.error("%s: cannot be written (%s); %s", file.path, error, page.loss)
            self._failed[page.name] = page
            self._refused |= {page.name}
            return
        self._failed.pop(page.name, None)
        self._note_accepted(page.name)

    def _write_run(self, page: _PendingWrite) -> None:
        """Write the copy in `run` before the disk, as it never waits; without this copy there are still two."""
        if (file := self._run.get(page.name)) is not None:
            self._in_run(page.name, lambda: file.write(page.content))

    def _in_run(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if name not in self._not_in_run:
                log.error("%s: cannot be written (%s)", self._run[name].path, error)
            self._not_in_run.add(name)
            return
        self._not_in_run.discard(name)


def _keep_beside(path: Path, content: bytes) -> None:
    """Save the content for inspection; ignore a disk that rejects it. A link in its place is replaced, not followed."""
    with contextlib.suppress(OSError):
        write_file(path, content, 0o640, synced=False)
