"""Time as an argument: monotonic nanoseconds for durations, wall time for people.

Durations and bills use `monotonic_ns` only. Wall time is stored with its trust state, because a Pi has no clock battery
and starts at the time of its last shutdown.
"""

import ctypes
import datetime
import functools
import os
import time
from pathlib import Path
from typing import Protocol

import msgspec

NS = 1_000_000_000
MS = 1_000_000

_TIMEX_BYTES = 208  # sizeof(struct timex) on 64-bit Linux
_MAXERROR_AT = 24  # offset of its `maxerror`, a long of microseconds
# The kernel adds 500 us a second to it up to this limit (kernel/time/ntp.c, NTP_PHASE_LIMIT); a correction resets it. A
# clock that was never set, or not for nine hours, is at the limit.
UNKNOWN_ERROR_US = 16_000_000


class WallTime(msgspec.Struct, frozen=True, gc=False):
    """A moment for people: milliseconds since 1970 UTC, and whether the system clock was synchronised then."""

    unix_ms: int
    trusted: bool


def day_start_ms(day: datetime.date, zone: datetime.tzinfo) -> int:
    """Return midnight at the start of `day` in Unix milliseconds."""
    return int(datetime.datetime.combine(day, datetime.time(), zone).timestamp() * 1000)


def days_ms(
    first: datetime.date | None, last: datetime.date | None, zone: datetime.tzinfo
) -> tuple[int | None, int | None]:
    """Return [from, to) in Unix milliseconds of the days `first` to `last`, both included; None: open on that side."""
    return (
        None if first is None else day_start_ms(first, zone),
        None if last is None else day_start_ms(last + datetime.timedelta(days=1), zone),
    )


class Clock(Protocol):
    """Clock interface that every shell takes instead of calling `time`."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back; on Linux CLOCK_MONOTONIC, the same in every process of one boot."""

    def wall(self) -> WallTime:
        """Return the present moment for people."""

    def sleep_until(self, deadline_ns: int) -> None:
        """Return when `monotonic_ns` has reached `deadline_ns`; at once if it has passed."""


class SystemClock:
    """The kernel's clocks."""

    monotonic_ns = staticmethod(time.monotonic_ns)  # the guard reads it fifty times a turn

    def wall(self) -> WallTime:
        return WallTime(time.time_ns() // MS, wall_time_is_synchronised())

    def sleep_until(self, deadline_ns: int) -> None:
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / NS)


class ManualClock:
    """A clock that moves only on command, so a test charges a battery for eight hours in seconds."""

    def __init__(self, start_ns: int = NS, unix_ms: int = 1_780_000_000_000, trusted: bool = True) -> None:
        self._now_ns = start_ns
        self._wall_offset_ms = unix_ms - start_ns // MS
        self.trusted = trusted

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall(self) -> WallTime:
        return WallTime(self._now_ns // MS + self._wall_offset_ms, self.trusted)

    def sleep_until(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_ns(self, duration_ns: int) -> None:
        """Advance by `duration_ns`. Raises ValueError for a step back, which a monotonic clock cannot make."""
        if duration_ns < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-duration_ns} ns")
        self._now_ns += duration_ns

    def set_wall(self, unix_ms: int, trusted: bool) -> None:
        """Step the wall clock, as NTP or a technician would; monotonic time is unchanged."""
        self._wall_offset_ms = unix_ms - self._now_ns // MS
        self.trusted = trusted


def set_wall_time(unix_ms: int) -> None:
    """Set the system's clock. Raises OSError if this process has no permission."""
    time.clock_settime_ns(time.CLOCK_REALTIME, unix_ms * MS)


def wall_time_is_synchronised() -> bool:
    """Return whether the error of the wall clock is known, by systemd-timedated's criterion (`NTPSynchronized`).

    Only `maxerror` of adjtimex(2) counts. Its result TIME_ERROR only means that STA_UNSYNC is set, and chrony without
    `rtcsync` leaves that set so that the kernel does not write to a real-time clock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if libc.adjtimex(buffer) < 0:
        return False
    return ctypes.c_long.from_buffer(buffer, _MAXERROR_AT).value < UNKNOWN_ERROR_US


@functools.cache
def boot_id() -> str:
    """Return the kernel's random id of this boot; monotonic times of two boots cannot be compared."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"pid-{os.getpid()}"
