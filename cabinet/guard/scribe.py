"""Keeps what must outlive the guard in three copies, two of them on files written by a thread: no disk delays the loop.

Latched faults (`latches.json`) and locks (`upkeep.json`) are in the keeper's memory before the call returns, which
survives a killed guard; then in the folder of the sockets, which is memory too and survives the keeper; then on disk,
which survives a power cut. Room for the files is reserved, so a full disk takes them all the same.

When a guard starts, whatever *any* copy holds back is held back: a clearing counts once it has reached every copy. A
file that the disk does not take is tried again until it does. Until then, and while the disk does not answer, `able`
is False and nothing closes.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from cabinet.clock import NS, Clock, SystemClock
from cabinet.guard.counters import Counters, KeptBytes
from cabinet.guard.durable import ReservedFile
from cabinet.model import Fault

log = logging.getLogger(__name__)

RETRY_S = 5.0
LATCHES, UPKEEP = "latches.json", "upkeep.json"
# Forty latches with eight numbers each are 12 kB, forty outlets with locks and calibration 30 kB.
ROOM_BYTES = {LATCHES: 32 * 1024, UPKEEP: 64 * 1024}
HANGS_NS = 10 * NS  # an SD card may take seconds over one write; no answer for so long is a dead one

T = TypeVar("T")


class Latch(msgspec.Struct, frozen=True):
    """A fault that staff must clear. `why` holds the numbers that tripped it."""

    fault: Fault
    why: dict[str, int]


class Recalled(NamedTuple, Generic[T]):
    """The readable copies of one file, the newest first. `lost` names the newest if that one cannot be read."""

    copies: list[T]
    lost: str
    complete: bool  # every file is there and equal, or none is: nothing is to be written


class _Page(NamedTuple):
    """A file to be written."""

    name: str
    content: bytes
    loss: str


class Scribe:
    """Keeps the latches, and what else must be kept. `recall` and `latches` are called before the loop starts."""

    def __init__(
        self,
        state: Path,
        run: Path | None = None,
        memory: Counters | None = None,
        retry_s: float = RETRY_S,
        clock: Clock | None = None,
    ) -> None:
        """`run` is the guard's own folder in memory; without it and `memory` there is only the disk.

        `clock` measures how long the disk takes: the computer's, whatever clock the guard runs by.
        """
        self.folder = state
        self.damaged: list[str] = []  # files found unreadable, and what was done about each
        self._retry_s = retry_s
        self._clock = clock or SystemClock()
        self._disk = {name: ReservedFile(state / name, room) for name, room in ROOM_BYTES.items()}
        self._run: dict[str, ReservedFile] = {}
        if run is not None:
            self._run = {name: ReservedFile(run / name, room, synced=False) for name, room in ROOM_BYTES.items()}
        kept = memory or Counters(0)
        self._memory: dict[str, KeptBytes] = {LATCHES: kept.latches, UPKEEP: kept.upkeep}
        self._recent_trips = kept.recent_trips
        self._pending: dict[str, _Page] = {}  # by name: only the newest of each is written
        self._failed: dict[str, _Page] = {}  # to be tried again
        self._refused: frozenset[str] = frozenset()  # files that the disk does not take
        self._not_in_run: set[str] = set()
        self._busy_since_ns: int | None = None
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._look()  # nothing is closed yet, and nothing may be before this is known
        self._thread = threading.Thread(target=self._write_all, name="scribe", daemon=True)
        self._thread.start()

    # --- what earlier guards left ------------------------------------------------------------------------------------

    def recall(self, name: str, kind: type[T]) -> Recalled[T]:
        """Read every copy of the file. One that is there and cannot be read is named in `damaged`.

        It stays where it is until the name is written, with its content kept beside: a guard that is killed meanwhile
        must not leave the next one without any.
        """
        copies: list[T] = []
        lost, missing = "", False
        sources: list[KeptBytes | ReservedFile] = [self._memory[name]]
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
        return Recalled(copies, lost, same or not (copies or lost))

    def _decoded(self, source: KeptBytes | ReservedFile, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, ValueError):
            if isinstance(source, ReservedFile):
                _keep_beside(source.path.with_suffix(".damaged"), content)
            raise

    def latches(self) -> Recalled[dict[int, Latch]]:
        """Outlet → its latch; the first is of all copies together, in which the newest copy names the fault."""
        recalled = self.recall(LATCHES, dict[int, Latch])
        merged: dict[int, Latch] = {}
        for copy in reversed(recalled.copies):
            merged.update(copy)
        return recalled._replace(copies=[merged, *recalled.copies])

    def recent_trips(self) -> dict[int, list[int]]:
        """Outlet → moments of its last trips, as kept by the guard before this one under the same keeper."""
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            if (content := self._recent_trips.read()) is not None:
                return msgspec.json.decode(content, type=dict[int, list[int]])
        return {}

    # --- what is to be kept ------------------------------------------------------------------------------------------

    def save(self, latches: dict[int, Latch]) -> None:
        """Keep them in memory now, and write them soon; returns at once."""
        self.write(LATCHES, msgspec.json.encode(latches), "latched faults would be lost with power")

    def write(self, name: str, content: bytes, loss: str) -> None:
        """Replace the content of that name; returns at once. `loss` says what it means if the disk does not take it."""
        self._remember(name, content)
        self._pending[name] = _Page(name, content, loss)  # before its name: who takes that finds this or a newer one
        self._queue.put(name)

    def keep_trips(self, trips: dict[int, list[int]]) -> None:
        """In memory only: their moments are of this boot."""
        self._recent_trips.write(msgspec.json.encode(trips))

    def _remember(self, name: str, content: bytes) -> None:
        try:
            self._memory[name].write(content)
        except ValueError as error:
            log.error("%s: not kept in memory: %s", name, error)

    @property
    def able(self) -> bool:
        """Whether a latch that comes now would reach the disk: it takes every file, answers, and is written to."""
        since_ns = self._busy_since_ns
        hangs = since_ns is not None and self._clock.monotonic_ns() - since_ns > HANGS_NS
        return not self._refused and not hangs and self._thread.is_alive()

    @property
    def unwritten(self) -> list[str]:
        """Names of the files that the disk does not take now."""
        return sorted(self._refused)

    def close(self) -> None:
        """Everything handed over is on disk when this returns, as far as the disk takes it."""
        self._queue.put(None)
        self._thread.join()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            self._busy_since_ns = None
            try:
                name = self._queue.get(timeout=self._retry_s)
            except queue.Empty:
                self._busy_since_ns = self._clock.monotonic_ns()
                self._look()
                continue
            self._busy_since_ns = self._clock.monotonic_ns()
            if name is None:
                self._try_again()  # for the last time
                return
            page = self._pending.pop(name, None)
            if page is not None:  # otherwise a newer one was written in its place
                self._write(page)

    def _look(self) -> None:
        """Write again what failed; see that each file can be written before it must be, and keep its room."""
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
        self._taken(name)

    def _taken(self, name: str) -> None:
        if name in self._refused:
            log.info("%s: the disk takes it again", self._disk[name].path)
            self._refused -= {name}

    def _try_again(self) -> None:
        for failed in list(self._failed.values()):
            self._write(failed)

    def _write(self, page: _Page) -> None:
        self._write_run(page)
        file = self._disk[page.name]
        try:
            file.write(page.content)
        except OSError as error:
            if page.name not in self._failed:  # said once, and not every five seconds
                log.error("%s: cannot be written (%s); %s", file.path, error, page.loss)
            self._failed[page.name] = page
            self._refused |= {page.name}
            return
        self._failed.pop(page.name, None)
        self._taken(page.name)

    def _write_run(self, page: _Page) -> None:
        """Before the disk, as it never waits; without this copy there are still two."""
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
    """For inspection; a disk that does not take it, or a link that another process has put there, is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with open(descriptor, "wb") as file:
            file.write(content)
