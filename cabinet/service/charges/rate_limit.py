"""Rate limiter: at most `most` actions within `within_s`, by key; for starts, as each one wears a relay."""

from collections import OrderedDict, deque
from collections.abc import Hashable

from cabinet.clock import NS, Clock
from cabinet.errors import Refused

MAX_KEYS = 10_000


class RateLimiter:
    def __init__(self, clock: Clock, most: int, within_s: int) -> None:
        self._clock = clock
        self._most = most
        self._within_ns = within_s * NS
        self._done: OrderedDict[Hashable, deque[int]] = OrderedDict()

    def check(self, key: Hashable) -> None:
        """Check the limit. Refuses too_many_requests, with the seconds until the next action is allowed."""
        done = self._done.get(key)
        now_ns = self._clock.monotonic_ns()
        if done is not None and len(done) == self._most and now_ns - done[0] < self._within_ns:
            raise Refused("too_many_requests", retry_after_s=-(-(done[0] + self._within_ns - now_ns) // NS))

    def count(self, key: Hashable) -> None:
        """Count one action."""
        self._done.setdefault(key, deque(maxlen=self._most)).append(self._clock.monotonic_ns())
        self._done.move_to_end(key)
        while len(self._done) > MAX_KEYS:
            self._done.popitem(last=False)
