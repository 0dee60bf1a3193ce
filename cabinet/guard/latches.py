"""Latches: faults that stay until staff clear them, copied between the guard's units and its files."""

from collections.abc import Sequence

from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.state_files import Latch
from cabinet.model import CABINET


def restore(
    kept: dict[int, Latch], recent_trips: dict[int, list[int]], units: Sequence[OutletUnit], cabinet: CabinetUnit
) -> None:
    """Restore the latches from before this guard's start; skip an outlet that is no longer configured."""
    by_number = {unit.number: unit for unit in units}
    for number, latch in kept.items():
        if number == CABINET:
            cabinet.remember(latch.fault, latch.why)
        elif (unit := by_number.get(number)) is not None:
            unit.fault, unit.latched, unit.trip_values = latch.fault, True, latch.why
    for number, moments_ns in recent_trips.items():
        if (unit := by_number.get(number)) is not None:
            unit.safety.recent_trips_ns = moments_ns


def of(units: Sequence[OutletUnit], cabinet: CabinetUnit) -> dict[int, Latch]:
    """Return every latch, by outlet."""
    latches = {
        unit.number: Latch(unit.fault, unit.trip_values) for unit in units if unit.latched and unit.fault is not None
    }
    if cabinet.latched and cabinet.fault is not None:
        latches[CABINET] = Latch(cabinet.fault, cabinet.trip_values)
    return latches
