"""Habits of real chargers as power curves: watts by seconds since the start of the charge, and the correct end reasons.

They represent: chargers that serve two packs in turn, second chargers on a strip, heat derating and pauses of packs
and chargers, long charges (capacity over current), small chargers, pre-charge of a deep-discharged pack, self-tests of
an idle charger. The powers are typical of the class; none is measured. `random_habit` draws habits of any power and
length, not only near the limits of `[charge]`.
"""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

from cabinet.model import EndReason
from cabinet.sim.loads import Draw, Inrush, emptied_share
from cabinet.sim.waveform import Shape

HOUR, MINUTE = 3600.0, 60.0
LOAD_W = 5.0  # at or above this power a charger charges; below, it idles
IDLE_W = 2.0
END_SHARE = 0.05  # share of the constant-current power at which a charger switches to idle
CHARGED = frozenset({EndReason.FULL, EndReason.ENDED_BY_LOAD, EndReason.UNPLUGGED})

SHAPE = Shape.of(2.3, 0.68)  # crest and power factor of a charger without power factor correction

Curve = Callable[[float], float]


class Habit(NamedTuple):
    """A curve to follow for `hours`; `allowed` are the correct end reasons, none of them before `not_before_s`."""

    name: str
    watts: Curve
    hours: float
    allowed: frozenset[EndReason] = CHARGED
    not_before_s: float = 0.0


def charge(watts: float, hours: float, tau_h: float = 0.7, rise: float = 0.08, idle_w: float = IDLE_W) -> Curve:
    """Return constant current, with power rising by the share `rise`, then an exponential taper, then idle."""

    def at(t: float) -> float:
        if t < hours * HOUR:
            return watts * (1.0 - rise + rise * t / (hours * HOUR))
        tapering = watts * math.exp((hours * HOUR - t) / (tau_h * HOUR))
        return tapering if tapering > END_SHARE * watts else idle_w

    return at


def tapered_s(hours: float, tau_h: float = 0.7) -> float:
    """Return the time at which `charge(watts, hours, tau_h)` switches to idle."""
    return (hours - tau_h * math.log(END_SHARE)) * HOUR


def paused(curve: Curve, at_s: float, pause_s: float, watts: float = 3.0) -> Curve:
    """Return `curve` with a pause from `at_s` on, during which the charger draws `watts`."""
    return lambda t: curve(t) if t < at_s else watts if t < at_s + pause_s else curve(t - pause_s)


def two_packs(first: Curve, second: Curve, at_s: float, change_s: float = 3.0) -> Curve:
    """Return a charger that changes over to another pack at `at_s` and idles for `change_s` in between."""
    return lambda t: first(t) if t < at_s else 3.0 if t < at_s + change_s else second(t - at_s - change_s)


def strip(first: Curve, second: Curve, at_s: float) -> Curve:
    """Return two chargers on one strip, the second one plugged in at `at_s`."""
    return lambda t: first(t) + (second(t - at_s) if t >= at_s else 0.0)


def derated(curve: Curve, at_s: float, for_s: float, share: float) -> Curve:
    """Return a hot charger that reduces its power to `share` at `at_s` and resumes full power after `for_s`."""
    return lambda t: (
        curve(t) if t < at_s else share * curve(at_s) if t < at_s + for_s else curve(t - (1 - share) * for_s)
    )


def resting(curve: Curve, every_s: float, rest_s: float, watts: float = 0.8) -> Curve:
    """Return a charger that is off for the last `rest_s` of every `every_s`."""

    def at(t: float) -> float:
        turns, place_s = divmod(t, every_s)
        on_s = every_s - rest_s
        return watts if place_s > on_s else curve(turns * on_s + place_s)

    return at


def woken(curve: Curve, after_s: float, idle_w: float = IDLE_W, inrush_w: float = 40.0) -> Curve:
    """Return a charger that draws inrush for 0.5 s when plugged in, but charges only `after_s` later."""
    return lambda t: inrush_w if t < 0.5 else idle_w if t < after_s else curve(t - after_s)


def pulsing(curve: Curve, watts: float, every_s: float, pulse_s: float = 0.3) -> Curve:
    """Return a charger that tests itself: `watts` more for `pulse_s` of every `every_s`."""
    return lambda t: curve(t) + (watts if t % every_s < pulse_s else 0.0)


def steady(watts: float, hours: float, after_w: float = 0.3) -> Curve:
    """Return a small charger with constant power until its end."""
    return lambda t: watts if t < hours * HOUR else after_w


def precharged(curve: Curve, watts: float, for_s: float) -> Curve:
    """Return the charge of a deep-discharged pack: a small current first, until it can take the full current."""
    return lambda t: watts if t < for_s else curve(t - for_s)


_ORDINARY = charge(160, 2)
_LONGEST = frozenset({EndReason.MAX_DURATION, EndReason.LIMIT_TIME})

