"""One charge in the guard: the bought limits and the detection of its normal end. Pure.

The guard, not the service, holds this state, so a charge ends correctly even if the service is dead.

No state changes on a single reading: a load, its end, and power that is low or high again need repeated readings; the
plateau is a mean. An inrush and a charger's self-test show in one reading, at most two.
"""

import statistics
from collections import deque

import msgspec

from cabinet.metering import LoadTime
from cabinet.model import ChargeLimits, EndReason, MeterCount, Phase, Quality, Reading

NS = 1_000_000_000
PLATEAU_TAU_S = 30.0  # the plateau is the highest mean power, which excludes an inrush or a fan start
STEADY_NS = 600 * NS  # if power fell within this time, the charger was ending by itself
STEADY_SHARE = 0.95
FADING_NS = 2 * NS  # the meter's mean follows an unplugging in 0.2 s: readings on the way mean nothing
# A charger that restarts draws almost nothing for a second and then continues: power that was low for less than this
# does not indicate a full battery.
SOFT_START_S = 10.0
# Low-power limit of a small charger, as a share of its plateau; never above the 15 W of `full_floor_mw`. Its hysteresis
# is half of that share again.
CAME_DOWN_SHARE = 0.5
CAME_DOWN_HYSTERESIS_SHARE = 0.25
# Power that is high again for this long is neither a self-test pulse of a charger (0.1 to 0.3 s every few minutes) nor
# its fan. A second pack, or one that has cooled, charges for hours.
AGAIN_NS = 5 * NS
AGAIN_READINGS = 3
# A taper: the last readings before power became low were falling, for at least this time and this many readings. The
# shortest measured taper lasts a minute; an overheated pack and one that rests drop within a second.
TAPER_READINGS = 2
TAPER_NS = 5 * NS
TAPER_SHARE = 0.95  # mean of the last third is below this share of the first third's
# A charger that stops without a taper and idles may continue: a hot pack pauses for 40 minutes and more. The guard
# waits this many times the hold of `full`; time without a load is not charged meanwhile.
PAUSE_HOLDS = 4
# A meter shows up to `crosstalk_share` of its neighbour's power. Readings from this share of it upwards may be
# crosstalk only; a lower reading above zero may also be a resting charger, so the hold is this many times as long.
CROSSTALK_SEEN_SHARE = 0.6
UNSURE_HOLDS = 10
NOTHING_USED = MeterCount()


class EndLimits(msgspec.Struct, frozen=True):
    """End conditions of a charge, from the `[charge]` table of `cabinet.toml`."""

    full_floor_mw: int
    full_share: float
    full_hold_ns: int
    full_hysteresis_mw: int
    unplugged_mw: int
    unplugged_hold_ns: int
    no_load_mw: int
    no_load_ns: int
    crosstalk_share: float
    max_duration_ns: int


