"""Counts of failed sign-ins, by name and by network address, and the warning to staff if guessing is suspected.

Checking and counting are separate: an attempt that is refused already costs no work and adds no failure. Names that
exist, names that do not, and addresses are counted apart: ten thousand made-up names displace no count that matters.
"""

import logging
from collections import OrderedDict

from cabinet.clock import NS, Clock
from cabinet.errors import Refused
from cabinet.service.ports import AttackView

log = logging.getLogger(__name__)

LOCKED_NS = 300 * NS
MAX_KEYS = 10_000
ATTACK_SHOWN_NS = 3600 * NS  # the warning lasts this long after the last lock
ATTACK_LOG_GAP_NS = 60 * NS


class Lockout:
    """Failures by key; they expire after `LOCKED_NS`. If there are more than `MAX_KEYS`, an unlocked one goes first."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._most = most
        self._counting: OrderedDict[str, tuple[int, int]] = OrderedDict()  # key → count, last failure
        self._locked: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def check(self, key: str) -> None:
        """Check the key and count nothing. Refuses locked_out."""
        now_ns = self._clock.monotonic_ns()
        count, since_ns = self._failures(key, now_ns)
        if count >= self._most:
            raise Refused("locked_out", retry_after_s=-(-(since_ns + LOCKED_NS - now_ns) // NS))

    def count(self, key: str) -> bool:
        """Count a failure, or an attempt that may become one; return True if it is the one that locks."""
        now_ns = self._clock.monotonic_ns()
        count = self._failures(key, now_ns)[0] + 1
        self.forget(key)
        table = self._locked if count >= self._most else self._counting
        table[key] = (count, now_ns)  # the lock runs from the last failure
        while len(self._counting) + len(self._locked) > MAX_KEYS:
            (self._counting or self._locked).popitem(last=False)
        return count == self._most

    def undo_count(self, key: str) -> None:
        """Take back the last count, as it was no failure."""
        count, since_ns = self._failures(key, self._clock.monotonic_ns())
        self.forget(key)
        if count > 1:
            (self._locked if count > self._most else self._counting)[key] = (count - 1, since_ns)

    def forget(self, key: str) -> None:
        self._counting.pop(key, None)
        self._locked.pop(key, None)

    def _failures(self, key: str, now_ns: int) -> tuple[int, int]:
        count, since_ns = self._locked.get(key) or self._counting.get(key) or (0, now_ns)
        return (0, now_ns) if now_ns - since_ns >= LOCKED_NS else (count, since_ns)


class AttackWatch:
    """The warning to staff about locks: the number of recent ones, and the address of the last one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._locks = 0
        self._address = ""
        self._last_ns = 0
        self._logged_ns: int | None = None

    def locked(self, what: str, address: str) -> None:
        """Note a new lock. Log at most one line a minute."""
        now_ns = self._clock.monotonic_ns()
        self._locks = self._locks + 1 if self._is_shown(now_ns) else 1
        self._address, self._last_ns = address, now_ns
        if self._logged_ns is None or now_ns - self._logged_ns >= ATTACK_LOG_GAP_NS:
            self._logged_ns = now_ns
            log.warning(
                "sign-ins from %s: %s locked after too many failures; locks lately: %d", address, what, self._locks
            )

    def view(self) -> AttackView | None:
        """Return the warning; None if there was no lock recently."""
        return AttackView(self._locks, self._address) if self._is_shown(self._clock.monotonic_ns()) else None

    def _is_shown(self, now_ns: int) -> bool:
        return self._locks > 0 and now_ns - self._last_ns < ATTACK_SHOWN_NS
