"""Flight recorder: the last 10 s of every outlet at scan rate; the slice around each trip is passed to a writer.

Free of files and threads. The loop packs one row a tick into memory that was allocated at the start; a trip costs it
one small object. The writer (`trip_writer`) copies the slice itself: it has seconds before the ring wraps.
"""

import logging
import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence

import msgspec

from cabinet.clock import NS
from cabinet.config.keys import Config
from cabinet.guard.outlet import OutletUnit
from cabinet.model import ABSENT, Event, Fault, Reading
from cabinet.protections.inputs import OutletInputs
from cabinet.sections import milli, nanoseconds
from cabinet.trips.format import (
    CLOSED,
    FAULT_PRESENT,
    LARGEST,
    SESSION,
    UNKNOWN,
    VALUES_BEFORE_OUTLETS,
    VALUES_PER_OUTLET,
    OutletLimits,
    TripMark,
    row_struct,
)

log = logging.getLogger(__name__)

SPAN_NS = 10 * NS  # of the ring
BEFORE_NS = 2 * NS
AFTER_NS = 1 * NS
JOIN_NS = 1 * NS  # trips this soon after a first one share its recording: smoke opens ten outlets at once
MAX_MARKS = 64  # in one recording: more than a cabinet has outlets
REPEAT_NS = 60 * NS  # a fault that comes and goes by itself is recorded once in this time: it must not fill the folder


class RecorderSetup(msgspec.Struct, frozen=True):
    """Facts that do not change while the guard runs."""

    outlets: list[int]
    limits: dict[int, OutletLimits]
    period_ns: int


class RingSlice(msgspec.Struct, frozen=True):
    """A stretch of the ring that is to be kept, and the reason. `rows` must be called before the ring wraps."""

    ring: "Ring"
    described: RecorderSetup
    marks: list[TripMark]
    end_row: int
    unrecorded: int

    def rows(self) -> bytes:
        """Copy the rows of the slice that still exist, packed, oldest first; another thread may call this."""
        return self.ring.copy(self.marks[0].at_ns - BEFORE_NS, self.marks[-1].at_ns + AFTER_NS, self.end_row)


HandOver = Callable[[RingSlice], bool]  # False: the writer is too far behind, and the slice is lost


class Ring:
    """Rows in memory allocated at the start. One thread appends, any thread may copy."""

    def __init__(self, outlets: int, rows: int) -> None:
        self._row = row_struct(outlets)
        self._rows = rows
        self._memory = bytearray(b"\0") * (rows * self._row.size)  # written once: no page fault occurs within a tick
        self._view = memoryview(self._memory)
        self.written = 0  # rows, in total

    def append(self, values: list[int]) -> None:
        """Append one row: a time later than that of the last row, and numbers. Clip a number that does not fit."""
        offset = self.written % self._rows * self._row.size
        try:
            self._row.pack_into(self._memory, offset, *values)
        except struct.error:
            fitting = [values[0], *(max(UNKNOWN + 1, min(LARGEST, value)) for value in values[1:])]
            self._row.pack_into(self._memory, offset, *fitting)
        self.written += 1

    def copy(self, from_ns: int, to_ns: int, end_row: int) -> bytes:
        """Copy rows before number `end_row` with times from `from_ns` to `to_ns`, unless they are overwritten.

        The copy is made row by row: the loop never waits for a long copy. Rows overwritten meanwhile are left out.
        """
        oldest = max(0, self.written - self._rows + 1)  # the row before may be in the middle of being overwritten
        first = bisect_left(range(oldest, max(oldest, end_row)), from_ns, key=self._at_ns) + oldest
        last = bisect_left(range(first, max(first, end_row)), to_ns + 1, key=self._at_ns) + first
        copied = [self._packed(number) for number in range(first, last)]
        lost = self.written - self._rows + 1 - first
        return b"".join(copied[max(0, lost) :])

    def _packed(self, number: int) -> bytes:
        offset = number % self._rows * self._row.size
        return bytes(self._view[offset : offset + self._row.size])

    def _at_ns(self, number: int) -> int:
        at_ns: int
        (at_ns,) = struct.unpack_from("<q", self._memory, number % self._rows * self._row.size)
        return at_ns


