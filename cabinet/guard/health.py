"""How the guard's loop itself is doing: lateness, length of a scan, turns made."""

from cabinet.model import GuardHealth


class LoopHealth:
    """Noted once a turn, told with every snapshot."""

    def __init__(self, started_at_ns: int, realtime: bool) -> None:
        self._started_at_ns = started_at_ns
        self._realtime = realtime
        self._ticks = 0
        self._late_worst_ns = 0
        self._late_worst_ever_ns = 0
        self._scan_ns = 0

    def note(self, late_ns: int, scan_ns: int) -> None:
        """One turn: how late it began, and how long its scan took."""
        self._ticks += 1
        self._scan_ns = scan_ns
        self._late_worst_ns = max(self._late_worst_ns, late_ns)
        self._late_worst_ever_ns = max(self._late_worst_ever_ns, late_ns)

    def take(self, bus_errors: int) -> GuardHealth:
        """As of now; begins a new span for the worst lateness."""
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
