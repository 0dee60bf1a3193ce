"""Writes the flight recorder's slices to files, from a thread of its own.

Not the scribe's thread: a latched fault must not wait on its way to the disk behind a recording.

The thread keeps real-time scheduling, at the lowest priority. With ordinary scheduling it would, now and then, be put
aside by web server or export in the moment in which it holds the interpreter's lock, and the loop would wait for both:
measured with four busy processes on two processors, the loop's worst lateness was 8 ms with an ordinary writer, and
with this one no more than without any. What takes long, compressing and syncing, does not hold that lock.
"""

import logging
import os
import queue
import threading
from pathlib import Path

from cabinet.clock import MS, Clock
from cabinet.guard.durable import replace_file
from cabinet.guard.recorder import Slice
from cabinet.trips.folder import numbers, path_of
from cabinet.trips.format import Header, encode, row_struct

log = logging.getLogger(__name__)

KEPT = 200  # 13 kB each for ten outlets: under 3 MB, and years of ordinary faults
MOST_WAITING = 4  # the ring has come round before a fifth would be reached
LOWEST_REALTIME = 1
LAST_WORDS_S = 2.0  # a guard that ends gives the disk so long: systemd gives the guard 5 s


class TripWriter:
    """`put` from the loop; files appear soon after. `folder` is made with the first."""

    def __init__(self, folder: Path, clock: Clock, kept: int = KEPT) -> None:
        self._folder = folder
        self._clock = clock
        self._kept = kept
        self._queue: queue.SimpleQueue[Slice | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="trips", daemon=True)
        self._thread.start()

    def put(self, slice_: Slice) -> bool:
        """Write it soon; returns at once. False: too many wait already, and this one is not taken."""
        if self._queue.qsize() >= MOST_WAITING:
            return False
        self._queue.put(slice_)
        return True

    def close(self) -> None:
        """Returns when everything handed over is written, or is given up after `LAST_WORDS_S`."""
        self._queue.put(None)
        self._thread.join(LAST_WORDS_S)

    def _write_all(self) -> None:
        give_way()
        while (slice_ := self._queue.get()) is not None:
            try:
                self._write(slice_)
            except OSError as error:
                log.error("%s: %d trips are not recorded (%s)", self._folder, len(slice_.marks), error)

    def _write(self, slice_: Slice) -> None:
        rows = slice_.rows()
        content = encode(self._header(slice_, rows), rows)
        there = numbers(self._folder)
        number = there[-1] + 1 if there else 1
        replace_file(path_of(self._folder, number), content, self._folder / "unfinished")
        for old in [*there, number][: -self._kept]:
            path_of(self._folder, old).unlink(missing_ok=True)

    def _header(self, slice_: Slice, rows: bytes) -> Header:
        described = slice_.described
        wall = self._clock.wall()
        ago_ms = (self._clock.monotonic_ns() - slice_.marks[0].at_ns) // MS
        return Header(
            marks=slice_.marks,
            unix_ms=wall.unix_ms - ago_ms,
            clock_trusted=wall.trusted,
            outlets=described.outlets,
            limits=described.limits,
            period_ns=described.period_ns,
            rows=len(rows) // row_struct(len(described.outlets)).size,
            unrecorded=slice_.unrecorded,
        )


def give_way() -> None:
    """This thread no longer competes with the loop; see the top of this module for why it stays real-time."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(LOWEST_REALTIME))