HABITS = (
    Habit("second pack", two_packs(_ORDINARY, _ORDINARY, 2.8 * HOUR), 9, not_before_s=4.8 * HOUR),
    Habit("second charger", strip(_ORDINARY, charge(100, 2), 2.5 * HOUR), 8, not_before_s=4.5 * HOUR),
    Habit("derated by heat", derated(charge(300, 2, 0.5), HOUR, 0.5 * HOUR, 0.6), 6, not_before_s=2.2 * HOUR),
    Habit("hot pause", paused(_ORDINARY, HOUR, 40 * MINUTE), 7, not_before_s=2.6 * HOUR),
    Habit("rests", resting(lambda t: 160.0, 1800, 300), 11, CHARGED | _LONGEST, not_before_s=9 * HOUR),
    Habit("nine hours", charge(460, 9), 12, CHARGED | _LONGEST, not_before_s=9 * HOUR),
    Habit("small charger", steady(12.4, 6), 8, not_before_s=6 * HOUR),
    Habit("pre-charge", precharged(_ORDINARY, 8.0, 45 * MINUTE), 7, not_before_s=2.7 * HOUR),
    Habit("late waking", woken(_ORDINARY, 90), 7, not_before_s=2 * HOUR),
    Habit("idle pulses", pulsing(charge(160, 1, 0.2), 45, 230), 4, not_before_s=HOUR),
)


class HabitLoad:
    """A load with a habit, for the simulated outlet; the curve pauses if there is no mains."""

    def __init__(
        self, name: str, curve: Curve, step_s: float = 0.1, inrush_a: float = 40.0, shape: Shape = SHAPE
    ) -> None:
        self.name = name
        self._shape = shape
        self._curve = curve
        self._step_ns = round(step_s * 1e9)
        self._inrush_a = inrush_a
        self._played_ns = 0
        self._since_ns: int | None = None

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        self._since_ns = at_ns
        return Inrush(self._inrush_a * emptied_share(off_ns), 1_200_000) if self._inrush_a else None

    def deenergise(self, at_ns: int) -> None:
        if self._since_ns is not None:
            self._played_ns += at_ns - self._since_ns
        self._since_ns = None

    def draw(self, at_ns: int, volts: float) -> Draw:
        if self._since_ns is not None:
            self._played_ns += at_ns - self._since_ns
            self._since_ns = at_ns
        return Draw(self._curve(self._played_ns / 1e9), self._shape)

    def next_step_ns(self, at_ns: int) -> int | None:
        return None if self._since_ns is None else at_ns + self._step_ns

    @property
    def played_s(self) -> float:
        """Position on the curve when mains was last lost or power was last read."""
        return self._played_ns / 1e9

    def charge_percent(self) -> float | None:
        return None

    def stage(self) -> str:
        return "habit"


def random_habit(rng: random.Random) -> Habit:
    """Return a healthy charger with one habit, of any power and length."""
    watts, hours, tau_h = rng.uniform(60, 480), rng.uniform(1, 5), rng.uniform(0.05, 0.8)
    rise = rng.uniform(0.0, 0.2)
    curve, cc_s = charge(watts, hours, tau_h, rise), hours * HOUR
    at_s = rng.uniform(0.1, 0.9) * cc_s
    longest = hours + 8 * tau_h + 5
    match rng.randrange(9):
        case 0:
            at_s = cc_s + rng.uniform(0.05, 0.6) * tau_h * HOUR
            second = charge(watts, rng.uniform(1, 3), tau_h, rise)
            return Habit(
                "second pack", two_packs(curve, second, at_s, rng.uniform(2, 30)), longest + 4, not_before_s=at_s
            )
        case 1:
            at_s = cc_s + rng.uniform(0.0, 1.5) * tau_h * HOUR
            second = charge(rng.uniform(60, 300), rng.uniform(1, 3), tau_h, rise)
            return Habit("second charger", strip(curve, second, at_s), longest + 5, not_before_s=at_s)
        case 2:
            return Habit(
                "derated", derated(curve, at_s, rng.uniform(300, 5400), rng.uniform(0.3, 0.9)), longest + 2,
                not_before_s=cc_s,
            )  # fmt: skip
        case 3:
            pause_s = rng.uniform(60, 5400)
            return Habit(
                "pause", paused(curve, at_s, pause_s, rng.uniform(1.5, 4.0)), longest + 2, not_before_s=cc_s + pause_s
            )
        case 4:
            every_s = rng.uniform(600, 3600)
            rested = resting(curve, every_s, rng.uniform(0.1, 0.4) * every_s, rng.uniform(1.0, 4.0))
            return Habit("rests", rested, 2 * longest, CHARGED | _LONGEST, not_before_s=min(cc_s, 10 * HOUR))
        case 5:
            watts = rng.uniform(8, 30)
            return Habit("small charger", steady(watts, hours, rng.uniform(1.0, 3.0)), hours + 4, not_before_s=cc_s)
        case 6:
            for_s = rng.uniform(600, 5400)
            pre = precharged(curve, rng.uniform(7, 20), for_s)
            return Habit("pre-charge", pre, longest + 2, not_before_s=cc_s + for_s)
        case 7:
            return Habit(
                "late waking", woken(curve, rng.uniform(5, 110), rng.uniform(1, 3)), longest, not_before_s=cc_s
            )
    pulses = pulsing(curve, rng.uniform(25, 60), rng.uniform(60, 600), rng.uniform(0.1, 0.3))
    return Habit("idle pulses", pulses, longest, not_before_s=cc_s)
