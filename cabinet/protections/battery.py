"""What the charging curve tells of a battery: one that takes more again while it should take less heats up. Pure.

A charger holds the current until the battery's voltage is full (power rises slowly, a lithium one's by 8 %), then holds
the voltage while the current falls. A battery that runs away in that phase lowers its own voltage by its heat and takes
more current, and gets hotter by it. One with a shorted cell never reaches the voltage at all.
"""

from collections import deque

from cabinet.model import Fault, Quality
from cabinet.protections.words import NS, Limits, OutletNow

MEAN_TAU_S = 30.0  # balancing, fans and a dip of the mains last less
LEVEL_NS = 300 * NS  # what the mean has not been above for so long: a pause of the charger is no lower level
TAPERED_SHARE = 0.8  # of the plateau: below, the voltage is held and the current falls
LOWEST_PLATEAU_MW = 20_000  # less than any charger of a bike: a lamp's power means nothing
# A charger without mains for long enough to start anew (0.1 s) shows in the next read of its power: 20 % less.
INTERRUPTED_SHARE = 0.9  # of the power read before; a fan that stops may look so too
RESTART_NS = 300 * NS  # what a charger may take to settle after it
# It begins again where its taper ended, at a fifth of the plateau or less. Above this a rise is one, however often the
# charger is interrupted.
RESTART_SHARE, RESTART_MW = 0.3, 40_000
# A resumed charge's plateau may never have been seen: a fifth of what the largest charger takes, 5 A at 89 V and 84 %.
RESUMED_RESTART_MW = 110_000
GONE_MW = 1_500  # the plug was pulled: whatever is plugged in next is another battery


class ThermalRunaway:
    """Power rises again in the constant-voltage phase, or never begins to fall."""

    fault = Fault.THERMAL_RUNAWAY
    latched = True
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._forget()

    def _forget(self) -> None:
        self._at_ns: int | None = None
        self._mean_mw = 0.0
        self._plateau_mw = 0.0
        self._plateau_ns = 0  # spent on it
        self._lowest_mw: float | None = None  # in the constant-voltage phase; None: not there yet
        self._rising_since_ns: int | None = None
        self._highest: deque[tuple[int, float]] = deque()  # means of the last LEVEL_NS that none after them exceeds
        self._last_mw = 0
        self._restarted_ns: int | None = None

    def step(self, now: OutletNow) -> dict[str, int] | None:
        power = now.power_mw
        if power.quality is not Quality.OK or power.value is None or power.at_ns == self._at_ns or not now.closed:
            return None
        if power.value < GONE_MW:
            self._forget()
            return None
        past_ns = 0 if self._at_ns is None else power.at_ns - self._at_ns
        self._at_ns = power.at_ns
        past_s = past_ns / NS
        self._look_for_interruption(power.value, power.at_ns)
        self._mean_mw += (power.value - self._mean_mw) * past_s / (MEAN_TAU_S + past_s)
        self._plateau_mw = max(self._plateau_mw, self._mean_mw)
        if self._plateau_mw < LOWEST_PLATEAU_MW:
            return None
        level_mw = self._level_mw(power.at_ns)
        if level_mw >= TAPERED_SHARE * self._plateau_mw and self._lowest_mw is None:
            self._plateau_ns += past_ns
            return self._never_tapers()
        if self._lowest_mw is None or self._restarting(power.at_ns, level_mw, now.resumed):
            self._lowest_mw = level_mw
        self._lowest_mw = min(self._lowest_mw, level_mw)
        return self._rises_again(power.at_ns, self._lowest_mw)

    def _look_for_interruption(self, power_mw: int, at_ns: int) -> None:
        """Plug or mains was away for a moment: the charger begins anew, and may take more than where it had come to."""
        if power_mw < INTERRUPTED_SHARE * self._last_mw:
            self._restarted_ns = at_ns
        self._last_mw = power_mw

    def _restarting(self, at_ns: int, level_mw: float, resumed: bool) -> bool:
        if self._restarted_ns is None or at_ns - self._restarted_ns >= RESTART_NS:
            return False
        return level_mw <= max(RESTART_SHARE * self._plateau_mw, RESUMED_RESTART_MW if resumed else RESTART_MW)

    def _level_mw(self, at_ns: int) -> float:
        """The highest mean of the last LEVEL_NS."""
        highest = self._highest
        while highest and highest[-1][1] <= self._mean_mw:
            highest.pop()
        highest.append((at_ns, self._mean_mw))
        while at_ns - highest[0][0] > LEVEL_NS:
            highest.popleft()
        return highest[0][1]

    def _never_tapers(self) -> dict[str, int] | None:
        if self._plateau_ns < self._limits.taper_within_ns:
            return None
        return {"plateau_mw": round(self._plateau_mw), "plateau_min": self._plateau_ns // (60 * NS)}

    def _rises_again(self, at_ns: int, lowest_mw: float) -> dict[str, int] | None:
        limits = self._limits
        limit_mw = lowest_mw + max(limits.runaway_share * lowest_mw, limits.runaway_mw)
        if self._mean_mw <= limit_mw:
            self._rising_since_ns = None
            return None
        self._rising_since_ns = at_ns if self._rising_since_ns is None else self._rising_since_ns
        if at_ns - self._rising_since_ns < limits.runaway_ns:
            return None
        return {"power_mw": round(self._mean_mw), "lowest_mw": round(lowest_mw), "limit_mw": round(limit_mw)}

    def present(self, now: OutletNow) -> bool:
        return False

    def reset(self) -> None:
        self._forget()