class Charge:
    """One session's charge, from the closing of the relay to its opening.

    `used` is the session's use before an interruption; `count_at_start` is the outlet's counter when the charge began.
    If `resumed` is set, the battery was already charging and its curve was not recorded from the start.
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
        self._load = LoadTime()  # load that is charged for: without possible crosstalk from the neighbour
        self._plugged = LoadTime()  # load that begins the charge: more than crosstalk alone can show
        self._last_mw: deque[int] = deque(maxlen=3)
        self._mean_mw = 0.0
        self._plateau_mw = used.energy_mwh * 3_600_000 / used.charging_ms if used.charging_ms else 0.0
        self._low_since_ns: int | None = None
        self._low_seen_s = 0.0  # with a load only: time with the plug pulled out does not count
        self._tapered = False  # power was falling before it became low
        self._again: tuple[int, int] | None = None  # start, and number of readings, of power high again
        self._gone_since_ns: int | None = None
        self._gone_surely = True  # all readings since then are those of an empty outlet
        self._recent: deque[tuple[int, int]] = deque()  # (at_ns, mW) with load, at most one a second

    def count(self, outlet: MeterCount) -> MeterCount:
        """Return the session's own use, given the outlet's counter `outlet`."""
        used, base = self._used, self._base
        return MeterCount(
            used.energy_mwh + outlet.energy_mwh - base.energy_mwh,
            used.powered_ms + outlet.powered_ms - base.powered_ms,
            used.charging_ms + outlet.charging_ms - base.charging_ms,
        )

    def take_load_ns(self) -> int:
        """Return the time with a load that has not been taken yet; none before the load is confirmed."""
        return self._load.take_ns()

    def note_mains_failure(self) -> None:
        """Note a mains failure: zero power during it is no sign of an end, and no time with a load is counted."""
        self._load.interrupt()
        self._plugged.interrupt()

    def step(self, now_ns: int, power: Reading, neighbour_mw: int, outlet: MeterCount) -> EndReason | None:
        """Return the reason to end now, or None.

        Each `power` reading is evaluated once; `neighbour_mw` is the power of the outlet on the same meter chip, a
        share of which may show here. Do not call this during a mains failure: zero power would then be misread.
        """
        bought = self._bought(self.count(outlet))
        if bought is not None:
            return bought
        if power.quality is not Quality.OK or power.value is None or power.at_ns == self._power_at_ns:
            return self._overdue(now_ns)
        past_s = 0.0 if self._power_at_ns is None else (power.at_ns - self._power_at_ns) / NS
        self._power_at_ns = power.at_ns
        crosstalk_mw = int(self._ends.crosstalk_share * neighbour_mw)
        self._see_load(power, crosstalk_mw)
        if self.phase is Phase.WAITING_FOR_LOAD:
            return self._overdue(now_ns)
        steady_mw = self._follow(power.value, past_s)
        if self._is_gone(steady_mw, power, crosstalk_mw):
            return self._gone(power)  # nothing plugged in is not a full battery
        return self._full(power, past_s)

    def over(self, now_ns: int) -> bool:
        """Return whether its time is up regardless of readings and mains; always False for a charge that was bought."""
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
        return EndReason.MAX_DURATION if 1_000_000 * count.powered_ms >= self._ends.max_duration_ns else None

    def _see_load(self, power: Reading, crosstalk_mw: int) -> None:
        assert power.value is not None  # the caller checked
        ends = self._ends
        self._load.note(power.at_ns, power.value, ends.no_load_mw + crosstalk_mw)
        self._plugged.note(power.at_ns, power.value, max(ends.no_load_mw, ends.unplugged_mw + crosstalk_mw))
        if self._plugged.sure:
            self.phase = Phase.CHARGING

    def _overdue(self, now_ns: int) -> EndReason | None:
        """Return NO_LOAD if no load came in time. A load that is just beginning is given time to be confirmed."""
        waited_ns = now_ns - self._waiting_since_ns
        if self.phase is Phase.WAITING_FOR_LOAD and waited_ns >= self._ends.no_load_ns and not self._plugged.possible:
            return EndReason.NO_LOAD
        return None

    def wait_left_ns(self, now_ns: int) -> int | None:
        """Return how long it still waits for a load; None once there was one."""
        if self.phase is not Phase.WAITING_FOR_LOAD:
            return None
        return max(0, self._ends.no_load_ns - (now_ns - self._waiting_since_ns))

    def _follow(self, power_mw: int, past_s: float) -> int:
        """Update the mean power and the session's plateau, its highest mean. Return the median of three readings.

        The mean starts from 0 and uses the median of three readings: otherwise the energy of an inrush, 100 J, would
        add 3 W to the mean, and pulling and re-inserting a plug would add 3 W permanently.
        """
        self._last_mw.append(power_mw)
        steady_mw = int(statistics.median(self._last_mw))
        self._mean_mw += (steady_mw - self._mean_mw) * past_s / (PLATEAU_TAU_S + past_s)
        self._plateau_mw = max(self._plateau_mw, self._mean_mw)
        return steady_mw

    # --- Unplugged outlet --------------------------------------------------------------------------------------------

    def _is_gone(self, steady_mw: int, power: Reading, crosstalk_mw: int) -> bool:
        """Return whether there is no load now; record since when, and the load before."""
        assert power.value is not None  # the caller checked
        nothing_mw = self._ends.unplugged_mw + crosstalk_mw
        if power.value < nothing_mw or (self._gone_since_ns is not None and steady_mw < nothing_mw):
            if self._gone_since_ns is None:
                self._gone_since_ns, self._gone_surely = power.at_ns, True
            unsure = self._ends.unplugged_mw <= power.value < CROSSTALK_SEEN_SHARE * crosstalk_mw
            self._gone_surely = self._gone_surely and not unsure
            return True
        self._gone_since_ns = None
        if not self._recent or power.at_ns - self._recent[-1][0] >= NS:
            self._recent.append((power.at_ns, power.value))
        while power.at_ns - self._recent[0][0] > STEADY_NS:
            self._recent.popleft()
        return False

    def _gone(self, power: Reading) -> EndReason | None:
        assert self._gone_since_ns is not None  # the caller checked
        holds = 1 if self._gone_surely else UNSURE_HOLDS
        if power.at_ns - self._gone_since_ns < holds * self._ends.unplugged_hold_ns:
            return None
        return self._unplugged_or_off()

    def _unplugged_or_off(self) -> EndReason:
        """Return UNPLUGGED if the load was steady before it vanished, ENDED_BY_LOAD if the power was already falling.

        At the low power of a nearly full battery the two cannot be distinguished, so UNPLUGGED is not claimed. A charge
        that resumes after an interruption and finds no load was unplugged meanwhile.
        """
        assert self._gone_since_ns is not None  # the caller checked
        faded_ns = self._gone_since_ns - FADING_NS
        before = [mw for at_ns, mw in self._recent if at_ns <= faded_ns]
        steady = not before or before[-1] >= STEADY_SHARE * _highest(before)
        nearly_full = self._low_since_ns is not None and self._low_since_ns <= faded_ns
        return EndReason.UNPLUGGED if steady and not nearly_full else EndReason.ENDED_BY_LOAD

    # --- Full battery ------------------------------------------------------------------------------------------------

    def _full(self, power: Reading, past_s: float) -> EndReason | None:
        """Return FULL if the power came down from a plateau and stayed low for the hold time.

        A charger that idles without a taper is pausing: the hold is longer, and then it counts as stopped by itself.
        """
        assert power.value is not None  # the caller checked
        limit_mw, hysteresis_mw = self._full_limits()
        if self._low_since_ns is None:
            if power.value < limit_mw:
                self._low_since_ns, self._low_seen_s, self._again = power.at_ns, 0.0, None
                self._tapered = self._was_falling(power.at_ns)
            return None
        self._low_seen_s += past_s
        if self._low_seen_s < SOFT_START_S:
            ended = power.value >= limit_mw
        else:
            ended = self._is_high_again(power, limit_mw + hysteresis_mw)
        if ended:
            self._low_since_ns = self._again = None
            return None
        low_ns = power.at_ns - self._low_since_ns
        if low_ns < self._ends.full_hold_ns or self._again is not None:
            return None  # or charging is just restarting
        if self._tapered or (self._plugged.sure and self._mean_mw >= self._ends.no_load_mw):
            return EndReason.FULL  # by the mean: an idle slightly below is no load, whatever the earlier power
        return EndReason.ENDED_BY_LOAD if low_ns >= PAUSE_HOLDS * self._ends.full_hold_ns else None

    def _full_limits(self) -> tuple[int, int]:
        """Return the power below which a battery is full, and the hysteresis on it.

        If the plateau is known, both are lower for a small charger: its normal power does not mean full. For a resumed
        charge the true plateau may never have been measured.
        """
        ends, plateau_mw = self._ends, self._plateau_mw
        limit_mw, hysteresis_mw = max(ends.full_floor_mw, int(ends.full_share * plateau_mw)), ends.full_hysteresis_mw
        if self.resumed and not self._used.charging_ms:
            return limit_mw, hysteresis_mw
        return (
            min(limit_mw, int(CAME_DOWN_SHARE * plateau_mw)),
            min(hysteresis_mw, int(CAME_DOWN_HYSTERESIS_SHARE * plateau_mw)),
        )

    def _is_high_again(self, power: Reading, allowed_mw: int) -> bool:
        assert power.value is not None  # the caller checked
        if power.value < allowed_mw:
            self._again = None
            return False
        since_ns, readings = (power.at_ns, 0) if self._again is None else self._again
        self._again = since_ns, readings + 1
        return readings + 1 >= AGAIN_READINGS and power.at_ns - since_ns >= AGAIN_NS

    def _was_falling(self, at_ns: int) -> bool:
        """Return whether power was falling before `at_ns` rather than dropping out of a steady charge."""
        before = [(when_ns, mw) for when_ns, mw in self._recent if when_ns <= at_ns - FADING_NS]
        if not before:
            return False
        top_mw = STEADY_SHARE * _highest([mw for _, mw in before])
        top = max((place for place, (_, mw) in enumerate(before) if mw >= top_mw), default=0)
        tail = before[top + 1 :]
        if len(tail) < TAPER_READINGS or tail[-1][0] - tail[0][0] < TAPER_NS:
            return False
        third = max(1, len(tail) // 3)
        first_mw = statistics.mean(mw for _, mw in tail[:third])
        return statistics.mean(mw for _, mw in tail[-third:]) < TAPER_SHARE * first_mw


def _highest(powers_mw: list[int]) -> float:
    """Return the highest sustained power: the median of three rejects an inrush, which is a single reading."""
    return max(statistics.median(powers_mw[place : place + 3]) for place in range(max(1, len(powers_mw) - 2)))


class TestCharge(Charge):
    """A test charge by staff: closed until a deadline, with or without a load, and free of charge."""

    __test__ = False  # not a test case of pytest

    def __init__(
        self, session_id: str, ends: EndLimits, count_at_start: MeterCount, started_ns: int, until_ns: int
    ) -> None:
        super().__init__(session_id, ChargeLimits(), ends, count_at_start, started_ns)
        self.until_ns = until_ns

    def step(self, now_ns: int, power: Reading, neighbour_mw: int, outlet: MeterCount) -> EndReason | None:
        """Check only whether there is a load."""
        if power.quality is Quality.OK and power.value is not None and power.at_ns != self._power_at_ns:
            self._power_at_ns = power.at_ns
            self._see_load(power, int(self._ends.crosstalk_share * neighbour_mw))
        return None

    def over(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns
