"""Health of the guard's loop: lateness, length of a scan, time of a turn, number of turns, speed of the bus."""

from cabinet.clock import MS, NS
from cabinet.guard.bus_speed import BusSpeed
from cabinet.model import GuardHealth

TURNS_OVER_NS = 30 * NS  # span of one p99 of the turns
_BUCKET_NS = MS // 10
_BUCKETS = 256  # up to 25.6 ms; the last has all that are longer


class TurnTimes:
    """The p99 of the turns' times over a span, by counting them in buckets: nothing is allocated in a turn."""

    def __init__(self, started_at_ns: int) -> None:
        self.p99_ns: int | None = None  # of the last whole span, rounded up to a bucket
        self._counts = [0] * _BUCKETS
        self._turns = 0
        self._until_ns = started_at_ns + TURNS_OVER_NS

    def note(self, used_ns: int, now_ns: int) -> None:
        bucket = used_ns // _BUCKET_NS
        self._counts[bucket if bucket < _BUCKETS else _BUCKETS - 1] += 1
        self._turns += 1
        if now_ns >= self._until_ns:
            self._until_ns = now_ns + TURNS_OVER_NS
            self.p99_ns = self._p99_ns()
            self._counts = [0] * _BUCKETS
            self._turns = 0

    def _p99_ns(self) -> int:
        left = self._turns // 100  # turns that may be longer
        bucket = _BUCKETS - 1
        while left >= self._counts[bucket]:
            left -= self._counts[bucket]
            bucket -= 1
        return (bucket + 1) * _BUCKET_NS


class LoopHealth:
    """Loop statistics, noted once a turn and reported with every snapshot."""

    def __init__(self, started_at_ns: int, realtime: bool, period_ns: int) -> None:
        self._started_at_ns = started_at_ns
        self._realtime = realtime
        self._period_ns = period_ns
        self.turns = TurnTimes(started_at_ns)
        self.bus: BusSpeed | None = None  # as measured at the start
        self._ticks = 0
        self._late_worst_ns = 0
        self._late_worst_ever_ns = 0
        self._scan_ns = 0

    def note(self, late_ns: int, scan_ns: int) -> None:
        """Note one turn: its lateness and the length of its scan."""
        self._ticks += 1
        self._scan_ns = scan_ns
        if late_ns > self._late_worst_ns:
            self._late_worst_ns = late_ns
            self._late_worst_ever_ns = max(self._late_worst_ever_ns, late_ns)

    def take(self, bus_errors: int) -> GuardHealth:
        """Return the present values; begin a new span for the worst lateness."""
        late_ns, self._late_worst_ns = self._late_worst_ns, 0
        return GuardHealth(
            realtime=self._realtime,
            ticks=self._ticks,
            late_worst_us=late_ns // 1000,
            late_worst_ever_us=self._late_worst_ever_ns // 1000,
            scan_us=self._scan_ns // 1000,
            bus_errors=bus_errors,
            started_at_ns=self._started_at_ns,
            period_us=self._period_ns // 1000,
            turn_p99_us=None if self.turns.p99_ns is None else self.turns.p99_ns // 1000,
            bus_hz=None if self.bus is None else self.bus.clock_hz,
            transfer_us=None if self.bus is None else self.bus.transfer_us,
        )
