"""Short circuit: peaks above any load's, in two half-cycles, or in one that no inrush could make. Pure."""

import math
from collections import deque
from typing import Annotated, Any, NamedTuple

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection, PeakWindow
from cabinet.sections import Section, number

MAX_INRUSH_NS = 3_000_000  # measured inrushes lasted 1 to 2.7 ms
# A capacitor that one half-cycle did not fill draws a second pulse in the next, a fraction of the first; a short's next
# half-cycle resembles the one before. A rule that uses only two half-cycles needs a share like this.
SECOND_PULSE_SHARE = 0.4
# A capacitor is full soon after the voltage's crest, as the voltage then falls below its own. Calculated for up to 1000
# uF behind 2.8 ohm or more at 198 to 242 V and 49 to 51 Hz: if it drew more than 30 A from 2 ms before the crest, it
# stops at the latest 1.43 ms after it (470 uF: 0.12 ms); if it began behind a crest, it draws 30 A until 0.86 ms after
# the next. Half a sine of 36 A is over 30 A until 1.9 ms after its crest, of 50 A until 2.95 ms.
BEFORE_CREST_NS = 2_000_000
AFTER_CREST_NS = 1_800_000
AFTER_SECOND_CREST_NS = 1_000_000
# If an alert is not followed by a valid peak for this time, it is a short. The time suffices for five scans and for the
# muxes' reset, and cuts the current within two half-cycles of its beginning.
UNANSWERED_HALF_CYCLES = 1.5
# A saturated iron core draws a pulse in every other half-cycle, behind the voltage's crest and around its zero, each
# smaller than the one before. Calculated for an air-core reactance of 1.2 to 8 ohm, 0.4 to 7 ohm in the circuit,
# saturation at 1.1 to 1.4 of the flux and up to 0.7 of residual flux: the second and later pulses exceed 30 A 1.1 ms
# after the crest or later, end 3.9 ms after the zero or sooner, and have at most 0.90 of the one before. A short
# exceeds 30 A before the crest if the plug's resistance limits it. The first iron pulse may begin up to 1.1 ms before
# the crest and continues across the zero: there any sine below the hard ceiling is under 30 A for 1.3 ms, which reads
# half that far apart cannot miss.
IRON_BEGINS_NS = 600_000  # a read half a millisecond wide before it
IRON_FIRST_BEGINS_NS = -1_500_000
ZERO_SEEN_NS = 600_000
IRON_ENDS_NS = 9_000_000  # after the same crest
IRON_DECAY = 0.92
# A capacitor behind a bouncing plug: its pulse ends with the bounce, or when the capacitor is full (AFTER_CREST_NS),
# before a sine through its first window would end. The margin covers the mains' phase error. A pulse that begins before
# the crest is checked until FILLED_NS after it.
TOO_SOON_NS = 400_000
FILLED_NS = 1_500_000
LAGS_NS = 1_700_000  # lag of a short's current behind its voltage: 22 degrees up to 1.5 kA (IEC 60898-1), plus a margin
MAX_PULSES = 8  # consecutive pulses within the window; after that the outlet trips in any case
UNSEEN_BREAK_NS = 1_000_000  # a current that paused for less between two reads may be two pulses of a bouncing plug


class ShortCircuitSection(Section, frozen=True):
    """A short repeats in every half-cycle, an inrush does not: the outlet opens at once and is latched."""

    ASCENDING = (("peak_a", "hard_peak_a"),)
    peak_a: Annotated[
        float, number("a peak above this in a second half-cycle within `window_s` is a short", least=6, most=150)
    ] = 30.0
    window_s: Annotated[
        float, number("half-wave faults and arcs skip half-cycles: look this far", least=0.02, most=1)
    ] = 0.1
    hard_peak_a: Annotated[
        float, number("a peak above this is a short at once: no inrush measured came near it", least=60, most=1000)
    ] = 150.0


class _Hit(NamedTuple):
    """A window over the limit, and the time of the last reading under it before."""

    window: PeakWindow
    low_at_ns: int


class _Pulse(NamedTuple):
    """An uninterrupted current over the limit."""

    first: PeakWindow
    last: PeakWindow
    low_at_ns: int  # last time under the limit before it
    peak_ma: int
    number: int  # count of consecutive pulses within the window
    widest_ns: int  # of its windows except the first
    ended_ns: int = 0  # first time under the limit after it


