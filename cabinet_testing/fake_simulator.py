"""A simulator of values set by hand, for its page."""

from typing import Any

import msgspec

from cabinet.errors import Refused
from cabinet.web.sim import ACTIONS
from cabinet.web.sim_port import Action, SimulatedCabinet, SimulatedEvent, SimulatedOutlet, Thermometer
from cabinet_testing.fake_service import STARTED

EVENTS = [
    SimulatedEvent(5, STARTED, "current_zero", 3, {}, 21_480),
    SimulatedEvent(4, STARTED, "coil_off", 3, {}, 13_204),
    SimulatedEvent(3, STARTED, "fault_onset", 3, {"angle_deg": 12.5}, None),
    SimulatedEvent(2, STARTED, "fault", 3, {"fault": "short", "amps": 60.0, "shape": "full"}, None),
    SimulatedEvent(1, STARTED, "plugged", 3, {"load": "demo"}, None),
]


def outlet(number: int, **changes: Any) -> SimulatedOutlet:
    """Open, with nothing plugged in, but for `changes`."""
    empty = SimulatedOutlet(number, None, None, "open", False, True, 0, 0, 25_000, [])
    return msgspec.structs.replace(empty, **changes)


class FakeSimulator:
    """`calls` holds the requested actions; if `gone` is set, nothing answers."""

    def __init__(self) -> None:
        self.outlets = {number: outlet(number) for number in range(1, 7)}
        self.outlets[3] = outlet(
            3, load="demo", charge_percent=63.4, relay="closed", powered=True, current_ma=712, power_mw=152_000,
            temperature_mc=31_400,
        )  # fmt: skip
        self.outlets[4] = outlet(4, load="lithium-48v", charge_percent=40.0, faults=["short"])
        self.outlets[5] = outlet(5, relay="welded", powered=True, faults=["welded"], breaker_closed=False)
        self.cabinet = SimulatedCabinet(220.0, "closed", True, False, [], [], [], list(EVENTS))
        self.calls: list[tuple[Any, ...]] = []
        self.gone = False
        self.looks_left: int | None = None

    def loads(self) -> list[str]:
        return ["demo", "lithium-48v", "resistor:500"]

    def actions(self) -> frozenset[Action]:
        return frozenset(ACTIONS)

    async def look(self) -> SimulatedCabinet:
        self._answer()
        if self.looks_left is not None:
            self.looks_left -= 1
            self.gone = self.looks_left == 0
        return msgspec.structs.replace(self.cabinet, outlets=list(self.outlets.values()))

    async def plug(self, outlet: int, load: str, charge_percent: float | None, speed: float) -> None:
        self._answer()
        if outlet not in self.outlets:
            raise Refused("unknown_outlet")
        if load not in self.loads():
            raise Refused("bad_request")
        if self.outlets[outlet].load is not None:
            raise Refused("plugged_already")
        self.calls.append(("plug", outlet, load, charge_percent, speed))

    async def unplug(self, outlet: int) -> None:
        if self.outlets[outlet].load is None:
            raise Refused("not_plugged")
        self.calls.append(("unplug", outlet))

    async def break_(self, action: Action, outlet: int, amount: float, thermometer: Thermometer) -> None:
        self.calls.append((action, outlet, amount, thermometer))

    async def clear(self, outlet: int | None) -> None:
        self.calls.append(("clear", outlet))

    def _answer(self) -> None:
        if self.gone:
            raise Refused("simulator_gone")
