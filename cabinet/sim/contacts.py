"""Devices wired directly to GPIO lines: alarm contacts, the residual-current monitor, the siren."""

import itertools
import math
import random

from cabinet.sim.journal import Journal
from cabinet.sim.lines import Lines
from cabinet.sim.timeline import Event, Timeline

INPUTS = ("smoke", "water", "residual")

# IEC 61008, general type, IdN 30 mA: within 300 ms at IdN, 150 ms at 2 IdN, 40 ms at 5 IdN. Between these points the
# permitted time is interpolated linearly in the logarithms of current and time.
TIMES = ((30.0, 300e6), (60.0, 150e6), (150.0, 40e6))
RATED_MA = TIMES[0][0]
NEVER_MA = 24.0  # a 30 mA monitor may act from 15 mA on; this one never acts below 24 mA, and may act from there on
TEST_MA = 36.0
RESETS_NS = 500_000_000


def permitted_ns(residual_ma: float) -> float:
    """Return the maximum time in which a monitor must open its contact at that residual current."""
    if residual_ma <= TIMES[0][0]:
        return TIMES[0][1]
    for (low_ma, low_ns), (high_ma, high_ns) in itertools.pairwise(TIMES):
        if residual_ma <= high_ma:
            place = math.log(residual_ma / low_ma) / math.log(high_ma / low_ma)
            return low_ns * math.pow(high_ns / low_ns, place)
    return TIMES[-1][1]


class Contact:
    """A normally closed contact from a line to ground: the line is low in the normal state.

    If the contact is open or its wire is cut, the input's own resistor sets the level of the line.
    """

    def __init__(self, name: str, number: int, lines: Lines, journal: Journal) -> None:
        self.name = name
        self._number = number
        self._lines = lines
        self._journal = journal
        self.alarming = False
        self.cut = False
        lines.wire(number, False)

    @property
    def open(self) -> bool:
        """Return whether the line is released, not held low."""
        return self.alarming or self.cut

    def alarm(self, on: bool, at_ns: int) -> None:
        """Set or clear the alarm of the device that the contact belongs to."""
        was, self.alarming = self.open, on
        self._follow(was, at_ns)

    def cut_wire(self, cut: bool, at_ns: int) -> None:
        was, self.cut = self.open, cut
        self._follow(was, at_ns)

    def _follow(self, was: bool, at_ns: int) -> None:
        if self.open == was:
            return
        self._journal.add(at_ns, "input_opened" if self.open else "input_closed", input=self.name)
        self._lines.outside(self._number, None if self.open else False, at_ns)


class ResidualMonitor:
    """A monitor that opens its contact on residual current, within the permitted time; later if the current is low."""

    def __init__(self, contact: Contact, timeline: Timeline, rng: random.Random) -> None:
        self._contact = contact
        self._timeline = timeline
        self._rng = rng
        self._leak_ma = 0.0
        self._test_ma = 0.0
        self._since_ns: int | None = None  # time since which the current is enough to act on
        self._share = 1.0  # share of the permitted time that it takes on this occasion
        self._threshold_ma = RATED_MA
        self._planned: Event | None = None
        self.dead = False

    @property
    def residual_ma(self) -> float:
        """Residual current through the monitor, its own test current included."""
        return self._leak_ma + self._test_ma

    def carry(self, leak_ma: float, at_ns: int) -> None:
        """Set the residual current of the outlets from `at_ns` on."""
        if leak_ma != self._leak_ma:
            self._leak_ma = leak_ma
            self._follow(at_ns)

    def test(self, high: bool, at_ns: int) -> None:
        """Set the test input: while it is high, the monitor adds its own test current."""
        self._test_ma = TEST_MA if high else 0.0
        self._follow(at_ns)

    def die(self, dead: bool, at_ns: int) -> None:
        """Set or clear the defect: a dead monitor keeps its contact closed at any current."""
        self.dead = dead
        if dead:
            self._cancel_opening()
            self._since_ns = None
            self._contact.alarm(False, at_ns)
        else:
            self._follow(at_ns)

    def _follow(self, at_ns: int) -> None:
        if self.dead:
            return
        self._cancel_opening()
        if self.residual_ma < NEVER_MA:
            self._since_ns = None
            if self._contact.alarming:
                self._planned = self._timeline.at(at_ns + RESETS_NS, lambda t: self._contact.alarm(False, t))
            return
        if self._since_ns is None:
            self._since_ns = at_ns
            self._share = self._rng.uniform(0.5, 1.0)
            self._threshold_ma = self._rng.uniform(NEVER_MA, RATED_MA)
        if not self._contact.alarming and self.residual_ma >= self._threshold_ma:
            due_ns = self._since_ns + int(self._share * permitted_ns(self.residual_ma))
            self._planned = self._timeline.at(max(due_ns, at_ns), lambda t: self._contact.alarm(True, t))

    def _cancel_opening(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None


class Siren:
    """A siren that sounds while its line is high; `sounding` is true while a person at the cabinet can hear it."""

    def __init__(self, number: int, lines: Lines, journal: Journal) -> None:
        self._journal = journal
        self.sounding = False
        lines.wire(number, False, self._switch)

    def _switch(self, high: bool, at_ns: int) -> None:
        self.sounding = high
        self._journal.add(at_ns, "siren_on" if high else "siren_off")
