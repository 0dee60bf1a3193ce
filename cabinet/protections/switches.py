"""Switches that do not do what they are told. Pure."""

from collections import deque

from cabinet.model import Fault
from cabinet.protections.words import NS, SQRT2_PER_MILLE, CabinetLimits, CabinetNow, Limits, OutletNow

WELD_HITS = 3  # windows with current: one alone may be a disturbance, and rectifiers draw once in 10 ms
WELD_WINDOW_NS = NS // 10


class RelayWelded:
    """Current although the relay was told to open: only the contactor can end it, so all outlets go."""

    fault = Fault.RELAY_WELDED
    latched = True
    whole_cabinet = True
    suspends = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peak_limit_ma = limits.weld_ma * SQRT2_PER_MILLE // 1000
        self._hits: deque[int] = deque(maxlen=WELD_HITS)

    def step(self, now: OutletNow) -> dict[str, int] | None:
        window = now.window
        if window is None or now.closed or window.from_ns < now.switched_at_ns + self._limits.weld_after_ns:
            return None
        limit_ma = self._peak_limit_ma + now.crosstalk_ma
        if window.peak_ma <= limit_ma:
            return None
        self._hits.append(window.to_ns)
        if not self.present(now):
            return None
        return {"peak_ma": window.peak_ma, "limit_ma": limit_ma}

    def present(self, now: OutletNow) -> bool:
        return len(self._hits) == WELD_HITS and now.at_ns - self._hits[0] <= WELD_WINDOW_NS

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
        self._hits: deque[int] = deque(maxlen=WELD_HITS)

    def step(self, now: CabinetNow) -> dict[str, int] | None:
        window, open_at_ns = now.highest_window, now.contactor_open_at_ns
        if open_at_ns is None:
            self._hits.clear()
            return None
        if window is None or window.from_ns < open_at_ns + self._limits.contactor_release_ns:
            return None
        if window.peak_ma <= self._peak_limit_ma:
            return None
        self._hits.append(window.to_ns)
        if not self.present(now):
            return None
        return {"peak_ma": window.peak_ma, "limit_ma": self._peak_limit_ma}

    def warns(self, now: CabinetNow) -> bool:
        return False

    def present(self, now: CabinetNow) -> bool:
        return len(self._hits) == WELD_HITS and now.at_ns - self._hits[0] <= WELD_WINDOW_NS
