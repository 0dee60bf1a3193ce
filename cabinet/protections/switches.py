"""Switches that do not do what they are told. Pure."""

from collections import deque

from cabinet.model import Fault
from cabinet.protections.words import NS, SQRT2_PER_MILLE, CabinetLimits, CabinetNow, Limits, OutletNow, PeakWindow

WELD_HITS = 3  # windows with current: one alone may be a disturbance, and rectifiers draw once in 10 ms
WELD_WINDOW_NS = NS // 10


class Hits:
    """Windows with current where there must be none. Three within a tenth of a second are current that flows.

    Unless they are all alike: the windows of a mains current differ by where in the wave they lie, and a peak that does
    not change by a milliampere is what a meter shows that stood still before the contacts parted. Above `short_peak_ma`
    it would have tripped as a short before it could, and a meter at the end of its scale shows the same each time.
    """

    def __init__(self, short_peak_ma: int) -> None:
        self._short_peak_ma = short_peak_ma
        self._seen: deque[tuple[int, int]] = deque(maxlen=WELD_HITS)

    def add(self, window: PeakWindow) -> None:
        self._seen.append((window.to_ns, window.peak_ma))

    def flow(self, at_ns: int) -> bool:
        """Whether current flows, at `at_ns`."""
        recent = len(self._seen) == WELD_HITS and at_ns - self._seen[0][0] <= WELD_WINDOW_NS
        if not recent:
            return False
        peaks_ma = {peak_ma for _, peak_ma in self._seen}
        return len(peaks_ma) > 1 or max(peaks_ma) > self._short_peak_ma

    def clear(self) -> None:
        self._seen.clear()


class RelayWelded:
    """Current although the relay was told to open: only the contactor can end it, so all outlets go."""

    fault = Fault.RELAY_WELDED
    latched = True
    whole_cabinet = True
    suspends = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peak_limit_ma = limits.weld_ma * SQRT2_PER_MILLE // 1000
        self._hits = Hits(limits.short_peak_ma)

    def step(self, now: OutletNow) -> dict[str, int] | None:
        window = now.window
        if window is None or now.closed:
            return None
        if window.peak_ma > self._limits.short_peak_ma and (why := self._short_through_it(now, window)) is not None:
            return why
        if window.from_ns < now.switched_at_ns + self._limits.weld_after_ns:
            return None
        limit_ma = self._peak_limit_ma + now.crosstalk_ma
        if window.peak_ma <= limit_ma:
            return None
        self._hits.add(window)
        if not self.present(now):
            return None
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def _short_through_it(self, now: OutletNow, window: PeakWindow) -> dict[str, int] | None:
        """So much is no disturbance and no neighbour's: the first window is enough, whenever the relay should be open.

        Counted from the order to the relay itself: neither the contactor's closing nor the self-test's clicks begin it
        again. A neighbour shows half a percent of itself here: another such limit of that would be 6000 A.
        """
        limits, told_ns = self._limits, now.told_open_at_ns
        if told_ns is None or window.from_ns < told_ns + limits.parted_ns:
            return None
        limit_ma = limits.short_peak_ma + min(now.crosstalk_ma, limits.short_peak_ma)
        if window.peak_ma <= limit_ma:
            return None
        self._hits.add(window)
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def present(self, now: OutletNow) -> bool:
        return self._hits.flow(now.at_ns)

    def reset(self) -> None:
        self._hits.clear()


class RelayStuckOpen:
    """Told to close, its output is found open, and no current flows."""

    fault = Fault.RELAY_STUCK_OPEN
    latched = True
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peak_limit_ma = limits.weld_ma * SQRT2_PER_MILLE // 1000

    def step(self, now: OutletNow) -> dict[str, int] | None:
        if now.found_open_at_ns is None or now.window is None or not now.closed:
            return None
        open_ns = now.at_ns - now.found_open_at_ns
        if open_ns < self._limits.stuck_open_ns or now.window.peak_ma > self._peak_limit_ma + now.crosstalk_ma:
            return None
        return {"open_ms": open_ns // 1_000_000, "peak_ma": now.window.peak_ma}

    def present(self, now: OutletNow) -> bool:
        return False

    def reset(self) -> None:
        """Has no state of its own."""


class ContactorWelded:
    """Current although the contactor is open: the layer that a welded relay is left to is gone."""

    fault = Fault.CONTACTOR_WELDED
    latched = True

    def __init__(self, limits: CabinetLimits) -> None:
        self._limits = limits
        self._peak_limit_ma = limits.weld_ma * SQRT2_PER_MILLE // 1000
        self._hits = Hits(limits.short_peak_ma)

    def step(self, now: CabinetNow) -> dict[str, int] | None:
        window, open_at_ns = now.highest_window, now.contactor_open_at_ns
        if open_at_ns is None:
            self._hits.clear()
            return None
        if window is None or window.from_ns < open_at_ns + self._limits.contactor_release_ns:
            return None
        if window.peak_ma <= self._peak_limit_ma:
            return None
        self._hits.add(window)
        if window.peak_ma <= self._limits.short_peak_ma and not self.present(now):
            return None  # more than a short's limit is no disturbance: the first window is enough
        return {"peak_ma": window.peak_ma, "limit_ma": self._peak_limit_ma}

    def warns(self, now: CabinetNow) -> bool:
        return False

    def present(self, now: CabinetNow) -> bool:
        return self._hits.flow(now.at_ns)
