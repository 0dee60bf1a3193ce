"""What the simulator's page may ask of the simulated cabinet. Handed in by the command that puts parts together, and
only where the hardware is simulated: nothing here can reach a real relay."""

from typing import Literal, Protocol

import msgspec

from cabinet.clock import WallTime

Action = Literal["short", "overload", "hot", "weld", "thermometer", "mains_cut", "smoke"]
Thermometer = Literal["silent", "jumps", "stuck"]


class SimulatedOutlet(msgspec.Struct, frozen=True):
    """One outlet as it really is, whatever the guard believes."""

    number: int
    load: str | None
    charge_percent: float | None
    relay: Literal["open", "closed", "welded"]
    powered: bool
    breaker_closed: bool
    current_ma: int
    power_mw: int
    temperature_mc: int
    faults: list[str]


class SimulatedEvent(msgspec.Struct, frozen=True):
    """Something that happened. `after_us` counts from what caused it, where that is known."""

    number: int
    at: WallTime
    kind: str
    outlet: int | None
    detail: dict[str, int | float | str]
    after_us: int | None


class SimulatedCabinet(msgspec.Struct, frozen=True):
    mains_v: float
    contactor: Literal["open", "closed", "welded"]
    coil_supply: bool
    siren: bool
    alarms: list[str]  # contacts that are open: smoke, water, residual
    faults: list[str]
    outlets: list[SimulatedOutlet]
    events: list[SimulatedEvent]  # newest first


class SimulatorPort(Protocol):
    """Everything refuses simulator_gone where no simulator answers."""

    def loads(self) -> list[str]:
        """Names of what can be plugged in."""

    def actions(self) -> frozenset[Action]:
        """What this cabinet's wiring lets go wrong."""

    async def look(self) -> SimulatedCabinet: ...
    async def plug(self, outlet: int, load: str, charge_percent: float | None, speed: float) -> None:
        """Refuses plugged_already; bad_request for a load there is not."""

    async def unplug(self, outlet: int) -> None:
        """Refuses not_plugged."""

    async def break_(self, action: Action, outlet: int, amount: float, thermometer: Thermometer) -> None:
        """`amount` is ampere for short and overload, seconds for mains_cut, and nothing else."""

    async def clear(self, outlet: int | None) -> None:
        """Causes go; what the guard has latched stays latched. None: of everything."""