class ShortCircuit(OutletProtection):
    """Trip on a peak above the limit in two different half-cycles, or once above any possible inrush.

    Time from left to right, `|` a zero crossing of the voltage, `^` its crest, `#` current over the limit:

        |    ^    |    ^    |    ^    |    ^    |
        |  #####  |  #####  |         |         |  short: trips in the second half-cycle
        |  #####  |         |  #####  |         |  shorted diode, arc: skips half-cycles
        |  #######|         |         |         |  from well before the crest to well after it: trips at once
        |  ####   |         |         |         |  inrush
        |       ##|##       |         |         |  inrush around a zero crossing
        |  ####   |  ##     |         |         |  inrush that fills the capacitor in two half-cycles
        |      ###|##       |      ###|#        |  iron core: every other half-cycle, less each time
        |  ##     |  ##     |  ##     |         |  capacitor behind a bouncing plug: each ends too soon for a sine

    If a window may lie in either of two half-cycles, it counts in the one that it may share with its neighbour: at
    worst that costs one more window, never a false trip. The two need not be consecutive (`window_s`).

    Two half-cycles count only if the current was low between them, or if more time has passed than an inrush lasts. An
    inrush that continues in the next half-cycle has a lower peak (SECOND_PULSE_SHARE), and does not continue in a
    third. A current that stays over the limit across the crest fills no capacitor (BEFORE_CREST_NS). The last two kinds
    and that one are identified by closely spaced windows; in doubt it is a short.

    An alert with an unreadable peak is a short as well (UNANSWERED_HALF_CYCLES): its line stays low from the first
    sample over the limit on, and waiting gives no more information.
    """

    fault = Fault.SHORT_CIRCUIT
    section = ShortCircuitSection
    latched = True
    each_tick = True
    forgets_on_closing = True
    peak_ma: int
    window_ns: int
    hard_peak_ma: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._hits: deque[_Hit] = deque(maxlen=64)
        self.reset()

    def reset(self) -> None:
        self._hits.clear()
        self._low_at_ns = 0  # last time under the limit
        self._run: _Pulse | None = None  # the pulse in progress
        self._before: _Pulse | None = None  # the last pulse that ended

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        window, alert_at_ns = inputs.window, inputs.alert_at_ns
        if not inputs.closed:
            return None
        if alert_at_ns is not None and inputs.at_ns - alert_at_ns >= UNANSWERED_HALF_CYCLES * self.half_cycle_ns:
            return {"alert_ms": (inputs.at_ns - alert_at_ns) // 1_000_000, "limit_ma": self.peak_ma}
        if window is None:
            return None
        if window.peak_ma <= self.peak_ma:
            self._low_at_ns = window.to_ns
            if self._run is not None:
                self._before, self._run = self._run._replace(ended_ns=window.from_ns), None
            return None
        if window.peak_ma > self.hard_peak_ma:
            return {"peak_ma": window.peak_ma, "limit_ma": self.hard_peak_ma}
        while self._hits and window.from_ns - self._hits[0].window.to_ns > self.window_ns:
            self._hits.popleft()
        hit, run = _Hit(window, self._low_at_ns), self._follow(window)
        if self._outlasts_an_inrush(run):
            return {"peak_ma": window.peak_ma, "limit_ma": self.peak_ma} | self._crest(window)
        earlier_ma = self._repeated(hit)
        if earlier_ma is not None and not self._harmless(run, self._before):
            why = {"peak_ma": window.peak_ma, "earlier_peak_ma": earlier_ma, "limit_ma": self.peak_ma}
            return why | self._crest(window)
        self._hits.append(hit)
        return None

    def _follow(self, window: PeakWindow) -> _Pulse:
        """Take a window over the limit into the pulse in progress, or begin the next one; return it."""
        run = self._run
        if run is not None and window.to_ns - run.last.to_ns <= UNSEEN_BREAK_NS:
            widest_ns = max(run.widest_ns, window.to_ns - run.last.to_ns)
            run = run._replace(last=window, peak_ma=max(run.peak_ma, window.peak_ma), widest_ns=widest_ns)
        else:
            before = self._before = run or self._before
            follows = before is not None and window.from_ns - before.last.to_ns <= self.window_ns
            number = before.number + 1 if before is not None and follows else 1
            run = _Pulse(window, window, self._low_at_ns, window.peak_ma, number, 0)
        self._run = run
        return run

    def _repeated(self, hit: _Hit) -> int | None:
        """Return the peak in another half-cycle that makes `hit` a short, unless either is the end of an inrush."""
        earlier = [each for each in self._hits if self._apart(each.window, hit)]
        if not earlier:
            return None
        first = earlier[0].window
        greatest_ma = max(each.window.peak_ma for each in self._hits)
        if hit.window.peak_ma > SECOND_PULSE_SHARE * greatest_ma and self._decides(first, hit.window):
            return first.peak_ma
        return next((each.window.peak_ma for each in earlier if self._apart(first, each)), None)

    def _crest(self, last: PeakWindow) -> dict[str, int]:
        """Return the greatest current so far, if it was a crest: lower before it in its half-cycle, and lower after it.

        A short that begins behind the crest shows only the falling side, and one that still rises, in either
        half-cycle, has not reached its crest: its final height is unknown, and nothing is returned.
        """
        windows = [hit.window for hit in self._hits] + [last]
        place = max(range(len(windows)), key=lambda each: windows[each].peak_ma)
        greatest = windows[place]
        if greatest.crest_ns is None or not any(each.peak_ma < greatest.peak_ma for each in windows[place + 1 :]):
            return {}
        began_ns = greatest.crest_ns - self.half_cycle_ns // 2
        rose = any(began_ns <= each.from_ns and each.peak_ma < greatest.peak_ma for each in windows[:place])
        return {"crest_ma": greatest.peak_ma} if rose else {}

    # --- Predicates: two half-cycles, or one pulse ---------------------------------------------------------------

    def _outlasts_an_inrush(self, run: _Pulse) -> bool:
        """Return whether the current is over the limit from well before the crest to well after it."""
        crest_ns = run.last.crest_ns
        if crest_ns is None:
            return False
        begins_before = BEFORE_CREST_NS <= crest_ns - run.first.to_ns < self.half_cycle_ns // 2
        return begins_before and run.last.from_ns - crest_ns >= AFTER_CREST_NS

    def _apart(self, earlier: PeakWindow, hit: _Hit) -> bool:
        """Return whether the two are in different half-cycles, and not one inrush around a zero crossing."""
        if not self._half_cycles_later(1, earlier, hit.window):
            return False
        return hit.low_at_ns > earlier.to_ns or hit.window.from_ns - earlier.to_ns >= MAX_INRUSH_NS

    def _half_cycles_later(self, count: int, earlier: PeakWindow, later: PeakWindow) -> bool:
        if earlier.last_half_cycle is None or later.first_half_cycle is None:
            return later.from_ns - earlier.to_ns >= (count + 1) * self.half_cycle_ns // 2
        return later.first_half_cycle >= earlier.last_half_cycle + count

    def _decides(self, first: PeakWindow, second: PeakWindow) -> bool:
        """Return whether two half-cycles are enough: not always if the first window began behind its crest.

        There a capacitor fills little before the zero crossing, and draws as much again in the next half-cycle, until
        shortly after its crest. In a third half-cycle no such capacitor draws 30 A.
        """
        if first.crest_ns is not None and first.to_ns <= first.crest_ns:
            return True
        if second.crest_ns is not None and second.from_ns >= second.crest_ns + AFTER_SECOND_CREST_NS:
            return True
        return self._half_cycles_later(2, first, second)

    # --- Predicates: iron core, capacitor behind a bouncing plug -------------------------------------------------

    def _harmless(self, run: _Pulse, before: _Pulse | None) -> bool:
        """Return whether the pulse in progress still fits an iron core, or a capacitor behind a bouncing plug."""
        crest_ns, window = run.first.crest_ns, run.last
        if crest_ns is None or window.at_least or run.number > MAX_PULSES:
            return False
        if window.to_ns - window.from_ns > UNSEEN_BREAK_NS:
            return False
        if run.number == 1 or before is None:
            return self._crosses_zero(run, crest_ns)
        return self._magnetises(run, before, crest_ns) or (
            self._ended_too_soon(before) and self._may_fill(run, crest_ns)
        )

    def _crosses_zero(self, run: _Pulse, crest_ns: int) -> bool:
        """Return whether one pulse spans two half-cycles, without the low reading that a sine's zero would give."""
        placed = run.low_at_ns >= crest_ns + IRON_FIRST_BEGINS_NS and run.last.to_ns <= crest_ns + IRON_ENDS_NS
        return placed and run.widest_ns <= ZERO_SEEN_NS

    def _magnetises(self, run: _Pulse, before: _Pulse, crest_ns: int) -> bool:
        """Return whether it is behind the crest, smaller than the last one, with none in the half-cycle before."""
        if run.low_at_ns < crest_ns - self.half_cycle_ns // 2:
            crest_ns -= self.half_cycle_ns  # its first window ended behind a zero, but began before it
        placed = run.low_at_ns >= crest_ns + IRON_BEGINS_NS and run.last.to_ns <= crest_ns + IRON_ENDS_NS
        apart = run.first.to_ns - before.first.to_ns >= 3 * self.half_cycle_ns // 2
        return placed and apart and run.peak_ma <= IRON_DECAY * before.peak_ma

    def _ended_too_soon(self, before: _Pulse) -> bool:
        """Return whether a sine through the pulse's beginning, or its maximum, would have exceeded the limit longer."""
        crest_ns, half_ns = before.first.crest_ns, self.half_cycle_ns
        if crest_ns is None or before.low_at_ns < crest_ns - half_ns // 2 or before.ended_ns == 0:
            return False
        if before.ended_ns <= crest_ns - half_ns // 2 + LAGS_NS:  # or the end of a short's half-cycle, which lags
            return False
        crest_ma = float(before.peak_ma)
        if before.low_at_ns > crest_ns:  # only its falling side was measured
            crest_ma = before.first.peak_ma / max(0.1, math.cos(math.pi * (before.low_at_ns - crest_ns) / half_ns))
        lasts_ns = math.acos(min(1.0, self.peak_ma / crest_ma)) * half_ns / math.pi
        return before.ended_ns + TOO_SOON_NS <= crest_ns + lasts_ns

    def _may_fill(self, run: _Pulse, crest_ns: int) -> bool:
        """Return whether a capacitor may still be filling: until soon after the crest, or until zero if begun later."""
        if run.low_at_ns >= crest_ns:
            return run.last.to_ns <= crest_ns + self.half_cycle_ns // 2
        return run.last.from_ns < crest_ns + FILLED_NS
