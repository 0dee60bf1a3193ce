"""Readings that are frozen, or that others contradict. Pure."""

from typing import Annotated, Any

from cabinet.model import Fault
from cabinet.protections.evidence import PlausibleReadings
from cabinet.protections.inputs import Configuration, OutletInputs, OutletProtection
from cabinet.sections import Section, nanoseconds, number


class SensorFrozenSection(Section, frozen=True):
    """A reading that is frozen, or that others contradict, is invalid: the outlet opens and is latched."""

    after_s: Annotated[
        float, number("a value of a meter that does not change for so long, under load", least=1, most=60)
    ] = 5.0
    load_a: Annotated[
        float,
        number(
            "so much current that comes or goes for minutes must move the outlet's thermometer by one step",
            least=1,
            most=16,
        ),
    ] = 2.0
    neighbours_k: Annotated[
        float, number("or so much by which half of the other thermometers have moved", least=1, most=20)
    ] = 3.0


class SensorFrozen(OutletProtection):
    """Trip on a reading that is frozen, or that another one contradicts: its sensor no longer measures."""

    fault = Fault.SENSOR_FROZEN
    section = SensorFrozenSection
    latched = True
    each_tick = True
    forgets_on_closing = True
    after_ns: int

    def __init__(self, config: Configuration, outlet: Any) -> None:
        super().__init__(config, outlet)
        slow_lost_ns = nanoseconds(config.protections.sensor_lost.slow_after_s)
        self._readings = PlausibleReadings(self.after_ns, slow_lost_ns)
        self._note_peak = self._readings.note_peak

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        window = inputs.window
        return None if window is None else self._note_peak(window, inputs)

    def step_slow(self, inputs: OutletInputs) -> dict[str, int] | None:
        return self._readings.slow(inputs) or inputs.still_thermometer

    def reset(self) -> None:
        self._readings.clear()
