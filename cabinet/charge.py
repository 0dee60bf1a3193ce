"""One charge as the guard sees it: what was bought, and when it has come to its normal end. Pure.

The guard carries this and not the service, so that a charge ends where it should with the service dead.
"""

import statistics
from collections import deque

import msgspec

from cabinet.model import ChargeLimits, EndReason, MeterCount, Phase, Quality, Reading

NS = 1_000_000_000
PLATEAU_TAU_S = 30.0  # the plateau is the highest mean power: an inrush or a fan starting is not it
STEADY_NS = 600 * NS  # power on its way down within this means the charger was ending by itself
STEADY_SHARE = 0.95
FADING_NS = 2 * NS  # the meter's mean takes 0.2 s to follow a plug pulled out: what it showed on the way is no sign
# A charger that starts anew draws next to nothing for a second and then goes on: power that was low for less than this
# is no sign of a full battery.
SOFT_START_S = 10.0
NOTHING_MW = 500  # more than this shows a charger that idles: an outlet with nothing in it shows none of its own
NOTHING_USED = MeterCount()


class EndLimits(msgspec.Struct, frozen=True):
    """When a charge is over, from the `[charge]` table of `cabinet.toml`."""

    full_floor_mw: int
    full_share: float
    full_hold_ns: int
    full_hysteresis_mw: int
    unplugged_mw: int
    unplugged_hold_ns: int
    no_load_mw: int
    no_load_ns: int
    crosstalk_share: float
    max_duration_ms: int


