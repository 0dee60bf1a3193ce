"""Cabinet-wide sensors, and warnings to staff about any chip: lost, standing still, or with changed settings."""

import logging
from collections.abc import Iterable

from cabinet.clock import MS, NS
from cabinet.config.keys import Config
from cabinet.guard.outlet import OutletUnit, aged
from cabinet.guard.round_robin import RoundRobinReader
from cabinet.model import Event, EventKind, Fault, Quality
from cabinet.protections.inputs import CabinetInputs
from cabinet.protections.sensor_disagrees import comparable

log = logging.getLogger(__name__)

INSIDE_LOST_NS = 60_000 * MS  # read every few tenths of a second; a cabinet's air takes minutes to change
AGAIN_NS = 60 * NS  # a chip that loses its settings all the time is reported once a minute


class SharedSensors:
    """Cabinet-wide sensors: ages their readings and reports each problem once until it is over."""

    def __init__(self, config: Config, slow_lost_ns: int, started_at_ns: int) -> None:
        self._inside_fitted = config.hardware.inside_thermometer is not None
        self._slow_lost_ns = slow_lost_ns
        self._started_at_ns = started_at_ns
        self._wrong: set[Fault] = set()
        self._inside_resets = 0
        self._reported_ns: dict[int, int] = {}  # by expander, or 0 for the thermometer inside
        self.feed_compared: bool | None = None if config.hardware.feed_meter is None else False

    def read(self, slow: RoundRobinReader, inputs: CabinetInputs, now_ns: int) -> None:
        """Fill the inputs of the cabinet's protections for this tick."""
        inputs.inside_mc = aged(slow.inside_mc, now_ns, INSIDE_LOST_NS)
        inputs.feed_mw = aged(slow.feed_mw, now_ns, self._slow_lost_ns)

    def warnings(
        self,
        slow: RoundRobinReader,
        inputs: CabinetInputs,
        soon: list[Fault],
        expanders: Iterable[int],
        units: Iterable[OutletUnit],
        now_ns: int,
    ) -> list[Event]:
        """Return the warnings for staff, each once: faults that are near, faulty sensors, chips that were reset."""
        self._note_comparison(inputs)
        events = []
        for fault in soon + self._newly_wrong(slow, inputs, now_ns):
            log.warning("the cabinet: %s soon", fault.value)
            events.append(Event("", 0, now_ns, EventKind.WARNED, fault=fault))
        events += self._resets(slow, expanders, now_ns)
        return events + [event for unit in units if (event := _reset_warning(unit, now_ns)) is not None]

    def _newly_wrong(self, slow: RoundRobinReader, inputs: CabinetInputs, now_ns: int) -> list[Fault]:
        """Return the faults of these sensors, each once until it is gone."""
        wrong = set()
        never_read = inputs.inside_mc.quality is Quality.ABSENT and now_ns - self._started_at_ns > INSIDE_LOST_NS
        if slow.inside is not None and slow.inside.still is not None:
            wrong.add(Fault.SENSOR_FROZEN)
        elif self._inside_fitted and (inputs.inside_mc.quality is Quality.FAULT or never_read):
            wrong.add(Fault.SENSOR_LOST)
        if slow.feed_still:
            wrong.add(Fault.SENSOR_FROZEN)
        new, self._wrong = wrong - self._wrong, wrong
        return sorted(new, key=lambda fault: fault.value)

    def _resets(self, slow: RoundRobinReader, expanders: Iterable[int], now_ns: int) -> list[Event]:
        """Return warnings about the cabinet's own chips that were found with changed settings."""
        found = list(expanders)
        if slow.inside is not None and slow.inside.resets != self._inside_resets:
            self._inside_resets = slow.inside.resets
            found.append(0)
        events = []
        for chip in found:
            reported_ns = self._reported_ns.get(chip)
            if reported_ns is None or now_ns - reported_ns >= AGAIN_NS:
                self._reported_ns[chip] = now_ns
                why = {"expander": chip} if chip else {"thermometer": 1}
                log.warning("the cabinet: %s %s", Fault.SENSOR_RESET.value, why)
                events.append(Event("", 0, now_ns, EventKind.WARNED, fault=Fault.SENSOR_RESET, why=why))
        return events

    def _note_comparison(self, inputs: CabinetInputs) -> None:
        """Log when the outlets' sum can no longer be compared with the cabinet's own meter, and when it can again."""
        compared = comparable(inputs)
        if self.feed_compared is None or compared is self.feed_compared:
            return
        self.feed_compared = compared
        if compared:
            log.info("the sum of the outlets is compared with the cabinet's meter")
        else:
            unmeasured = [load.outlet for load in inputs.loads if load.power_mw is None]
            log.warning("the sum of the outlets waits for readings: cabinet's meter or outlets %s", unmeasured)


def _reset_warning(unit: OutletUnit, now_ns: int) -> Event | None:
    """Return a warning if a chip of the outlet was newly found with changed settings; at most one a minute."""
    resets = unit.inputs.chip_resets
    if resets == unit.resets_reported or now_ns - unit.reset_reported_ns < AGAIN_NS:
        return None
    why = {"resets": resets - unit.resets_reported}
    unit.resets_reported, unit.reset_reported_ns = resets, now_ns
    return unit.event(EventKind.WARNED, now_ns, fault=Fault.SENSOR_RESET, why=why)
