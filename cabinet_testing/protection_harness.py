"""One outlet, or the cabinet, as the protections see it: values and a hand-moved clock."""

from collections.abc import Iterable
from itertools import cycle
from typing import Any

from cabinet.model import Quality, Reading
from cabinet.protections.inputs import (
    CabinetInputs,
    CabinetLimits,
    OutletInputs,
    OutletLoad,
    PeakWindow,
    ProtectionLimits,
)
from cabinet.safety import CabinetSafety, OutletSafety

MS = 1_000_000
S = 1_000_000_000
HALF = 10 * MS

LIMITS = ProtectionLimits(
    short_peak_ma=30_000,
    short_window_ns=100 * MS,
    hard_peak_ma=150_000,
    rated_ma=5_500,
    most_mw=1_000_000,
    overpower_ns=10 * S,
    hot_trip_mc=75_000,
    hot_warn_mc=65_000,
    hot_rise_mc_per_min=8_000,
    hot_rise_above_mc=45_000,
    hot_hysteresis_mc=10_000,
    peak_lost_ns=100 * MS,
    slow_lost_ns=S,
    temperature_lost_ns=5 * S,
    reset_ns=100 * MS,
    frozen_ns=5 * S,
    weld_ma=100,
    weld_after_ns=100 * MS,
    stuck_open_ns=S,
    late_ns=50 * MS,
    lowest_mv=176_000,
    highest_mv=264_000,
    voltage_ns=S,
    voltage_back_ns=60 * S,
    runaway_share=0.15,
    runaway_mw=6_000,
    runaway_ns=600 * S,
    storm_trips=3,
    storm_ns=3600 * S,
    half_cycle_ns=HALF,
    thermometer_fitted=True,
)


class OutletHarness:
    """One outlet, all its sensors valid unless told otherwise."""

    def __init__(self, closed: bool = True) -> None:
        self.safety = OutletSafety(LIMITS)
        self.inputs = OutletInputs(3, at_ns=100 * S, closed=closed, switched_at_ns=0)
        self.values = {"current_ma": 1_000, "voltage_mv": 220_000, "power_mw": 150_000, "temperature_mc": 25_000}
        self.silent: set[str] = set()
        self.contradicting = False  # True: values as they are set, whether a meter could measure them together or not
        self.steps = 0

    def step(self, past_ns: int = 3 * MS, peak_ma: int | None = -1, phase_known: bool = True) -> Any:
        """Move on by `past_ns` and judge; `peak_ma` None: the peak register was not read, -1: as the relay says."""
        self.steps += 1
        if peak_ma == -1:
            peak_ma = (
                3 * self._measured()["current_ma"] // 2 + self.steps % 7 if self.inputs.closed else 0
            )  # a live load's never stand still
        inputs = self.inputs
        from_ns, inputs.at_ns = inputs.at_ns, inputs.at_ns + past_ns
        inputs.window = None
        if peak_ma is not None:
            first, last, crest_ns = from_ns // HALF, inputs.at_ns // HALF, inputs.at_ns // HALF * HALF + HALF // 2
            phase = (first, last, crest_ns) if phase_known else (None, None, None)
            inputs.window = PeakWindow(peak_ma, from_ns, inputs.at_ns, *phase)
            inputs.peak_valid_at_ns = inputs.at_ns
        values = self._measured()
        for name in values.keys() - self.silent:
            inputs.slow_reads += 1
            setattr(inputs, name, Reading(values[name], inputs.at_ns, Quality.OK))
        return self.safety.step(inputs)

    def _measured(self) -> dict[str, int]:
        """The values as a meter shows them together: current for the power, nothing while open or without mains."""
        values = dict(self.values)
        if self.contradicting:
            return values
        if not self.inputs.closed or values["voltage_mv"] < 1_000:
            return values | {"power_mw": 0, "current_ma": 0}
        return values | {"current_ma": max(values["current_ma"], values["power_mw"] * 1000 // values["voltage_mv"])}

    def run(
        self, seconds: float, step_ns: int = 100 * MS, peaks_ma: Iterable[int] = (), **kwargs: Any
    ) -> tuple[Any, float]:
        """Step until something trips or the time is over; returns (trip, seconds it took). `peaks_ma` in turn."""
        start_ns = self.inputs.at_ns
        peaks = cycle(peaks_ma)
        while self.inputs.at_ns - start_ns < seconds * S:
            if peaks_ma:
                kwargs["peak_ma"] = next(peaks)
            if (trip := self.step(step_ns, **kwargs)) is not None:
                return trip, (self.inputs.at_ns - start_ns) / S
        return None, seconds


CABINET_LIMITS = CabinetLimits(
    hot_trip_mc=65_000,
    hot_warn_mc=55_000,
    feed_mw=2_000_000,
    feed_refuse_mw=1_800_000,
    feed_reserve_mw=200_000,
    feed_overload_ns=5 * S,
    disagree_share=0.1,
    disagree_mw=110_000,
    disagree_warn_ns=2 * S,
    disagree_open_ns=10 * S,
    weld_ma=100,
    short_peak_ma=30_000,
    contactor_release_ns=40 * MS,
)


class CabinetHarness:
    """The cabinet; `powers_mw` by outlet, closed in the order of their numbers."""

    def __init__(self, powers_mw: dict[int, int | None] | None = None) -> None:
        self.safety = CabinetSafety(CABINET_LIMITS)
        self.inputs = CabinetInputs(at_ns=100 * S)
        self.powers_mw: dict[int, int | None] = dict(powers_mw or {})
        self.feed_mw: int | None = None
        self.inside_mc: int | None = None

    def step(self, past_ns: int = 3 * MS, peak_ma: int | None = None) -> Any:
        """Move on and judge; `peak_ma` is the highest peak of any outlet in that time."""
        inputs = self.inputs
        from_ns, inputs.at_ns = inputs.at_ns, inputs.at_ns + past_ns
        inputs.loads = [OutletLoad(outlet, mw, outlet * S, True) for outlet, mw in self.powers_mw.items()]
        if self.feed_mw is not None:
            inputs.feed_mw = Reading(self.feed_mw, inputs.at_ns, Quality.OK)
        if self.inside_mc is not None:
            inputs.inside_mc = Reading(self.inside_mc, inputs.at_ns, Quality.OK)
        inputs.highest_window = None if peak_ma is None else PeakWindow(peak_ma, from_ns, inputs.at_ns, None, None)
        return self.safety.step(inputs)

    def run(
        self, seconds: float, step_ns: int = 100 * MS, peaks_ma: Iterable[int] = (), **kwargs: Any
    ) -> tuple[Any, float]:
        """Step until something trips or the time is over; returns (trip, seconds it took). `peaks_ma` in turn."""
        start_ns = self.inputs.at_ns
        peaks = cycle(peaks_ma)
        while self.inputs.at_ns - start_ns < seconds * S:
            if peaks_ma:
                kwargs["peak_ma"] = next(peaks)
            if (trip := self.step(step_ns, **kwargs)) is not None:
                return trip, (self.inputs.at_ns - start_ns) / S
        return None, seconds
