"""Overcurrent: a thermal image of the outlet's wiring and contacts. Pure."""

import math
from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import NS, Section, number

# Thermal image of `overcurrent`: heat approaches I² with this time constant, and trips at (1.2 In)². From cold that is
# never at 1.13 In, 10.4 s at 1.45 In, 1.6 s at 3 In: with the meter's own lag of 0.3 s, 3 In still trips within 2 s.
THERMAL_TAU_S = 9.0
THERMAL_TRIP_SHARE = 1.2
# A reading counts until the next one, 0.2 to 0.5 s. Above this share of In it may be an inrush, which heats for a few
# milliseconds only; 1000 uF cause a reading of 23 A, at 8 A a third of the heat that trips.
LASTING_SHARE = 3.2


class OvercurrentSection(Section, frozen=True):
    """A thermal image (I²t) of wiring and contacts: the outlet opens and is latched.

    8 A are what a socket-outlet of 10 A (GB/T 2099.1) bears for hours; fuse, wire and relay bear more. 1000 W stay
    below that down to a power factor of 0.5: what is too many watts is `overpower`, which latches nothing.
    """

    rated_a: Annotated[
        float, number("In of the thermal image: never at 1.13 In, 60 s at 1.45 In, 2 s at 3 In", least=0.5, most=16)
    ] = 8.0


class Overcurrent(OutletProtection):
    """Thermal image of the outlet: heat follows I² as in a wire (see THERMAL_TAU_S)."""

    fault = Fault.OVERCURRENT
    section = OvercurrentSection
    latched = True
    rated_ma: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        self._trip_heat = (THERMAL_TRIP_SHARE * self.rated_ma) ** 2
        self._heat = 0.0
        self._at_ns: int | None = None
        self._lasting_ma = LASTING_SHARE * self.rated_ma
        self._last_ma = 0
        self._hot = False  # reached the trip's heat, by any current, and has not cooled down since

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        current = inputs.current_ma
        if current.value is None or current.at_ns == self._at_ns:
            return None
        past_s = 0.0 if self._at_ns is None else (current.at_ns - self._at_ns) / NS
        self._at_ns = current.at_ns
        last_ma, self._last_ma = self._last_ma, current.value
        counted_ma = current.value if current.value <= self._lasting_ma else min(current.value, last_ma)
        self._heat += (counted_ma**2 - self._heat) * -math.expm1(-past_s / THERMAL_TAU_S)
        self._hot = self._heat > (self._trip_heat / 2 if self._hot else self._trip_heat)
        if self._heat <= self._trip_heat or not inputs.closed:
            return None
        return {"current_ma": current.value, "heat_percent": int(100 * self._heat / self._trip_heat)}

    def present(self, inputs: OutletInputs) -> bool:
        """Return whether it is still warm from the trip's cause, also a short: closing now would load a hot wire.

        An ordinary charge near the rated current stays at 0.69 of the trip permanently; if it is stopped, it may
        restart.
        """
        return self._hot

    def reset(self) -> None:
        """Keep the heat: clearing a latch does not cool a wire."""
