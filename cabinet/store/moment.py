"""A moment as it is stored: what durations need beside what people read."""

import msgspec

from cabinet.clock import MS, NS, WallTime


class Moment(msgspec.Struct, frozen=True):
    """`monotonic_ns` counts from the start of the boot `boot_id`, so it compares with moments of that boot only."""

    boot_id: str
    monotonic_ns: int
    unix_ms: int
    trusted: bool

    @property
    def wall(self) -> WallTime:
        return WallTime(self.unix_ms, self.trusted)


def seconds_between(earlier: Moment, later: Moment) -> float | None:
    """From the monotonic clock within one boot, else from the wall clock where it was right at both; None: unknown.

    A wall clock that says it went back was wrong at one of them, whatever it claims: unknown too.
    """
    if earlier.boot_id == later.boot_id:
        return (later.monotonic_ns - earlier.monotonic_ns) / NS
    if earlier.trusted and later.trusted and later.unix_ms >= earlier.unix_ms:
        return (later.unix_ms - earlier.unix_ms) / 1000
    return None


def back_dated(now: Moment, at_ns: int) -> Moment:
    """The moment at `at_ns` of this boot's monotonic clock, told at `now`; never after it."""
    ago_ns = max(0, now.monotonic_ns - at_ns)
    return Moment(now.boot_id, now.monotonic_ns - ago_ns, now.unix_ms - ago_ns // MS, now.trusted)
