"""One charge as the guard sees it: what was bought, and when it has come to its normal end. Pure.

The guard carries this and not the service, so that a charge ends where it should with the service dead.

No state follows from one reading: a load, the end of one, and power that is low or high again are repeated readings,
the plateau is a mean. An inrush and a charger's self-test show in one reading, at most two.
"""

import statistics
from collections import deque

import msgspec

from cabinet.metering import LoadTime
from cabinet.model import ChargeLimits, EndReason, MeterCount, Phase, Quality, Reading

NS = 1_000_000_000
PLATEAU_TAU_S = 30.0  # the plateau is the highest mean power: an inrush or a fan starting is not it
STEADY_NS = 600 * NS  # power on its way down within this means the charger was ending by itself
STEADY_SHARE = 0.95
FADING_NS = 2 * NS  # the meter's mean takes 0.2 s to follow a plug pulled out: what it showed on the way is no sign
# A charger that starts anew draws next to nothing for a second and then goes on: power that was low for less than this
# is no sign of a full battery.
SOFT_START_S = 10.0
# Power that came down to less than this share of the plateau: the limit of a small charger, which is never above the
# 15 W of `full_floor_mw`. Half of the share again is its hysteresis.
CAME_DOWN_SHARE = 0.5
CAME_DOWN_HYSTERESIS_SHARE = 0.25
# Power that is high again for so long is no pulse of a charger that tests itself (0.1 to 0.3 s every few minutes), nor
# of its fan. A second pack, or one that has cooled, takes hours.
AGAIN_NS = 5 * NS
AGAIN_READINGS = 3
# A taper: the last readings before power was low had been falling, for so long and through so many of them. The
# shortest one measured lasts a minute; a pack that is too hot and one that rests drop within a second.
TAPER_READINGS = 2
TAPER_NS = 5 * NS
TAPER_SHARE = 0.95  # the last third of them below this share of the first
# A charger that stops without a taper and idles may go on: a hot pack pauses for 40 minutes and more. So many times
# the hold of `full` is waited; no load is charged for meanwhile.
PAUSE_HOLDS = 4
# A meter shows up to `crosstalk_share` of its neighbour's power. From this share of that on it may be just that; what
# is less, and more than nothing, may as well be a charger that rests, and is waited for so many times as long.
CROSSTALK_SEEN_SHARE = 0.6
UNSURE_HOLDS = 10
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
        self._load = LoadTime()  # that is charged for: without what may be the neighbour's
        self._plugged = LoadTime()  # that begins the charge: whatever cannot be all the neighbour's
        self._last_mw: deque[int] = deque(maxlen=3)
        self._mean_mw = 0.0
        self._plateau_mw = used.energy_mwh * 3_600_000 / used.charging_ms if used.charging_ms else 0.0
        self._low_since_ns: int | None = None
        self._low_seen_s = 0.0  # and with a load: a plug that is pulled out meanwhile does not count
        self._tapered = False  # power had been falling when it became low
        self._again: tuple[int, int] | None = None  # since when, and in how many readings, power is high again
        self._gone_since_ns: int | None = None
        self._gone_surely = True  # all readings since then are what an empty outlet shows
        self._recent: deque[tuple[int, int]] = deque()  # (at_ns, mW) with load, one a second at most

    def count(self, outlet: MeterCount) -> MeterCount:
        """The session's own use, when the outlet's counter stands at `outlet`."""
        used, base = self._used, self._base
        return MeterCount(
            used.energy_mwh + outlet.energy_mwh - base.energy_mwh,
            used.powered_ms + outlet.powered_ms - base.powered_ms,
            used.charging_ms + outlet.charging_ms - base.charging_ms,
        )

    def take_load_ns(self) -> int:
        """Time with a load that has not been taken yet: only once there surely was one."""
        return self._load.take_ns()

    def without_mains(self) -> None:
        """The mains is away: what was not drawn meanwhile is no sign, and no time with a load."""
        self._load.interrupt()
        self._plugged.interrupt()

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
        crosstalk_mw = int(self._ends.crosstalk_share * neighbour_mw)
        self._see_load(power, crosstalk_mw)
        if self.phase is Phase.WAITING_FOR_LOAD:
            return self._overdue(now_ns)
        steady_mw = self._follow(power.value, past_s)
        if self._is_gone(steady_mw, power, crosstalk_mw):
            return self._gone(power)  # nothing plugged in is not a full battery
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

    def _see_load(self, power: Reading, crosstalk_mw: int) -> None:
        assert power.value is not None  # the caller looked
        ends = self._ends
        self._load.note(power.at_ns, power.value, ends.no_load_mw + crosstalk_mw)
        self._plugged.note(power.at_ns, power.value, max(ends.no_load_mw, ends.unplugged_mw + crosstalk_mw))
        if self._plugged.sure:
            self.phase = Phase.CHARGING

    def _overdue(self, now_ns: int) -> EndReason | None:
        """No load came in time. One that is just beginning may still turn out to be one."""
        waited_ns = now_ns - self._waiting_since_ns
        if self.phase is Phase.WAITING_FOR_LOAD and waited_ns >= self._ends.no_load_ns and not self._plugged.possible:
            return EndReason.NO_LOAD
        return None

    def wait_left_ns(self, now_ns: int) -> int | None:
        """How long it still waits for a load; None once there was one."""
        if self.phase is not Phase.WAITING_FOR_LOAD:
            return None
        return max(0, self._ends.no_load_ns - (now_ns - self._waiting_since_ns))

    def _follow(self, power_mw: int, past_s: float) -> int:
        """Mean power, and the session's plateau, its highest mean. Returns the middle one of three readings.

        From 0, and of the middle one of three readings: the energy of an inrush, 100 J, would be 3 W of the mean, and
        after a plug was pulled and pushed in again 3 W too much for good.
        """
        self._last_mw.append(power_mw)
        steady_mw = int(statistics.median(self._last_mw))
        self._mean_mw += (steady_mw - self._mean_mw) * past_s / (PLATEAU_TAU_S + past_s)
        self._plateau_mw = max(self._plateau_mw, self._mean_mw)
        return steady_mw

    # --- nothing plugged in ------------------------------------------------------------------------------------------

    def _is_gone(self, steady_mw: int, power: Reading, crosstalk_mw: int) -> bool:
        """Whether there is no load now; remembers since when, and what there was before."""
        assert power.value is not None  # the caller looked
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
        assert self._gone_since_ns is not None  # the caller looked
        holds = 1 if self._gone_surely else UNSURE_HOLDS
        if power.at_ns - self._gone_since_ns < holds * self._ends.unplugged_hold_ns:
            return None
        return self._unplugged_or_off()

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

    # --- full --------------------------------------------------------------------------------------------------------

    def _full(self, power: Reading, past_s: float) -> EndReason | None:
        """`FULL` after the hold of low power that came down from a plateau.

        A charger that idles without having tapered pauses: it is waited for longer, and then it has stopped by itself.
        """
        assert power.value is not None  # the caller looked
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
            return None  # or it is just beginning to charge on
        if self._tapered or (self._plugged.sure and self._mean_mw >= self._ends.no_load_mw):
            return EndReason.FULL  # by its mean: what idles a little below is no load, whatever it drew before
        return EndReason.ENDED_BY_LOAD if low_ns >= PAUSE_HOLDS * self._ends.full_hold_ns else None

    def _full_limits(self) -> tuple[int, int]:
        """Power below which a battery is full, and the hysteresis on it.

        Where the plateau is known, a small charger has lower ones: what it always drew is not full. The plateau of a
        resumed charge may never have been seen.
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
        assert power.value is not None  # the caller looked
        if power.value < allowed_mw:
            self._again = None
            return False
        since_ns, readings = (power.at_ns, 0) if self._again is None else self._again
        self._again = since_ns, readings + 1
        return readings + 1 >= AGAIN_READINGS and power.at_ns - since_ns >= AGAIN_NS

    def _was_falling(self, at_ns: int) -> bool:
        """Whether power had been coming down before `at_ns`, and did not drop out of a steady charge."""
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
        if power.quality is Quality.OK and power.value is not None and power.at_ns != self._power_at_ns:
            self._power_at_ns = power.at_ns
            self._see_load(power, int(self._ends.crosstalk_share * neighbour_mw))
        return None

    def over(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns
