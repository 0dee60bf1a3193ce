"""Supervision of the guard's loop, and of outlets that trip repeatedly. Pure."""

from collections import deque

from cabinet.model import Fault
from cabinet.protections.inputs import NS, OutletInputs, ProtectionLimits


class GuardLate:
    """Trip if the loop stalled for so long that protection was interrupted: everything opens."""

    fault = Fault.GUARD_LATE
    latched = False
    whole_cabinet = True
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if inputs.late_ns <= self._limits.late_ns or not inputs.closed:
            return None
        return {"late_ms": inputs.late_ns // 1_000_000, "limit_ms": self._limits.late_ns // 1_000_000}

    def present(self, inputs: OutletInputs) -> bool:
        return False

    def reset(self) -> None:
        """Do nothing: there is no state."""


class RecloseStorm:
    """Trip on three trips of one outlet within an hour: no fourth resident tries it."""

    fault = Fault.RECLOSE_STORM
    latched = True
    whole_cabinet = False
    suspends = False

    def __init__(self, limits: ProtectionLimits) -> None:
        self._limits = limits
        self._trips_ns: deque[int] = deque(maxlen=limits.storm_trips)

    @property
    def trips_ns(self) -> list[int]:
        return list(self._trips_ns)

    def note(self, at_ns: int) -> None:
        """Note a trip for a reason of the outlet's own."""
        self._trips_ns.append(at_ns)

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if not self.present(inputs):
            return None
        trips = len(self._trips_ns)
        self._trips_ns.clear()
        return {"trips": trips, "within_s": self._limits.storm_ns // NS}

    def present(self, inputs: OutletInputs) -> bool:
        trips = self._trips_ns
        return len(trips) == self._limits.storm_trips and inputs.at_ns - trips[0] <= self._limits.storm_ns

    def reset(self) -> None:
        self._trips_ns.clear()
