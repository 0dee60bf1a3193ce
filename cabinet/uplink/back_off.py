"""Pauses between attempts to connect: doubling, with full jitter. Pure.

After a power cut in a district, or a restart of the broker, thousands of cabinets connect again. Equal pauses would
bring them all at the same second, again and again.
"""

from collections.abc import Callable

MIN_PAUSE_S = 0.5  # never at once: a broker that closes each connection would be flooded
FIRST_S = 1.0
MAX_S = 300.0
LASTED_S = 60.0  # a connection that lasted so long was a good one: the next pause is short again


class BackOff:
    """Pauses of one cabinet. `random` returns numbers from 0 up to 1, evenly spread."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._ceiling_s = FIRST_S

    def lasted(self, duration_s: float) -> None:
        """Take into account how long the connection lasted that has ended."""
        if duration_s >= LASTED_S:
            self.reset()

    def reset(self) -> None:
        self._ceiling_s = FIRST_S

    def pause_s(self, refused: bool = False) -> float:
        """Return the next pause. `refused`: waiting does not help, so the pause is from the longest range."""
        if refused:
            self._ceiling_s = MAX_S
        pause_s = MIN_PAUSE_S + self._random() * (self._ceiling_s - MIN_PAUSE_S)
        self._ceiling_s = min(2 * self._ceiling_s, MAX_S)
        return pause_s
