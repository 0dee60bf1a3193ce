"""Stored moments: monotonic time for durations, wall time for people."""

import msgspec

from cabinet.clock import MS, NS, WallTime


class Moment(msgspec.Struct, frozen=True):
    """One moment. `monotonic_ns` counts from the start of boot `boot_id`: it compares only within that boot."""

    boot_id: str
    monotonic_ns: int
    unix_ms: int
    trusted: bool

    @property
    def wall(self) -> WallTime:
        return WallTime(self.unix_ms, self.trusted)


def seconds_between(earlier: Moment, later: Moment) -> float | None:
    """Return the monotonic difference within one boot, else the wall-clock difference if both are trusted, else None.

    A wall clock that went backwards was wrong at one of them, even if it was marked trusted: None too.
    """
    if earlier.boot_id == later.boot_id:
        return (later.monotonic_ns - earlier.monotonic_ns) / NS
    if earlier.trusted and later.trusted and later.unix_ms >= earlier.unix_ms:
        return (later.unix_ms - earlier.unix_ms) / 1000
    return None


def at_monotonic(now: Moment, at_ns: int) -> Moment:
    """Return the moment at `at_ns` of this boot's monotonic clock, calculated from `now`; never later than `now`."""
    ago_ns = max(0, now.monotonic_ns - at_ns)
    return Moment(now.boot_id, now.monotonic_ns - ago_ns, now.unix_ms - ago_ns // MS, now.trusted)
