"""One session's meter in the service: the guard's count, cut into slices that have a power band and a period.

A slice ends at every checkpoint and when the price of electricity changes. The open slice is priced as if it were
closed: the running cost on a resident's page is the cost of ending now.
"""

from dataclasses import dataclass, field

from cabinet.billing.tariff import SECONDS_AN_HOUR, Slice, Tariff, Use, add_slice, period_of
from cabinet.clock import NS
from cabinet.model import MeterCount
from cabinet.service.charges.pricing import SiteTime
from cabinet.store.moment import Moment, seconds_between
from cabinet.store.sessions import Counter

MAX_SNAPSHOT_GAP_S = 2  # counts further apart than this are not from consecutive snapshots
CLOCK_STEP_S = 30  # if wall and monotonic clock disagree by more over a slice, one of them was set


def not_decreasing(count: MeterCount, most: MeterCount) -> MeterCount:
    """Return `count`, but nowhere below `most`: if a counter restarts lower, it adds nothing and takes nothing away."""
    return MeterCount(
        max(count.energy_mwh, most.energy_mwh),
        max(count.powered_ms, most.powered_ms),
        max(count.charging_ms, most.charging_ms),
    )


@dataclass
class SessionMeter:
    """A meter: `booked` is included in `used`, `seen` is the latest count, `counter` the outlet's own at that time."""

    tariff: Tariff
    site_time: SiteTime
    used: Use
    seen: MeterCount
    seen_at: Moment
    counter: Counter | None = None
    peak_power_mw: int = 0
    mean_power_w: int | None = None
    booked: MeterCount = field(init=False)
    booked_at: Moment = field(init=False)

    def __post_init__(self) -> None:
        self.booked, self.booked_at = self.seen, self.seen_at

    def observe(
        self, count: MeterCount, at: Moment, counter: Counter | None = None, power_mw: int | None = None
    ) -> None:
        """Take the guard's count of this session at `at`, and the outlet's own at the same time."""
        if self._period_changed(at):
            self.close_slice()
            if (seconds_between(self.seen_at, at) or MAX_SNAPSHOT_GAP_S) < MAX_SNAPSHOT_GAP_S:
                self.booked_at = at  # the time between two snapshots belongs to the new period
        self.seen = not_decreasing(count, self.seen)
        self.seen_at = at
        if counter is not None:
            self.counter = counter
        if power_mw is not None:
            self.peak_power_mw = max(self.peak_power_mw, power_mw)

    def observe_outlet(self, counter: Counter, at: Moment) -> None:
        """Add the outlet's own count up to the moment when the guard lost the session.

        Add nothing if the counters restarted (another epoch) or were never read: the use is unknown then, and the
        resident does not pay for it.
        """
        before = self.counter
        if before is not None and before.epoch == counter.epoch:
            now, then = not_decreasing(counter.count, before.count), before.count
            self.seen = MeterCount(
                self.seen.energy_mwh + now.energy_mwh - then.energy_mwh,
                self.seen.powered_ms + now.powered_ms - then.powered_ms,
                self.seen.charging_ms + now.charging_ms - then.charging_ms,
            )
        self.counter = counter
        self.close_slice()
        self.seen_at = self.booked_at = at

    def close_slice(self) -> None:
        """Book the use since the last slice."""
        piece = self._open_slice()
        if piece.charging_ms:
            self.mean_power_w = piece.energy_mwh * SECONDS_AN_HOUR // piece.charging_ms
        self.used = add_slice(self.tariff, self.used, piece)
        self.booked, self.booked_at = self.seen, self.seen_at

    def live_use(self) -> Use:
        """Return the use up to the latest count."""
        return add_slice(self.tariff, self.used, self._open_slice())

    def _open_slice(self) -> Slice:
        return Slice(
            self.seen.charging_ms - self.booked.charging_ms,
            self.seen.energy_mwh - self.booked.energy_mwh,
            self._minutes(self.booked_at, self.seen_at),
        )

    def _minutes(self, start: Moment, end: Moment) -> tuple[int, int] | None:
        """Return the local minutes of the slice's start and end; None if the wall clock was wrong or set meanwhile."""
        wall_s = (end.unix_ms - start.unix_ms) / 1000
        if not (start.trusted and end.trusted) or not 0 <= wall_s < 86_400 - 60:
            return None
        if start.boot_id == end.boot_id:
            monotonic_s = (end.monotonic_ns - start.monotonic_ns) / NS
            if abs(monotonic_s - wall_s) > CLOCK_STEP_S:
                return None
        return self.site_time.minute(start.wall), self.site_time.minute(end.wall)

    def _period_changed(self, at: Moment) -> bool:
        """Return whether electricity has another price at `at` than at the last count."""
        if not (at.trusted and self.seen_at.trusted):
            return False
        now, then = self.site_time.minute(at.wall), self.site_time.minute(self.seen_at.wall)
        return period_of(self.tariff, (now, now)) != period_of(self.tariff, (then, then))
