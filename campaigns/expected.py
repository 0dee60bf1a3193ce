"""Expected end and reason of an ordinary charge, computed from the energy that the world really delivers.

The rules are those of `[charge]` in docs/config.md, implemented a second time on the simulator's true values, without
chips, drivers and the age of readings. If a disturbance allows two correct results (a charger that is plugged in again
may restart its countdown), both are followed.
"""

import dataclasses

from cabinet.clock import NS
from cabinet.config.keys import ChargeSection as ChargeKeys
from cabinet.model import ChargeLimits, EndReason
from cabinet_testing.sim_tolerances import MAX_CROSSTALK

CAME_DOWN_SHARE, CAME_DOWN_HYSTERESIS = 0.5, 0.25  # shares of the plateau: a small charger's limits for a full battery
UNSURE_HOLDS = 10  # allowed delay, in holds, because a reading may come from the neighbour
MEAN_S = 30.0  # averaging time of the plateau, as in docs/architecture.md
SOFT_START_S = 10.0  # a charger with low power for less than this is starting
TOLERANCE_S = 120.0  # an end further off than this counts as a nuisance
# Power that a meter may show without load, and from its neighbour: ends within it are indistinguishable.
UNSURE_W = 0.3
UNSURE_SHARE = 0.01  # a meter's noise: power this close to a limit may be on either side of it
PAUSE_HOLDS = 4  # holds of `full` to wait for a charger that idles without a taper
STEADY_SHARE = 0.95  # share of the plateau
TAPER_S = 100.0  # a taper of this duration is detected in strides
UNSEEN_W = 2.0  # less after an interruption: full and unplugged are indistinguishable
BY_ITSELF = frozenset({EndReason.ENDED_BY_LOAD})
PULLED_OUT = frozenset({EndReason.UNPLUGGED})


class Sample:
    """True values of one outlet at one time; `reasons` are correct for an end because the load is gone."""

    __slots__ = ("at_ns", "energy_mwh", "neighbour_w", "reasons", "watts")

    def __init__(
        self, at_ns: int, watts: float, neighbour_w: float, energy_mwh: float, reasons: frozenset[EndReason]
    ) -> None:
        self.at_ns = at_ns
        self.watts = watts
        self.neighbour_w = neighbour_w
        self.energy_mwh = energy_mwh
        self.reasons = reasons