class Recorder:
    """Recorder, called by the guard's loop alone: `note` once a tick, `trip` with each trip, `finish` at the end."""

    def __init__(self, config: Config, hand_over: HandOver) -> None:
        lost = config.protections.sensor_lost
        outlets = [outlet.number for outlet in config.outlet]
        period_ns = nanoseconds(config.guard.scan_period_s)
        self._described = RecorderSetup(outlets, drawn_limits(config), period_ns)
        self._slow_lost_ns = nanoseconds(lost.slow_after_s)
        self._temperature_lost_ns = nanoseconds(lost.temperature_after_s)
        self._hand_over = hand_over
        self._ring = Ring(len(outlets), SPAN_NS // period_ns)
        self._slow_reads = [-1] * len(outlets)  # of which each outlet's slow values are in `_values`
        self._fresh_until_ns = [0] * len(outlets)
        self._values = [0] * (VALUES_BEFORE_OUTLETS + VALUES_PER_OUTLET * len(outlets))
        self._marked: list[list[TripMark]] = []  # recordings that still wait for their last second: at most two
        self._recorded_at_ns: dict[tuple[int | None, Fault | None], int] = {}
        self._unrecorded = 0

    def note(self, now_ns: int, units: Sequence[OutletUnit], inside_mc: Reading = ABSENT) -> None:
        """Append one row. `units` are all the outlets, in the configuration's order."""
        values = self._values
        values[0] = now_ns
        values[1] = _known(inside_mc, now_ns - self._temperature_lost_ns)
        at = VALUES_BEFORE_OUTLETS
        for unit, slow_reads, fresh_until_ns in zip(units, self._slow_reads, self._fresh_until_ns, strict=True):
            inputs = unit.inputs
            values[at] = unit.unrecorded_peak_ma
            unit.unrecorded_peak_ma = UNKNOWN
            if inputs.slow_reads != slow_reads or now_ns > fresh_until_ns:
                self._note_slow(at, inputs, now_ns)
            flags = CLOSED if inputs.closed else 0
            if unit.charge is not None:
                flags |= SESSION
            if unit.fault is not None:
                flags |= FAULT_PRESENT
            values[at + 5] = flags
            at += VALUES_PER_OUTLET
        self._ring.append(values)
        if self._marked and now_ns >= self._marked[0][-1].at_ns + AFTER_NS:
            self._keep(self._marked.pop(0))

    def _note_slow(self, at: int, inputs: OutletInputs, now_ns: int) -> None:
        """Put the slow values of one outlet into the row; they stay until the next reading, or until one is too old."""
        slow_from_ns, temperature_from_ns = now_ns - self._slow_lost_ns, now_ns - self._temperature_lost_ns
        ages = [
            (inputs.current_ma, slow_from_ns),
            (inputs.voltage_mv, slow_from_ns),
            (inputs.power_mw, slow_from_ns),
            (inputs.temperature_mc, temperature_from_ns),
        ]
        index = (at - VALUES_BEFORE_OUTLETS) // VALUES_PER_OUTLET
        self._values[at + 1 : at + 5] = [_known(reading, from_ns) for reading, from_ns in ages]
        left_ns = [reading.at_ns - from_ns for reading, from_ns in ages if reading.at_ns >= from_ns]
        self._fresh_until_ns[index] = now_ns + min(left_ns, default=self._slow_lost_ns)
        self._slow_reads[index] = inputs.slow_reads

    def trip(self, event: Event) -> None:
        """Mark a trip: the guard opened something by itself. Raises ValueError if the event has no fault."""
        if event.fault is None:
            raise ValueError(f"{event.kind.value} without a fault is no trip")
        if self._is_repeat(event):
            self._unrecorded += 1
            return
        mark = TripMark(event.fault, event.outlet, event.at_ns, event.latched, event.why, event.session_id)
        if not self._marked or mark.at_ns - self._marked[-1][0].at_ns > JOIN_NS:
            self._marked.append([mark])
        elif len(self._marked[-1]) < MAX_MARKS:
            self._marked[-1].append(mark)
        else:
            self._unrecorded += 1

    def finish(self) -> None:
        """Keep the recordings that wait for their last second, without it: nothing comes after this."""
        while self._marked:
            self._keep(self._marked.pop(0))

    def _is_repeat(self, event: Event) -> bool:
        if event.latched:
            return False
        key = (event.outlet, event.fault)
        before_ns = self._recorded_at_ns.get(key)
        if before_ns is not None and event.at_ns - before_ns < REPEAT_NS:
            return True
        self._recorded_at_ns[key] = event.at_ns
        return False

    def _keep(self, marks: list[TripMark]) -> None:
        if self._hand_over(RingSlice(self._ring, self._described, marks, self._ring.written, self._unrecorded)):
            self._unrecorded = 0
            return
        self._unrecorded += len(marks)
        log.error("flight recorder: the disk does not keep up: %d trips are not recorded", self._unrecorded)


def drawn_limits(config: Config) -> dict[int, OutletLimits]:
    """Map each outlet to the limits that its plot shows."""
    of = config.protections
    return {
        outlet.number: OutletLimits(
            short_peak_ma=milli(of.short_circuit.peak_a),
            hard_peak_ma=milli(of.short_circuit.hard_peak_a),
            rated_ma=milli(of.overcurrent.rated_a),
            max_power_mw=milli(outlet.max_power_w),
            lowest_mv=milli(of.voltage.lowest_v),
            highest_mv=milli(of.voltage.highest_v),
            warn_mc=milli(of.outlet_hot.warn_c),
            trip_mc=milli(of.outlet_hot.trip_c),
        )
        for outlet in config.outlet
    }


def _known(reading: Reading, from_ns: int) -> int:
    """Return the value, or UNKNOWN if the reading is too old."""
    value = reading.value
    return UNKNOWN if value is None or reading.at_ns < from_ns else value
