"""Writer of the flight recorder's slices to files, in a thread of its own.

It is not the state writer's thread: a latched fault must not wait behind a recording on its way to the disk.

The thread keeps real-time scheduling, at the lowest priority. With ordinary scheduling, the web server or an export
would preempt it now and then just when it holds the interpreter's lock, and the loop would wait for both: measured with
four busy processes on two processors, the loop's worst lateness was 8 ms with an ordinary writer, and with this one no
more than without any. The slow parts, compressing and syncing, do not hold that lock.
"""

import logging
import os
import queue
import threading
from pathlib import Path

from cabinet.clock import MS, Clock
from cabinet.guard.recorder import RingSlice
from cabinet.system.atomic_file import write_file
from cabinet.trips.folder import numbers, path_of
from cabinet.trips.format import Header, encode, row_struct

log = logging.getLogger(__name__)

KEPT = 200  # 13 kB each for ten outlets: under 3 MB, and years of ordinary faults
MAX_WAITING = 4  # the ring wraps before a fifth is reached
MIN_REALTIME = 1
LAST_WORDS_S = 2.0  # time for the disk when the guard ends: systemd gives the guard 5 s


class TripWriter:
    """Trip writer: the loop calls `put`; files appear soon after. `folder` is made with the first file."""

    def __init__(self, folder: Path, clock: Clock, kept: int = KEPT) -> None:
        self._folder = folder
        self._clock = clock
        self._kept = kept
        self._queue: queue.SimpleQueue[RingSlice | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="trips", daemon=True)
        self._thread.start()

    def put(self, slice_: RingSlice) -> bool:
        """Write the slice soon; return at once. Return False if too many wait already: this one is then lost."""
        if self._queue.qsize() >= MAX_WAITING:
            return False
        self._queue.put(slice_)
        return True

    def close(self) -> None:
        """Return when all accepted slices are written, or give up after `LAST_WORDS_S`."""
        self._queue.put(None)
        self._thread.join(LAST_WORDS_S)

    def _write_all(self) -> None:
        lower_priority()
        while (slice_ := self._queue.get()) is not None:
            try:
                self._write(slice_)
            except OSError as error:
                log.error("%s: %d trips are not recorded (%s)", self._folder, len(slice_.marks), error)

    def _write(self, slice_: RingSlice) -> None:
        rows = slice_.rows()
        content = encode(self._header(slice_, rows), rows)
        there = numbers(self._folder)
        number = there[-1] + 1 if there else 1
        write_file(path_of(self._folder, number), content)
        for old in [*there, number][: -self._kept]:
            path_of(self._folder, old).unlink(missing_ok=True)

    def _header(self, slice_: RingSlice, rows: bytes) -> Header:
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


def lower_priority() -> None:
    """Stop this thread from competing with the loop; the module docstring explains why it stays real-time."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(MIN_REALTIME))