@dataclasses.dataclass
class Way:
    """One correct course of a charge."""

    keys: ChargeKeys
    limits: ChargeLimits
    started_ns: int
    energy_at_start_mwh: float
    used_s: float = 0.0  # with power, before an interruption
    charged_s: float = 0.0  # certainly with a load
    breaks: int = 0  # number of temporary losses of the load
    maybe_charged_s: float = 0.0  # also with readings that may count as a load
    energy_mwh: float = 0.0
    crosstalk_mwh: float = 0.0  # neighbour's energy that a meter may add
    had_load: bool = False
    mean_w: float = 0.0
    plateau_w: float = 0.0
    plateau_known: bool = True  # False: no load was measured before an interruption
    watts: float = 0.0
    at_ns: int | None = None
    low_ns: int | None = None  # time since which the power is certainly low enough for a full battery
    maybe_low_ns: int | None = None
    steady_ns: int | None = None  # time of the last plateau power
    tapered: bool = False  # certainly, when its power became low
    gone_ns: int | None = None  # time since which there is certainly no load
    maybe_gone_ns: int | None = None
    reasons: frozenset[EndReason] = BY_ITSELF

    def step(self, now: Sample) -> None:
        past_s = 0.0 if self.at_ns is None else (now.at_ns - self.at_ns) / NS
        before_w = self.watts
        self.at_ns, self.watts, self.reasons = now.at_ns, now.watts, now.reasons
        self.energy_mwh = now.energy_mwh - self.energy_at_start_mwh
        self.crosstalk_mwh += MAX_CROSSTALK * now.neighbour_w * past_s / 3.6
        if not self.had_load:
            self.had_load = now.watts >= self.keys.no_load_w
            return
        self.breaks += before_w >= self.keys.no_load_w > now.watts
        unsure_w = UNSURE_W + self.keys.crosstalk_share * now.neighbour_w
        self.charged_s += past_s * (now.watts >= self.keys.no_load_w + unsure_w)
        self.maybe_charged_s += past_s * (now.watts >= self.keys.no_load_w - unsure_w)
        self.mean_w += (now.watts - self.mean_w) * past_s / (MEAN_S + past_s)
        self.plateau_w = max(self.plateau_w, self.mean_w)
        if now.watts >= STEADY_SHARE * self.plateau_w:
            self.steady_ns = now.at_ns
        level_w = self.keys.unplugged_w + self.keys.crosstalk_share * now.neighbour_w
        self.gone_ns = _since(self.gone_ns, now.at_ns, now.watts < self.keys.unplugged_w - UNSURE_W)
        self.maybe_gone_ns = _since(self.maybe_gone_ns, now.at_ns, now.watts < level_w + UNSURE_W)
        self._look_for_full(now)

    def _look_for_full(self, now: Sample) -> None:
        limit_w = max(self.keys.full_floor_w, self.keys.full_share * self.plateau_w)
        if self.plateau_known:
            limit_w = min(limit_w, CAME_DOWN_SHARE * self.plateau_w)
        low_before_ns, self.low_ns = self.low_ns, self._low_since(self.low_ns, now, limit_w, 1 - UNSURE_SHARE)
        if low_before_ns is None and self.low_ns is not None:
            self.tapered = (_after_s(now.at_ns, self.steady_ns, 0.0) or 0.0) > TAPER_S
        self.maybe_low_ns = self._low_since(self.maybe_low_ns, now, limit_w, 1 + UNSURE_SHARE)

    def _low_since(self, low_ns: int | None, now: Sample, limit_w: float, share: float) -> int | None:
        soft = low_ns is None or now.at_ns - low_ns < SOFT_START_S * NS
        allowed_w = limit_w
        if not soft:
            share_w = CAME_DOWN_HYSTERESIS * self.plateau_w if self.plateau_known else self.keys.full_hysteresis_w
            allowed_w += min(self.keys.full_hysteresis_w, share_w)
        shown_w = now.watts if share > 1 else now.watts + self.keys.crosstalk_share * now.neighbour_w
        return _since(low_ns, now.at_ns, shown_w < share * allowed_w)

    def error_s(self, at_ns: int, reason: EndReason) -> float | None:
        """Return the delay of an end for `reason` after its due time; None if the reason cannot apply."""
        match reason:
            case EndReason.FULL:
                return _between_s(at_ns, self.maybe_low_ns, self.low_ns, self.keys.full_hold_s)
            case EndReason.NO_LOAD:
                return None if self.had_load else _after_s(at_ns, self.started_ns, self.keys.no_load_s)
            case EndReason.MAX_DURATION:
                return _after_s(at_ns, self.started_ns, self.keys.max_duration_s - self.used_s)
            case EndReason.LIMIT_TIME if self.limits.charging_s is not None:
                bought_s = self.limits.charging_s
                return min(0.0, self.maybe_charged_s - bought_s) or max(0.0, self.charged_s - bought_s)
            case EndReason.LIMIT_ENERGY if self.limits.energy_mwh is not None:
                early_mwh = min(0.0, self.energy_mwh + self.crosstalk_mwh - self.limits.energy_mwh)
                late_mwh = max(0.0, self.energy_mwh - self.limits.energy_mwh)
                return 3.6 * (early_mwh or late_mwh) / max(1.0, self.watts)
            case EndReason.ENDED_BY_LOAD if self.paused_s(at_ns) > -TOLERANCE_S:
                return self.paused_s(at_ns)
            case EndReason.UNPLUGGED | EndReason.ENDED_BY_LOAD if reason in self.reasons or self.plateau_w < UNSEEN_W:
                hold_s = self.keys.unplugged_hold_s
                return _between_s(at_ns, self.maybe_gone_ns, self.gone_ns, hold_s, UNSURE_HOLDS)
        return None

    @property
    def may_pause(self) -> bool:
        """Return whether the charger idles without a certain taper, so it may resume."""
        return not self.tapered and self.watts < self.keys.no_load_w

    def paused_s(self, at_ns: int) -> float:
        """Return the idle time beyond the maximum pause; below 0 if it is shorter."""
        paused_s = _after_s(at_ns, self.low_ns, PAUSE_HOLDS * self.keys.full_hold_s) if self.may_pause else None
        return -self.keys.full_hold_s if paused_s is None else paused_s

    def overdue(self, at_ns: int) -> str | None:
        """Return the reason for which the charge should have ended long ago, or None."""
        gone_s = _after_s(at_ns, self.gone_ns, UNSURE_HOLDS * self.keys.unplugged_hold_s)
        if gone_s is not None:  # a load that is gone is not full
            return "gone" if gone_s > TOLERANCE_S else None
        if self.paused_s(at_ns) > TOLERANCE_S:
            return "paused"
        for reason in EndReason:
            if reason is EndReason.FULL and self.may_pause:
                continue
            unsure = reason in (EndReason.UNPLUGGED, EndReason.ENDED_BY_LOAD)
            if not unsure and (self.error_s(at_ns, reason) or 0.0) > TOLERANCE_S:
                return reason.value
        return None


