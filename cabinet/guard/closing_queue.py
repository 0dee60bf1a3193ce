"""Queue of closings: one outlet after the other, as ten inrushes at once would trip the building's breaker. Pure.

If the mains phase is known, contacts are made to meet near a voltage zero, as a charger's capacitor draws least there.
"""

from collections import deque

from cabinet.clock import MS
from cabinet.guard.phase import MainsPhase

MAX_WAIT_FOR_ZERO_NS = 30 * MS  # after this time the closing no longer waits for a zero


class ClosingQueue:
    """Queue of outlets, first come, first served, `gap_ns` apart."""

    def __init__(self, gap_ns: int, operate_ns: int, near_ns: int, phase: MainsPhase | None) -> None:
        self._gap_ns = gap_ns
        self._operate_ns = operate_ns
        self._near_ns = near_ns
        self._phase = phase
        self._waiting: deque[int] = deque()
        self._last_ns: int | None = None
        self._ready_ns: int | None = None

    def __contains__(self, outlet: int) -> bool:
        return outlet in self._waiting

    def add(self, outlet: int) -> None:
        if outlet not in self._waiting:
            self._waiting.append(outlet)

    def remove(self, outlet: int) -> None:
        """Cancel a pending close."""
        if outlet in self._waiting:
            self._waiting.remove(outlet)

    def take(self, now_ns: int) -> int | None:
        """Return the outlet to close now, or None; call this once a turn."""
        if not self._waiting or (self._last_ns is not None and now_ns - self._last_ns < self._gap_ns):
            return None
        self._ready_ns = now_ns if self._ready_ns is None else self._ready_ns
        if now_ns - self._ready_ns < MAX_WAIT_FOR_ZERO_NS and not self._near_zero(now_ns + self._operate_ns):
            return None
        self._last_ns, self._ready_ns = now_ns, None
        return self._waiting.popleft()

    def _near_zero(self, at_ns: int) -> bool:
        from_zero_ns = None if self._phase is None else self._phase.from_zero_ns(at_ns)
        return from_zero_ns is None or from_zero_ns <= self._near_ns
