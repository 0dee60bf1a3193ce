"""A charge with its meter, fed with watts and seconds."""

from collections.abc import Callable
from typing import Any

from cabinet.charge import Charge, EndLimits
from cabinet.metering import OutletMeter
from cabinet.model import ChargeLimits, EndReason, MeterCount, Quality, Reading

S = 1_000_000_000


ENDS = EndLimits(
    full_floor_mw=15_000,
    full_share=0.12,
    full_hold_ns=1800 * S,
    full_hysteresis_mw=6_000,
    unplugged_mw=500,
    unplugged_hold_ns=60 * S,
    no_load_mw=5_000,
    no_load_ns=120 * S,
    crosstalk_share=0.005,
    max_duration_ns=36_000 * S,
)


class ChargeHarness:
    """A charge with its meter, fed by watts and seconds."""

    def __init__(self, limits: ChargeLimits | None = None, **kwargs: Any) -> None:
        self.meter = OutletMeter()
        self.now_ns = 50 * S
        self.charge = Charge("s1", limits or ChargeLimits(), ENDS, self.meter.count(), self.now_ns, **kwargs)

    def draw(self, watts: float, seconds: int, neighbour_w: int = 0) -> EndReason | None:
        """Draw `watts` for `seconds`, with a reading each second; stop early if the charge ends."""
        for _ in range(seconds):
            self.now_ns += S
            self.meter.add_energy(int(watts * 1_000_000))
            self.meter.add_time(S)
            power = Reading(int(1000 * watts), self.now_ns, Quality.OK)
            reason = self.charge.step(self.now_ns, power, 1000 * neighbour_w, self.meter.count())
            self.meter.add_time(0, self.charge.take_load_ns())
            if reason is not None:
                return reason
        return None

    def follow(self, curve: Callable[[float], float], hours: float, step_s: float = 0.5) -> EndReason | None:
        """Follow a power curve (W by s), with a reading each `step_s`; stop early if the charge ends."""
        start_ns = self.now_ns
        for _ in range(int(hours * 3600 / step_s)):
            self.now_ns += int(step_s * S)
            watts = curve((self.now_ns - start_ns) / S)
            self.meter.add_time(int(step_s * S))
            reason = self.charge.step(self.now_ns, Reading(int(1000 * watts), self.now_ns, Quality.OK), 0, self.count)
            self.meter.add_time(0, self.charge.take_load_ns())
            if reason is not None:
                return reason
        return None

    @property
    def count(self) -> MeterCount:
        return self.meter.count()