def _after_s(at_ns: int, since_ns: int | None, hold_s: float) -> float | None:
    return None if since_ns is None else (at_ns - since_ns) / NS - hold_s


def _between_s(
    at_ns: int, maybe_ns: int | None, surely_ns: int | None, hold_s: float, holds: float = 1
) -> float | None:
    """Return the distance outside the two correct ends: 0 between them, None if not even the first has begun.

    The later end is `holds` times the hold after its begin.
    """
    soonest_s, latest_s = _after_s(at_ns, maybe_ns, hold_s), _after_s(at_ns, surely_ns, holds * hold_s)
    if soonest_s is None:
        return None
    return min(0.0, soonest_s) if latest_s is None or latest_s < 0 else latest_s


def _since(before_ns: int | None, at_ns: int, true: bool) -> int | None:
    """Return the time since which a condition is true; `before_ns` if it was already true, None if it is false."""
    if not true:
        return None
    return at_ns if before_ns is None else before_ns


class Expected:
    """All correct courses of one charge."""

    def __init__(self, way: Way) -> None:
        self.ways = [way]

    def step(self, now: Sample) -> None:
        for way in self.ways:
            way.step(now)

    @property
    def watts(self) -> float:
        """Power at the last step."""
        return self.ways[0].watts

    def disturbed(self) -> None:
        """Fork after a return of plug or mains: the countdown to full continues or restarts."""
        assert self.ways[0].at_ns is not None  # at least one step was made
        anew = [dataclasses.replace(way, low_ns=None, maybe_low_ns=None) for way in self.ways]
        alive = [way for way in self.ways if not way.overdue(way.at_ns or 0)] or self.ways
        self.ways = list({(way.low_ns, way.maybe_low_ns): way for way in (*alive, *anew)}.values())

    @property
    def breaks(self) -> int:
        """Number of temporary losses of the load; begin and end of each are known to within one stride."""
        return max(way.breaks for way in self.ways)

    @property
    def may_be_gone(self) -> bool:
        """Return whether the power is no more than the crosstalk that an empty outlet may show."""
        return any(way.maybe_gone_ns is not None for way in self.ways)

    def resumed(self, at_ns: int, had_load: bool) -> None:
        """Resume after a suspension, as a separate charge from here on."""
        way = self.ways[0]
        assert way.at_ns is not None
        way.used_s += (way.at_ns - way.started_ns) / NS
        used_w = 3.6 * way.energy_mwh / way.charged_s if way.charged_s else 0.0
        self.ways = [
            dataclasses.replace(
                way, started_ns=at_ns, had_load=had_load, mean_w=0.0, plateau_w=used_w,
                plateau_known=bool(used_w) or not had_load, at_ns=at_ns,
                low_ns=None, maybe_low_ns=None, gone_ns=None, maybe_gone_ns=None,
                tapered=False, steady_ns=None,  # values before the interruption are lost
            )
        ]  # fmt: skip

    def error_s(self, at_ns: int, reason: EndReason) -> float | None:
        """Return the smallest error of all courses; None if the reason is wrong for each."""
        errors = [error for way in self.ways if (error := way.error_s(at_ns, reason)) is not None]
        return min(errors, key=abs, default=None)

    def overdue(self, at_ns: int) -> bool:
        return all(way.overdue(at_ns) for way in self.ways)

    def __str__(self) -> str:
        return "; ".join(
            f"{way.overdue(way.at_ns or 0) or 'not due'}: {way.watts:.1f} W, plateau {way.plateau_w:.0f} W, low since "
            f"{(way.low_ns or 0) / NS:.0f} s, gone since {(way.gone_ns or 0) / NS:.0f} s, {way.charged_s:.0f} s charged"
            for way in self.ways
        )
