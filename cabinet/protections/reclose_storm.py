"""Supervision of outlets that trip repeatedly. Pure."""

from collections import deque
from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import NS, Section, number


class RecloseStormSection(Section, frozen=True):
    """An outlet that trips repeatedly is latched, so that the next resident does not try it."""

    trips: Annotated[int, number("so many trips", least=2, most=20)] = 3
    within_s: Annotated[float, number("within so long", least=60, most=86_400)] = 3600.0


class RecloseStorm(OutletProtection):
    """Trip on three trips of one outlet within an hour: no fourth resident tries it."""

    fault = Fault.RECLOSE_STORM
    section = RecloseStormSection
    latched = True
    trips: int
    within_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._trips_ns: deque[int] = deque(maxlen=self.trips)

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
        return {"trips": trips, "within_s": self.within_ns // NS}

    def present(self, inputs: OutletInputs) -> bool:
        trips = self._trips_ns
        return len(trips) == self.trips and inputs.at_ns - trips[0] <= self.within_ns

    def reset(self) -> None:
        self._trips_ns.clear()
