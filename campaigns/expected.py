"""When an ordinary charge should end and why, worked out from what the world really delivers.

The rules are those of `[charge]` in docs/config.md, written once more and fed with the simulator's truth: no chip, no
driver, no reading's age is between. Where a disturbance leaves two answers right (a charger that is plugged in anew may
begin its countdown anew), both are followed.
"""

import dataclasses

from cabinet.clock import NS
from cabinet.config.keys import Charge as ChargeKeys
from cabinet.model import ChargeLimits, EndReason
from cabinet.sim.tolerances import MAX_CROSSTALK

CAME_DOWN_SHARE, CAME_DOWN_HYSTERESIS = 0.5, 0.25  # of the plateau: a small charger's limits for a full battery
UNSURE_HOLDS = 10  # what an outlet shows may be its neighbour's: so many holds
MEAN_S = 30.0  # of the plateau, as docs/architecture.md has it
SOFT_START_S = 10.0  # low for less than this is a charger that starts
TOLERANCE_S = 120.0  # an end so far from where it should be is a nuisance
# What a meter may show at an outlet without load, and a neighbour's power in it: an end nobody could tell from another.
UNSURE_W = 0.3
UNSURE_SHARE = 0.01  # a meter's noise: whether power that is so near a limit is below it, nobody could say
PAUSE_HOLDS = 4  # times the hold of full, for which a charger that idles without a taper is waited for
STEADY_SHARE = 0.95  # of the plateau
TAPER_S = 100.0  # strides see a taper that lasts so long
UNSEEN_W = 2.0  # went on after an interruption with less: whether full or taken away, nobody could say
BY_ITSELF = frozenset({EndReason.ENDED_BY_LOAD})
PULLED_OUT = frozenset({EndReason.UNPLUGGED})


class Sample:
    """The truth at one outlet at one moment; `reasons` are right for an end by a load that is gone."""

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
    """One way a charge may rightly go on."""

    keys: ChargeKeys
    limits: ChargeLimits
    started_ns: int
    energy_at_start_mwh: float
    used_s: float = 0.0  # with power, before an interruption
    charged_s: float = 0.0  # surely with a load
    breaks: int = 0  # times that its load went away for a while
    maybe_charged_s: float = 0.0  # the same, and what a meter may take for one
    energy_mwh: float = 0.0
    crosstalk_mwh: float = 0.0  # what a meter may count of its neighbour's besides
    had_load: bool = False
    mean_w: float = 0.0
    plateau_w: float = 0.0
    plateau_known: bool = True  # False: it goes on after an interruption before which no load was measured
    watts: float = 0.0
    at_ns: int | None = None
    low_ns: int | None = None  # since when its power was surely low enough for a full battery
    maybe_low_ns: int | None = None
    steady_ns: int | None = None  # when it last drew its plateau
    tapered: bool = False  # surely, when its power became low
    gone_ns: int | None = None  # since when there was surely no load
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
        """How long after its time an end for `reason` is; None where nothing speaks for that reason."""
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
        """It idles, and may not have tapered: whether it charges on, time will tell."""
        return not self.tapered and self.watts < self.keys.no_load_w

    def paused_s(self, at_ns: int) -> float:
        """How much longer it has idled than a pause is waited for; below 0: not so long."""
        paused_s = _after_s(at_ns, self.low_ns, PAUSE_HOLDS * self.keys.full_hold_s) if self.may_pause else None
        return -self.keys.full_hold_s if paused_s is None else paused_s

    def overdue(self, at_ns: int) -> str | None:
        """The reason for which it should have ended long ago."""
        gone_s = _after_s(at_ns, self.gone_ns, UNSURE_HOLDS * self.keys.unplugged_hold_s)
        if gone_s is not None:  # then it is not full
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
    """How far outside of the two ends that are right; 0 between them, None if not even the first is.

    `holds`: the last of the two may be so many holds later.
    """
    soonest_s, latest_s = _after_s(at_ns, maybe_ns, hold_s), _after_s(at_ns, surely_ns, holds * hold_s)
    if soonest_s is None:
        return None
    return min(0.0, soonest_s) if latest_s is None or latest_s < 0 else latest_s


def _since(before_ns: int | None, at_ns: int, true: bool) -> int | None:
    """Since when something is true that was so since `before_ns`."""
    if not true:
        return None
    return at_ns if before_ns is None else before_ns


class Expected:
    """All ways of one charge."""

    def __init__(self, way: Way) -> None:
        self.ways = [way]

    def step(self, now: Sample) -> None:
        for way in self.ways:
            way.step(now)

    @property
    def watts(self) -> float:
        """At the last step."""
        return self.ways[0].watts

    def disturbed(self) -> None:
        """Plug or mains came back: the countdown to full goes on, or begins anew."""
        assert self.ways[0].at_ns is not None  # it has been looked at
        anew = [dataclasses.replace(way, low_ns=None, maybe_low_ns=None) for way in self.ways]
        alive = [way for way in self.ways if not way.overdue(way.at_ns or 0)] or self.ways
        self.ways = list({(way.low_ns, way.maybe_low_ns): way for way in (*alive, *anew)}.values())

    @property
    def breaks(self) -> int:
        """Times that its load went away for a while: strides know the beginning and the end of each within one."""
        return max(way.breaks for way in self.ways)

    @property
    def may_be_gone(self) -> bool:
        """Whether no more is drawn than an empty outlet may show of its neighbour."""
        return any(way.maybe_gone_ns is not None for way in self.ways)

    def resumed(self, at_ns: int, had_load: bool) -> None:
        """It was suspended, and goes on from here as a charge of its own."""
        way = self.ways[0]
        assert way.at_ns is not None
        way.used_s += (way.at_ns - way.started_ns) / NS
        used_w = 3.6 * way.energy_mwh / way.charged_s if way.charged_s else 0.0
        self.ways = [
            dataclasses.replace(
                way, started_ns=at_ns, had_load=had_load, mean_w=0.0, plateau_w=used_w,
                plateau_known=bool(used_w) or not had_load, at_ns=at_ns,
                low_ns=None, maybe_low_ns=None, gone_ns=None, maybe_gone_ns=None,
                tapered=False, steady_ns=None,  # what was seen before the interruption is not known any more
            )
        ]  # fmt: skip

    def error_s(self, at_ns: int, reason: EndReason) -> float | None:
        """The smallest of all ways; None where the reason is wrong for each."""
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
