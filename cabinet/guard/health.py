"""Health of the guard's loop: lateness, length of a scan, number of turns."""

from cabinet.model import GuardHealth


class LoopHealth:
    """Loop statistics, noted once a turn and reported with every snapshot."""

    def __init__(self, started_at_ns: int, realtime: bool) -> None:
        self._started_at_ns = started_at_ns
        self._realtime = realtime
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
        )
