"""One outlet, or the cabinet, as the protections see it: values and a hand-moved clock."""

from collections.abc import Iterable
from itertools import cycle
from types import SimpleNamespace
from typing import Any

from cabinet.clock import ManualClock
from cabinet.config import parse
from cabinet.config.reference import example
from cabinet.guard.interlocks import Interlocks, PreCloseCheck
from cabinet.model import Quality, Reading
from cabinet.protections.inputs import CabinetInputs, OutletInputs, OutletLoad, PeakWindow
from cabinet.safety import CabinetSafety, OutletSafety

MS = 1_000_000
S = 1_000_000_000
HALF = 10 * MS

CONFIG = parse(example().replace("# rated_a = 8.0", "rated_a = 5.5").replace("# limit_w = 7000.0", "limit_w = 2000"))


def interlock(unit: dict[str, object], cabinet: dict[str, object], check: PreCloseCheck) -> str | None:
    """Return the interlock that the readings give, with everything else ready; None if there is none."""
    parts: list[Any] = [
        SimpleNamespace(latched=False, **cabinet),
        SimpleNamespace(locked_out=False, settled=lambda now_ns: True, welded=lambda: False),
        SimpleNamespace(contactor_closed=True),
        SimpleNamespace(writable=True),
        ManualClock(),
    ]
    outlet: Any = SimpleNamespace(
        latched=False, fault=None, note=None, reserved=False, lowest_mv=176_000, highest_mv=264_000, **unit
    )
    return Interlocks(*parts).interlock(outlet, check)


class _Harness:
    inputs: Any
    step: Any  # by nanoseconds; returns the trip, or None

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


class OutletHarness(_Harness):
    """One outlet, all its sensors valid by default."""

    def __init__(self, closed: bool = True) -> None:
        self.safety = OutletSafety(CONFIG, CONFIG.outlet[0])
        self.inputs = OutletInputs(3, at_ns=100 * S, closed=closed, switched_at_ns=0)
        self.values = {"current_ma": 1_000, "voltage_mv": 220_000, "power_mw": 150_000, "temperature_mc": 25_000}
        self.silent: set[str] = set()
        self.contradicting = False  # True: values as they are set, whether a meter could measure them together or not
        self.steps = 0

    def step(self, past_ns: int = 3 * MS, peak_ma: int | None = -1, phase_known: bool = True) -> Any:
        """Move on by `past_ns` and judge.

        `peak_ma` None: the peak register was not read; -1: derived from the relay's state.
        """
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

    def interlock(self) -> str | None:
        return interlock({"safety": self.safety, "inputs": self.inputs}, {}, PreCloseCheck.CLOSING)

    def _measured(self) -> dict[str, int]:
        """Return consistent readings of a meter: current for the power; zero if the relay is open or mains is off."""
        values = dict(self.values)
        if self.contradicting:
            return values
        if not self.inputs.closed or values["voltage_mv"] < 1_000:
            return values | {"power_mw": 0, "current_ma": 0}
        return values | {"current_ma": max(values["current_ma"], values["power_mw"] * 1000 // values["voltage_mv"])}


class CabinetHarness(_Harness):
    """The cabinet; `powers_mw` by outlet, closed in the order of their numbers."""

    def __init__(self, powers_mw: dict[int, int | None] | None = None) -> None:
        self.safety = CabinetSafety(CONFIG)
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

    def interlock(self) -> str | None:
        cabinet = {
            "inputs": self.inputs,
            "feed_full": self.safety.feed_full(self.inputs),
            "present": lambda fault: self.safety.present(fault, self.inputs),
        }
        outlet = OutletHarness(closed=False)
        outlet.step()
        return interlock({"safety": outlet.safety, "inputs": outlet.inputs}, cabinet, PreCloseCheck.CHARGE)
