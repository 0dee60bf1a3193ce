"""Battery chargers: constant current while the battery's voltage rises, taper, then the end stage of the kind.

The parameters of each kind are in `batteries`.
"""

import itertools
import math
import random

from cabinet.errors import SimError
from cabinet.sim.batteries import HOUR, KINDS, BatteryKind, random_kind
from cabinet.sim.loads import CAPACITOR_NS, Draw, Inrush, emptied_share

HOT_LIMITER = 1.6  # current through a hot inrush limiter, as a multiple of that through a cold one
HOT_NTC_NS = 60_000_000_000  # an inrush limiter needs about a minute to cool down
MIN_V = 90.0  # below this a charger for 220 V stops; typical of its class
SOFT_START_S = 0.8
_CHARGING = ("constant current", "constant voltage", "runaway", "boost", "balancing", "float")


class Charger:
    """A charger with its battery, at `speed` times real time."""

    def __init__(
        self, name: str, charge_percent: float = 30.0, speed: float = 1.0, kind: BatteryKind | None = None
    ) -> None:
        """Set up the charger; if `kind` is None, take the kind named `name`."""
        if not 0 <= charge_percent <= 100:
            raise SimError(f"a state of charge is 0 to 100 percent, not {charge_percent:g}")
        self.name = name
        self._kind = KINDS[name] if kind is None else kind
        self._speed = speed
        self._charge = charge_percent / 100
        self._stage = "off"
        self._stage_s = 0.0  # battery time in this stage
        self._on_s = 0.0  # battery time with mains
        self._starved = False
        self._at_ns: int | None = None
        self._on_ns = 0
        self._was_warm = False  # on for long enough to heat the inrush limiter

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        kind = self._kind
        limiter_hot = off_ns is not None and off_ns < HOT_NTC_NS and self._was_warm
        factor = HOT_LIMITER if limiter_hot else 1.0
        emptied = emptied_share(off_ns)
        self._at_ns = at_ns
        self._on_ns = at_ns
        if off_ns is None or off_ns >= CAPACITOR_NS or self._stage == "off":
            self._enter("starting")
        return kind.inrush._replace(
            peak_a=kind.inrush.peak_a * factor * emptied,
            limiter_ohm=kind.inrush.limiter_ohm / factor,
            charged=1.0 - emptied,
        )

    def deenergise(self, at_ns: int) -> None:
        self._was_warm = at_ns - self._on_ns > 5_000_000_000
        self._step(at_ns)
        self._at_ns = None

    def draw(self, at_ns: int, volts: float) -> Draw:
        self._step(at_ns)
        self._starved = volts < MIN_V
        return Draw(0.0 if self._starved else self._watts(), self._kind.shape)

    def next_step_ns(self, at_ns: int) -> int | None:
        if self._at_ns is None or self._stage == "done":
            return None
        if self._stage == "starting":
            return at_ns + max(1_000_000, round((SOFT_START_S - self._stage_s) * 1e9))
        return at_ns + round(max(0.1, self._kind.step_s / self._speed) * 1e9)

    def charge_percent(self) -> float | None:
        return self._charge * 100

    def stage(self) -> str:
        return self._stage

    def _enter(self, stage: str) -> None:
        self._stage = stage
        self._stage_s = 0.0

    def _step(self, at_ns: int) -> None:
        """Advance the battery to `at_ns`: add the charge of the current that flowed since the last step."""
        if self._at_ns is None or at_ns <= self._at_ns:
            return
        kind = self._kind
        seconds = (at_ns - self._at_ns) * 1e-9 * (1.0 if self._stage == "starting" else self._speed)
        self._at_ns = at_ns
        if self._starved:
            return
        self._stage_s += seconds
        self._on_s += seconds
        if self._stage in _CHARGING:
            self._charge += self._amps() * seconds / (kind.capacity_ah * kind.charge_factor * HOUR)
            self._charge = min(self._charge, 1.0)
        self._next_stage()

    def _next_stage(self) -> None:
        kind = self._kind
        if self._stage == "starting" and self._stage_s >= SOFT_START_S * 0.999:
            self._enter("constant current")
        if self._stage == "constant current" and kind.tapers and self._charge >= kind.taper_from:
            self._enter("constant voltage")
        if self._stage == "constant voltage" and kind.runaway_s and self._amps() <= kind.runaway_from_a:
            self._enter("runaway")
        if self._stage == "constant voltage" and self._amps() <= kind.ends_a:
            self._enter("boost" if kind.boost_a else "balancing" if kind.balance_a else self._last())
        if (self._stage == "boost" and self._stage_s >= kind.boost_s) or (
            self._stage == "balancing" and self._stage_s >= kind.balance_s
        ):
            self._enter(self._last())
        if self._stage == "float" and self._stage_s >= kind.float_s and not kind.floats_on:
            self._enter("done")

    def _last(self) -> str:
        return "float" if self._kind.float_v else "done"

    def _amps(self) -> float:
        kind = self._kind
        match self._stage:
            case "constant current":
                return kind.current_a
            case "constant voltage":
                return kind.current_a * min(1.0, (1.0 - self._charge) / (1.0 - kind.taper_from))
            case "runaway":  # heat raises the current, the current raises the heat
                grown = math.exp(math.log(kind.current_a / kind.runaway_from_a) * self._stage_s / kind.runaway_s)
                return min(kind.current_a, kind.runaway_from_a * grown)
            case "boost":
                return kind.boost_a
            case "balancing":
                place_s = self._stage_s % (kind.balance_off_s + kind.balance_on_s)
                return kind.balance_a if place_s >= kind.balance_off_s else 0.0
            case "float":
                done = min(1.0, self._stage_s / kind.float_s)
                return kind.float_from_a * math.exp(math.log(kind.float_to_a / kind.float_from_a) * done)
        return 0.0

    def _volts(self) -> float:
        kind = self._kind
        if self._stage == "float":
            return kind.float_v
        if self._stage == "boost":
            return kind.full_v + (kind.boost_v - kind.full_v) * min(1.0, self._stage_s / kind.boost_s)
        if self._stage != "constant current":
            return kind.full_v
        place = min(1.0, self._charge / kind.taper_from)
        for (low, share_low), (high, share_high) in itertools.pairwise(kind.rise):
            if place <= high:
                return kind.full_v * (share_low + (share_high - share_low) * (place - low) / (high - low))
        return kind.full_v

    def _watts(self) -> float:
        kind = self._kind
        if self._stage not in _CHARGING:
            return kind.standby_w
        fan_on = kind.fan_w and self._on_s % (kind.fan_off_s + kind.fan_on_s) >= kind.fan_off_s
        return max(self._amps() * self._volts() / kind.efficiency, kind.standby_w) + (kind.fan_w if fan_on else 0.0)


def random_charger(
    rng: random.Random, charge_percent: float | None = None, speed: float = 1.0, iron_share: float = 0.0
) -> Charger:
    """Return a random healthy charger and battery; if `charge_percent` is None, it is drawn from 5 to 90."""
    kind = random_kind(rng, iron_share)
    charge = rng.uniform(5.0, 90.0) if charge_percent is None else charge_percent
    return Charger(kind.title, charge, speed, kind)
