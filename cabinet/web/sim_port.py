"""Port of the simulator's page to the simulated cabinet. `cabinet serve` passes it in only if the hardware is
simulated: nothing here can reach a real relay."""

from typing import Literal, Protocol

import msgspec

from cabinet.clock import WallTime

Action = Literal["short", "overload", "hot", "weld", "thermometer", "mains_cut", "smoke"]
Thermometer = Literal["silent", "jumps", "stuck"]


class SimulatedOutlet(msgspec.Struct, frozen=True):
    """Real state of one outlet, independent of the guard's readings."""

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
    """Event in the simulated cabinet. `after_us` counts from its cause, if that is known."""

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
    alarms: list[str]  # open alarm contacts: smoke, water, residual
    faults: list[str]
    outlets: list[SimulatedOutlet]
    events: list[SimulatedEvent]  # newest first


class SimulatorPort(Protocol):
    """Simulated cabinet. All calls raise Refused `simulator_gone` if no simulator answers."""

    def loads(self) -> list[str]:
        """Return the names of the loads that can be plugged in."""

    def actions(self) -> frozenset[Action]:
        """Return the faults that this cabinet's wiring allows."""

    async def look(self) -> SimulatedCabinet: ...
    async def plug(self, outlet: int, load: str, charge_percent: float | None, speed: float) -> None:
        """Plug a load in. Raises Refused `plugged_already`, or `bad_request` if there is no such load."""

    async def unplug(self, outlet: int) -> None:
        """Unplug the load. Raises Refused `not_plugged`."""

    async def break_(self, action: Action, outlet: int, amount: float, thermometer: Thermometer) -> None:
        """Start a fault. `amount` is in ampere for short and overload, in seconds for mains_cut, else unused."""

    async def clear(self, outlet: int | None) -> None:
        """Remove the faults of an outlet, or all faults if None. Faults latched in the guard stay latched."""
