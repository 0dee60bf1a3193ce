"""Faults of the simulated cabinet: the list of all, and the table that sets and clears them.

The faults are declared by affected part: `fault_currents`, `fault_contacts`, `fault_chips`, `fault_registers`,
`fault_environment`, `fault_wiring`.
"""

import difflib
from collections.abc import Mapping

from cabinet.errors import SimError
from cabinet.sim.fault_chips import BUS
from cabinet.sim.fault_contacts import CONTACTS
from cabinet.sim.fault_currents import CURRENTS
from cabinet.sim.fault_environment import ENVIRONMENT
from cabinet.sim.fault_kinds import Choice, FaultKind, Number, Word
from cabinet.sim.fault_registers import REGISTERS
from cabinet.sim.fault_wiring import WIRING
from cabinet.sim.world import ActiveFault, Params, World

__all__ = ["FAULTS", "Choice", "FaultKind", "FaultTable", "Number", "Word"]

FAULTS: dict[str, FaultKind] = {**CURRENTS, **CONTACTS, **BUS, **REGISTERS, **ENVIRONMENT, **WIRING}


class FaultTable:
    """Set and clear faults of a world. Each kind of `kinds` applies and removes itself."""

    def __init__(self, kinds: Mapping[str, FaultKind]) -> None:
        self._kinds = kinds

    def set_fault(self, world: World, number: int | None, kind: str, given: Params, at_ns: int) -> None:
        """Check and apply a fault. Raises SimError, and changes nothing, if fault, parameter or outlet is unknown."""
        found = self._kinds.get(kind)
        if found is None:
            near = difflib.get_close_matches(kind, self._kinds, 1, cutoff=0.4)
            raise SimError(
                f"no fault {kind!r}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(self._kinds)}")
            )
        params = _checked(kind, found, given)
        if found.cabinet:
            number = None
        elif number is None:
            raise SimError(f"{kind} needs an outlet")
        else:
            world.outlet(number)
        found.check(world, number or 0, params)
        old = world.faults.setdefault(number, {}).pop(kind, None)
        if old is not None:
            found.remove(world, number or 0, old.params, at_ns)
        world.journal.add(at_ns, "fault", number, fault=kind, **params)
        world.faults[number][kind] = ActiveFault(params)
        found.apply(world, number or 0, params, at_ns)
        if not found.lasts:
            del world.faults[number][kind]

    def clear(self, world: World, number: int | None, at_ns: int) -> None:
        """Remove the faults of outlet `number`, or all faults if it is None, and close tripped breakers."""
        if number is not None:
            world.outlet(number)
        gone: set[str] = set()
        for place in list(world.faults) if number is None else [number]:
            for kind, standing in world.faults.pop(place, {}).items():
                self._kinds[kind].remove(world, place or 0, standing.params, at_ns)
                gone.add(kind)
        for place, faults in world.faults.items():
            for kind in gone & set(faults):
                if self._kinds[kind].shared:
                    self._kinds[kind].apply(world, place or 0, faults[kind].params, at_ns)
        for outlet in world.outlets.values() if number is None else [world.outlets[number]]:
            outlet.clear(at_ns)
        world.journal.add(at_ns, "cleared", number)


def _checked(kind: str, found: FaultKind, given: Params) -> dict[str, float | str]:
    for name in given:
        if name not in found.params:
            takes = ", ".join(found.params) or "nothing"
            raise SimError(f"{kind} does not take {name}; it takes {takes}")
    params: dict[str, float | str] = {}
    for name, parameter in found.params.items():
        value = given.get(name)
        if isinstance(parameter, Choice):
            value = parameter.options[0] if value is None else value
            if value not in parameter.options:
                raise SimError(f"{kind}: {name} is one of {', '.join(parameter.options)}, not {value!r}")
            params[name] = value
            continue
        if isinstance(parameter, Word):
            params[name] = parameter.default if value is None else str(value)
            continue
        if value is None:
            value = parameter.default
        if value is None:
            continue
        if isinstance(value, str) or not parameter.least <= value <= parameter.most:
            raise SimError(f"{kind}: {name} is {parameter.least:g} to {parameter.most:g}, not {value!r}")
        params[name] = float(value)
    return params
