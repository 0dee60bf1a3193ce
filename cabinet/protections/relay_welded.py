"""Welded relay: current although it is open. Pure."""

from collections import deque
from typing import Annotated, Any

from cabinet.model import Fault, Reading
from cabinet.protections.evidence import MIN_RMS_MA
from cabinet.protections.inputs import SQRT2_PER_MILLE, Configuration, OutletInputs, OutletProtection, PeakWindow
from cabinet.sections import NS, Section, milli, nanoseconds, number

WELD_HITS = 3  # windows with current: a single one may be a disturbance, and rectifiers draw once in 10 ms
WELD_WINDOW_NS = NS // 10
WELD_READS = 4  # RMS readings in a row and over this time: a neighbour's short shows for less than that
WELD_MEAN_NS = NS // 3
WELD_MEAN_OLD_NS = NS
RMS_FALLS_NS = 7 * NS // 10


class RelayWeldedSection(Section, frozen=True):
    """Current through an open relay: the contactor opens, and the outlet is latched."""

    current_a: Annotated[float, number("more than this with the relay open is a weld", least=0.02, most=1)] = 0.1
    after_s: Annotated[float, number("given to the relay and the meter before the check", least=0.05, most=2)] = 0.1


class UnexpectedPeaks:
    """Windows with current that should have none. Three within a tenth of a second mean that current flows.

    The exception is three identical peaks: the windows of a mains current differ by their place in the wave, so a peak
    that does not change by a milliampere comes from a meter that froze before the contacts parted. Above
    `short_peak_ma` identical peaks count: such a reading would have tripped as a short before it could freeze, and a
    meter at the end of its scale repeats the same value.
    """

    def __init__(self, short_peak_ma: int) -> None:
        self._short_peak_ma = short_peak_ma
        self._seen: deque[tuple[int, int]] = deque(maxlen=WELD_HITS)

    def add(self, window: PeakWindow) -> None:
        self._seen.append((window.to_ns, window.peak_ma))

    def flows(self, at_ns: int) -> bool:
        """Return whether current flows, at `at_ns`."""
        recent = len(self._seen) == WELD_HITS and at_ns - self._seen[0][0] <= WELD_WINDOW_NS
        if not recent:
            return False
        peaks_ma = {peak_ma for _, peak_ma in self._seen}
        return len(peaks_ma) > 1 or max(peaks_ma) > self._short_peak_ma

    def clear(self) -> None:
        self._seen.clear()


class UnexpectedRms:
    """The same check with the RMS register, which is separate from the peak register: a frozen peak hides no weld.

    It falls slowly: after 100 A were broken it shows 0.09 A after 0.7 s (0.2 s to settle, ADE7953 p. 23). A value with
    unchanged bits dates from before the register froze, and does not count.
    """

    _reads: int
    _since_ns: int
    _last_ns: int

    def __init__(self, limit_ma: int) -> None:
        self._limit_ma = max(limit_ma, MIN_RMS_MA)
        self.clear()

    def add(self, current: Reading, unmoved: int, off_at_ns: int, extra_ma: int = 0) -> bool:
        """Note a reading of an outlet without power since `off_at_ns`. Return whether current flows."""
        at_ns = current.at_ns
        if unmoved or at_ns < off_at_ns + RMS_FALLS_NS or (self._reads and at_ns == self._last_ns):
            return False
        if current.value is None or current.value <= self._limit_ma + extra_ma:
            self.clear()
            return False
        self._since_ns = self._since_ns if self._reads else at_ns
        self._reads += 1
        self._last_ns, self.current_ma = at_ns, current.value
        return self.flows(at_ns)

    def flows(self, at_ns: int) -> bool:
        """Return whether current flows, at `at_ns`: enough readings in a row, the last one recent."""
        lasting = self._reads >= WELD_READS and self._last_ns - self._since_ns >= WELD_MEAN_NS
        return lasting and at_ns - self._last_ns <= WELD_MEAN_OLD_NS

    def clear(self) -> None:
        self._reads = 0
        self._since_ns = self._last_ns = 0
        self.current_ma = 0


class RelayWelded(OutletProtection):
    """Trip on current although the relay was commanded open: only the contactor can stop it, so all outlets open.

    Two registers are checked, peak and RMS: the one that caused a trip may be the one that is frozen.
    """

    fault = Fault.RELAY_WELDED
    section = RelayWeldedSection
    latched = True
    each_tick = True
    open_only = True
    whole_cabinet = True
    hides_current = True
    forgets_on_closing = True
    current_ma: int
    after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self.peak_limit_ma = self.current_ma * SQRT2_PER_MILLE // 1000
        self._short_peak_ma = milli(config.protections.short_circuit.peak_a)
        # coil released until zero current: the contacts, and their arc up to the next zero
        self._parted_ns = nanoseconds(config.hardware.relay_release_s) + self.half_cycle_ns
        self._hits = UnexpectedPeaks(self._short_peak_ma)
        self._means = UnexpectedRms(self.current_ma)

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        window = inputs.window
        if window is None or inputs.closed:
            return None
        if window.peak_ma > self._short_peak_ma and (why := self._short_through_it(inputs, window)) is not None:
            return why
        if window.from_ns < inputs.switched_at_ns + self.after_ns:
            return None
        limit_ma = self.peak_limit_ma + inputs.crosstalk_ma
        if window.peak_ma <= limit_ma:
            return None
        self._hits.add(window)
        if not self.present(inputs):
            return None
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def step_slow(self, inputs: OutletInputs) -> dict[str, int] | None:
        if inputs.closed or not self._means.add(
            inputs.current_ma, inputs.current_unmoved, inputs.switched_at_ns, inputs.crosstalk_ma
        ):
            return None
        return {"current_ma": self._means.current_ma, "limit_ma": self.current_ma}

    def _short_through_it(self, inputs: OutletInputs, window: PeakWindow) -> dict[str, int] | None:
        """Return the numbers of a short through the open relay: one window suffices, as no disturbance is that large.

        The time counts from the order to the relay itself: neither the contactor's closing nor the self-test's clicks
        restart it. A neighbour shows half a percent of its current here: crosstalk of another such limit would need
        6000 A.
        """
        short_peak_ma, commanded_ns = self._short_peak_ma, inputs.commanded_open_at_ns
        if commanded_ns is None or window.from_ns < commanded_ns + self._parted_ns:
            return None
        limit_ma = short_peak_ma + min(inputs.crosstalk_ma, short_peak_ma)
        if window.peak_ma <= limit_ma:
            return None
        self._hits.add(window)
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def present(self, inputs: OutletInputs) -> bool:
        return self._hits.flows(inputs.at_ns) or self._means.flows(inputs.at_ns)

    def reset(self) -> None:
        self._hits.clear()
        self._means.clear()
