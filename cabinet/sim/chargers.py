"""Battery chargers: constant current while the battery's voltage rises, taper, float or switch-off.

Values of the two lead-acid chargers are published ones (1.8 A to 44.4 V, 0.3 A, float 41.4 V; 3 A to 59.2 V, 0.55 A,
float 55.2 V for 2 to 3 h); lithium ones are of their class. Waveforms and inrush lie in the span measured on
household rectifier loads; efficiency 87 to 90 %.
"""

import itertools
import math
from typing import NamedTuple

from cabinet.errors import SimError
from cabinet.sim.loads import Draw, Inrush
from cabinet.sim.waveform import Shape

_HOUR = 3600.0
HOT_NTC_NS = 60_000_000_000  # an inrush limiter needs about a minute to cool down
CAPACITOR_NS = 100_000_000  # the input capacitor keeps a charger alive and itself charged for so long


class Kind(NamedTuple):
    """What is special about one charger and its battery."""

    title: str
    capacity_ah: float
    current_a: float
    full_v: float  # end of constant current, and the constant voltage after it
    taper_from: float  # state of charge at which the current begins to fall
    ends_a: float  # current at which constant voltage ends
    float_v: float = 0.0  # 0: switches itself off instead
    float_from_a: float = 0.0
    float_to_a: float = 0.0
    float_s: float = 0.0  # of falling; then off unless `floats_on`
    floats_on: bool = False
    rise: tuple[tuple[float, float], ...] = ((0.0, 0.83), (0.1, 0.905), (0.4, 0.925), (1.0, 1.0))
    efficiency: float = 0.87
    charge_factor: float = 1.0  # ampere-hours that must go in for one that stays
    standby_w: float = 2.0
    shape: Shape = Shape.of(2.3, 0.68)
    inrush: Inrush = Inrush(45.0, 1_500_000)
    step_s: float = 5.0


SOFT_START_S = 0.8
_CHARGING = ("constant current", "constant voltage", "float")

KINDS = {
    "lead-acid-36v12ah": Kind(
        "36 V 12 Ah lead-acid, 1.8 A", 12, 1.8, 44.4, 0.78, 0.3, float_v=41.4, float_from_a=0.3, float_to_a=0.05,
        float_s=2 * _HOUR, floats_on=True, charge_factor=1.08, shape=Shape.of(2.5, 0.62), inrush=Inrush(38.0, 800_000),
    ),
    "lead-acid-48v20ah": Kind(
        "48 V 20 Ah lead-acid, 3 A", 20, 3.0, 59.2, 0.80, 0.55, float_v=55.2, float_from_a=0.5, float_to_a=0.06,
        float_s=2.5 * _HOUR, charge_factor=1.08, shape=Shape.of(2.3, 0.68), inrush=Inrush(50.0, 1_500_000),
    ),
    "lithium-48v": Kind(
        "48 V 15 Ah lithium (13 cells), 3 A", 15, 3.0, 54.6, 0.88, 0.20, efficiency=0.88, standby_w=1.5,
        shape=Shape.of(2.0, 0.78), inrush=Inrush(55.0, 1_200_000),
    ),
    "lithium-60v": Kind(
        "60 V 24 Ah lithium (17 cells), 5 A, power factor corrected", 24, 5.0, 71.4, 0.90, 0.40, efficiency=0.90,
        standby_w=2.5, shape=Shape.of(1.5, 0.98), inrush=Inrush(75.0, 2_500_000),
    ),
    "demo": Kind(
        "a toy battery that is full in about two minutes, 150 W", 0.115, 2.5, 54.6, 0.90, 0.45, efficiency=0.90,
        shape=Shape.of(2.1, 0.72), inrush=Inrush(40.0, 1_000_000), step_s=0.5,
    ),
}  # fmt: skip


class Charger:
    """A charger with its battery, at `speed` times the pace of nature."""

    def __init__(self, name: str, charge_percent: float = 30.0, speed: float = 1.0) -> None:
        if not 0 <= charge_percent <= 100:
            raise SimError(f"a state of charge is 0 to 100 percent, not {charge_percent:g}")
        self.name = name
        self._kind = KINDS[name]
        self._speed = speed
        self._charge = charge_percent / 100
        self._stage = "off"
        self._stage_s = 0.0  # time in this stage, at the battery's pace
        self._at_ns: int | None = None
        self._on_ns = 0
        self._was_warm = False  # on for long enough that the inrush limiter got hot

    def energise(self, at_ns: int, off_ns: int | None) -> Inrush | None:
        kind = self._kind
        limiter_hot = off_ns is not None and off_ns < HOT_NTC_NS and self._was_warm
        factor = 1.6 if limiter_hot else 1.0
        if off_ns is not None and off_ns < CAPACITOR_NS:
            factor *= off_ns / CAPACITOR_NS
        self._at_ns = at_ns
        self._on_ns = at_ns
        if off_ns is None or off_ns >= CAPACITOR_NS or self._stage == "off":
            self._enter("starting")
        return Inrush(kind.inrush.peak_a * factor, kind.inrush.width_ns)

    def deenergise(self, at_ns: int) -> None:
        self._was_warm = at_ns - self._on_ns > 5_000_000_000
        self._step(at_ns)
        self._at_ns = None

    def draw(self, at_ns: int, volts: float) -> Draw:
        self._step(at_ns)
        return Draw(self._watts(), self._kind.shape)

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
        """Take the battery to `at_ns`: charge added at the current that flowed since."""
        if self._at_ns is None or at_ns <= self._at_ns:
            return
        kind = self._kind
        seconds = (at_ns - self._at_ns) * 1e-9 * (1.0 if self._stage == "starting" else self._speed)
        self._at_ns = at_ns
        self._stage_s += seconds
        if self._stage in _CHARGING:
            self._charge += self._amps() * seconds / (kind.capacity_ah * kind.charge_factor * _HOUR)
            self._charge = min(self._charge, 1.0)
        self._next_stage()

    def _next_stage(self) -> None:
        kind = self._kind
        if self._stage == "starting" and self._stage_s >= SOFT_START_S * 0.999:
            self._enter("constant current")
        if self._stage == "constant current" and self._charge >= kind.taper_from:
            self._enter("constant voltage")
        if self._stage == "constant voltage" and self._amps() <= kind.ends_a:
            self._enter("float" if kind.float_v else "done")
        if self._stage == "float" and self._stage_s >= kind.float_s and not kind.floats_on:
            self._enter("done")

    def _amps(self) -> float:
        kind = self._kind
        if self._stage == "constant current":
            return kind.current_a
        if self._stage == "constant voltage":
            return kind.current_a * min(1.0, (1.0 - self._charge) / (1.0 - kind.taper_from))
        if self._stage == "float":
            done = min(1.0, self._stage_s / kind.float_s)
            return kind.float_from_a * math.exp(math.log(kind.float_to_a / kind.float_from_a) * done)
        return 0.0

    def _volts(self) -> float:
        kind = self._kind
        if self._stage == "float":
            return kind.float_v
        if self._stage == "constant voltage":
            return kind.full_v
        place = min(1.0, self._charge / kind.taper_from)
        for (low, share_low), (high, share_high) in itertools.pairwise(kind.rise):
            if place <= high:
                return kind.full_v * (share_low + (share_high - share_low) * (place - low) / (high - low))
        return kind.full_v

    def _watts(self) -> float:
        if self._stage in _CHARGING:
            return max(self._amps() * self._volts() / self._kind.efficiency, self._kind.standby_w)
        return self._kind.standby_w
