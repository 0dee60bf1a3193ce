"""The residual-current monitor's own test: once at the start and once a day, a current that it must find. Pure.

It is done only while every outlet is open, and nothing closes during it: a test that hid a leak would be worse than
none. A cabinet that is never idle is not tested; staff are told after twice the time.
"""

import enum

from cabinet.clock import NS

RELEASE_NS = 2 * NS  # for the monitor to close its contact again after the test current has gone


class Phase(enum.Enum):
    RESTING = "resting"
    TESTING = "testing"  # test current on
    RELEASING = "releasing"


class ResidualTest:
    """`step` says whether the test current is to flow. `failed` is final until `reset`."""

    def __init__(self, every_ns: int, answer_ns: int) -> None:
        self._every_ns = every_ns
        self._answer_ns = answer_ns
        self.passed_at_ns: int | None = None
        self._since_ns = 0
        self.phase = Phase.RESTING
        self.failed = False

    @property
    def active(self) -> bool:
        return self.phase is not Phase.RESTING

    def due(self, now_ns: int) -> bool:
        return self.passed_at_ns is None or now_ns - self.passed_at_ns >= self._every_ns

    def overdue(self, now_ns: int) -> bool:
        """So long not tested that staff must know: no moment was idle."""
        return self.passed_at_ns is not None and now_ns - self.passed_at_ns >= 2 * self._every_ns

    def step(self, now_ns: int, alarm: bool, idle: bool) -> bool:
        """One look at the monitor's contact; True while the test current is to flow."""
        if self.phase is Phase.RESTING:
            if self.failed or alarm or not idle or not self.due(now_ns):
                return False
            self.phase, self._since_ns = Phase.TESTING, now_ns
        elif self.phase is Phase.TESTING:
            if alarm:
                self.passed_at_ns = now_ns
                self.phase, self._since_ns = Phase.RELEASING, now_ns
            elif now_ns - self._since_ns > self._answer_ns:
                self.failed = True
                self.phase = Phase.RESTING
        elif not alarm or now_ns - self._since_ns > RELEASE_NS:
            self.phase = Phase.RESTING  # a contact that stays open is an alarm from now on
        return self.phase is Phase.TESTING

    def reset(self) -> None:
        """Staff have seen to it: it is tested again."""
        self.failed = False
        self.passed_at_ns = None
