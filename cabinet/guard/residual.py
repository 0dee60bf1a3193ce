"""Test of the residual-current monitor: at the start and once a day, with a current that it must detect. Pure.

The test runs only while every outlet is open, and nothing closes during it: a test that hid a leak would be worse than
none. A cabinet that is never idle is not tested; staff are warned after twice the time.
"""

import enum

from cabinet.clock import NS

RELEASE_NS = 2 * NS  # for the monitor to close its contact again after the test current has ended


class ResidualTestPhase(enum.Enum):
    RESTING = "resting"
    TESTING = "testing"  # test current on
    RELEASING = "releasing"


class ResidualTest:
    """Sequence of the test. `step` returns whether the test current is to flow. `failed` is final until `reset`."""

    def __init__(self, every_ns: int, answer_ns: int) -> None:
        self._every_ns = every_ns
        self._answer_ns = answer_ns
        self.passed_at_ns: int | None = None
        self._since_ns = 0
        self.phase = ResidualTestPhase.RESTING
        self.failed = False

    @property
    def active(self) -> bool:
        return self.phase is not ResidualTestPhase.RESTING

    def due(self, now_ns: int) -> bool:
        return self.passed_at_ns is None or now_ns - self.passed_at_ns >= self._every_ns

    def overdue(self, now_ns: int) -> bool:
        """Return whether the test is so late that staff must be warned: there was no idle moment."""
        return self.passed_at_ns is not None and now_ns - self.passed_at_ns >= 2 * self._every_ns

    def step(self, now_ns: int, alarm: bool, idle: bool) -> bool:
        """Take the state of the monitor's contact. Return True while the test current is to flow."""
        if self.phase is ResidualTestPhase.RESTING:
            if self.failed or alarm or not idle or not self.due(now_ns):
                return False
            self.phase, self._since_ns = ResidualTestPhase.TESTING, now_ns
        elif self.phase is ResidualTestPhase.TESTING:
            if alarm:
                self.passed_at_ns = now_ns
                self.phase, self._since_ns = ResidualTestPhase.RELEASING, now_ns
            elif now_ns - self._since_ns > self._answer_ns:
                self.failed = True
                self.phase = ResidualTestPhase.RESTING
        elif not alarm or now_ns - self._since_ns > RELEASE_NS:
            self.phase = ResidualTestPhase.RESTING  # from now on, a contact that stays open is an alarm
        return self.phase is ResidualTestPhase.TESTING

    def reset(self) -> None:
        """Test again, after staff have removed the cause."""
        self.failed = False
        self.passed_at_ns = None