class Charge:
    """From the closing of the relay to its opening, for one session.

    `used` is what the session used before an interruption; `count_at_start` is the outlet's counter when it began.
    `resumed`: its battery had been charging before, and nobody here has seen its curve from the start.
    """

    def __init__(
        self,
        session_id: str,
        limits: ChargeLimits,
        ends: EndLimits,
        count_at_start: MeterCount,
        started_ns: int,
        used: MeterCount = NOTHING_USED,
        had_load: bool = False,
    ) -> None:
        self.session_id = session_id
        self.limits = limits
        self.phase = Phase.CHARGING if had_load else Phase.WAITING_FOR_LOAD
        self.resumed = had_load
        self._ends = ends
        self._base = count_at_start
        self._used = used
        self._waiting_since_ns = started_ns
        self._power_at_ns: int | None = None
        self._mean_mw = 0.0
        self._last_mw: deque[int] = deque(maxlen=3)
        self._plateau_mw = 0.0
        self._low_since_ns: int | None = None
        self._low_seen_s = 0.0  # and with a load: a plug that is pulled out meanwhile does not count
        self._gone_since_ns: int | None = None
        self._recent: deque[tuple[int, int]] = deque()  # (at_ns, mW) with load, one a second at most

    def count(self, outlet: MeterCount) -> MeterCount:
        """The session's own use, when the outlet's counter stands at `outlet`."""
        used, base = self._used, self._base
        return MeterCount(
            used.energy_mwh + outlet.energy_mwh - base.energy_mwh,
            used.powered_ms + outlet.powered_ms - base.powered_ms,
            used.charging_ms + outlet.charging_ms - base.charging_ms,
        )

    def step(self, now_ns: int, power: Reading, neighbour_mw: int, outlet: MeterCount) -> EndReason | None:
        """The reason to end now, or None.

        `power` is looked at once per reading; `neighbour_mw` is the power of the outlet on the same meter chip, a
        share of which may show here. A mains that is away must not be stepped through: no power is then no sign.
        """
        bought = self._bought(self.count(outlet))
        if bought is not None:
            return bought
        if power.quality is not Quality.OK or power.value is None or power.at_ns == self._power_at_ns:
            return self._overdue(now_ns)
        past_s = 0.0 if self._power_at_ns is None else (power.at_ns - self._power_at_ns) / NS
        self._power_at_ns = power.at_ns
        if self.phase is Phase.WAITING_FOR_LOAD:
            if power.value < self._ends.no_load_mw:
                return self._overdue(now_ns)
            self.phase = Phase.CHARGING
        self._follow(power, past_s)
        if self._is_gone(power, neighbour_mw):
            return self._gone(power, neighbour_mw)  # nothing plugged in is not a full battery
        return self._full(power, past_s)

    def over(self, now_ns: int) -> bool:
        """Whether its time is up whatever is measured, the mains away included: never so for what somebody bought."""
        return False

    def _bought(self, count: MeterCount) -> EndReason | None:
        limits = self.limits
        if limits.charging_s is not None and count.charging_ms >= 1000 * limits.charging_s:
            return EndReason.LIMIT_TIME
        if limits.energy_mwh is not None and count.energy_mwh >= limits.energy_mwh:
            return EndReason.LIMIT_ENERGY
        if limits.money_charging_s is not None and count.charging_ms >= 1000 * limits.money_charging_s:
            return EndReason.LIMIT_MONEY
        if limits.money_energy_mwh is not None and count.energy_mwh >= limits.money_energy_mwh:
            return EndReason.LIMIT_MONEY
        return EndReason.MAX_DURATION if count.powered_ms >= self._ends.max_duration_ms else None

    def _overdue(self, now_ns: int) -> EndReason | None:
        waited_ns = now_ns - self._waiting_since_ns
        if self.phase is Phase.WAITING_FOR_LOAD and waited_ns >= self._ends.no_load_ns:
            return EndReason.NO_LOAD
        return None

    def wait_left_ns(self, now_ns: int) -> int | None:
        """How long it still waits for a load; None once there was one."""
        if self.phase is not Phase.WAITING_FOR_LOAD:
            return None
        return max(0, self._ends.no_load_ns - (now_ns - self._waiting_since_ns))

    def _follow(self, power: Reading, past_s: float) -> None:
        """Mean power, and the session's plateau, its highest mean.

        From 0, and of the middle one of three readings: the energy of an inrush, 100 J, would be 3 W of the mean, and
        after a plug was pulled and pushed in again 3 W too much for good.
        """
        assert power.value is not None  # the caller looked
        self._last_mw.append(power.value)
        self._mean_mw += (statistics.median(self._last_mw) - self._mean_mw) * past_s / (PLATEAU_TAU_S + past_s)
        self._plateau_mw = max(self._plateau_mw, self._mean_mw)

    def _is_gone(self, power: Reading, neighbour_mw: int) -> bool:
        """Whether there is no load now; remembers since when, and what there was before."""
        assert power.value is not None  # the caller looked
        if power.value < self._ends.unplugged_mw + int(self._ends.crosstalk_share * neighbour_mw):
            self._gone_since_ns = power.at_ns if self._gone_since_ns is None else self._gone_since_ns
            return True
        self._gone_since_ns = None
        if not self._recent or power.at_ns - self._recent[-1][0] >= NS:
            self._recent.append((power.at_ns, power.value))
        while power.at_ns - self._recent[0][0] > STEADY_NS:
            self._recent.popleft()
        return False

    def _gone(self, power: Reading, neighbour_mw: int) -> EndReason | None:
        assert self._gone_since_ns is not None  # the caller looked
        if power.at_ns - self._gone_since_ns < self._ends.unplugged_hold_ns:
            return None
        assert power.value is not None
        shows_mw = power.value - int(self._ends.crosstalk_share * neighbour_mw)
        return EndReason.ENDED_BY_LOAD if shows_mw > NOTHING_MW else self._unplugged_or_off()

    def _unplugged_or_off(self) -> EndReason:
        """A plug is pulled out of a steady charge; a charger that ends by itself was on its way down before.

        At the low power of a nearly full battery nobody can tell, and it is not claimed. A charge that goes on after an
        interruption and finds nothing was unplugged meanwhile.
        """
        assert self._gone_since_ns is not None  # the caller looked
        faded_ns = self._gone_since_ns - FADING_NS
        before = [mw for at_ns, mw in self._recent if at_ns <= faded_ns]
        steady = not before or before[-1] >= STEADY_SHARE * _highest(before)
        nearly_full = self._low_since_ns is not None and self._low_since_ns <= faded_ns
        return EndReason.UNPLUGGED if steady and not nearly_full else EndReason.ENDED_BY_LOAD

    def _full(self, power: Reading, past_s: float) -> EndReason | None:
        assert power.value is not None  # the caller looked
        limit_mw = max(self._ends.full_floor_mw, int(self._ends.full_share * self._plateau_mw))
        if self._low_since_ns is None:
            if power.value < limit_mw:
                self._low_since_ns, self._low_seen_s = power.at_ns, 0.0
            return None
        self._low_seen_s += past_s
        allowed_mw = limit_mw if self._low_seen_s < SOFT_START_S else limit_mw + self._ends.full_hysteresis_mw
        if power.value >= allowed_mw:
            self._low_since_ns = None
            return None
        return EndReason.FULL if power.at_ns - self._low_since_ns >= self._ends.full_hold_ns else None


def _highest(powers_mw: list[int]) -> float:
    """The highest of what was drawn for a while: an inrush is one reading among its neighbours."""
    return max(statistics.median(powers_mw[place : place + 3]) for place in range(max(1, len(powers_mw) - 2)))


class Trial(Charge):
    """Closed by staff for a test: until a moment, load or no load, and nobody pays for it."""

    def __init__(
        self, session_id: str, ends: EndLimits, count_at_start: MeterCount, started_ns: int, until_ns: int
    ) -> None:
        super().__init__(session_id, ChargeLimits(), ends, count_at_start, started_ns)
        self.until_ns = until_ns

    def step(self, now_ns: int, power: Reading, neighbour_mw: int, outlet: MeterCount) -> EndReason | None:
        """Only looks whether there is a load."""
        if power.quality is Quality.OK and (power.value or 0) >= self._ends.no_load_mw:
            self.phase = Phase.CHARGING
        return None

    def over(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns
