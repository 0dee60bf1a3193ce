"""Simulator port of the web over the simulator's control socket. Only this module imports both; `sim` has no web."""

import asyncio
import threading
from collections import deque
from pathlib import Path
from typing import Any, Literal

from cabinet.clock import Clock, WallTime
from cabinet.config import Config
from cabinet.errors import Refused, SimError
from cabinet.sim.catalogue import catalogue, make_load
from cabinet.sim.control import SimControl
from cabinet.sim.faults import FAULTS
from cabinet.web.sim_port import Action, SimulatedCabinet, SimulatedEvent, SimulatedOutlet, Thermometer

TIMEOUT_S = 2.0
FRESH_NS = 300_000_000  # many pages show one cabinet: they share one query
EVENTS_KEPT = 40
RECORDS_AT_FIRST = 200
CAUSED_WITHIN_NS = 120_000_000_000

CAUSES = frozenset({"fault", "fault_onset", "plugged", "unplugged", "mains_cut", "mains_back"})
NOT_SHOWN = frozenset({"alert", "mux_reset", "unmodelled"})  # relevant to drivers only

KINDS: dict[Action, str] = {
    "short": "short", "overload": "overload", "hot": "hot", "weld": "welded", "mains_cut": "mains_cut",
    "smoke": "smoke", "thermometer": "nack",
}  # fmt: skip
THERMOMETERS: dict[Thermometer, str] = {"silent": "nack", "jumps": "thermometer_jump", "stuck": "frozen"}


class SimulatorClient:
    """Implementation of `cabinet.web.sim_port.SimulatorPort`."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._path = Path(config.paths.run) / "sim-control.sock"
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: SimulatedCabinet | None = None
        self._seen_at_ns = 0
        self._history = History()

    def loads(self) -> list[str]:
        """Return the loads without recordings: a page must not name files of this machine."""
        named = [name for name, _ in catalogue() if ":" not in name]
        named.sort(key=lambda name: name != "demo")  # the page preselects the first
        return [*named, "resistor:500", "resistor:2000"]

    def actions(self) -> frozenset[Action]:
        fitted = set(KINDS)
        if self._config.hardware.smoke_pin is None:
            fitted.discard("smoke")
        if any(outlet.thermometer is None for outlet in self._config.outlet):
            fitted.discard("thermometer")
        return frozenset(fitted)

    async def look(self) -> SimulatedCabinet:
        return await asyncio.to_thread(self._look)

    async def plug(self, outlet: int, load: str, charge_percent: float | None, speed: float) -> None:
        if load not in self.loads():
            raise Refused("bad_request")
        if load.startswith("resistor:"):
            charge_percent, speed = None, 1.0
        try:
            make_load(load, charge_percent, speed)
        except SimError as error:
            raise Refused("bad_request") from error
        if (await self._outlet(outlet)).load is not None:
            raise Refused("plugged_already")
        await self._ask(lambda control: control.plug(outlet, load, charge_percent, speed))

    async def unplug(self, outlet: int) -> None:
        if (await self._outlet(outlet)).load is None:
            raise Refused("not_plugged")
        await self._ask(lambda control: control.unplug(outlet))

    async def break_(self, action: Action, outlet: int, amount: float, thermometer: Thermometer) -> None:
        kind = THERMOMETERS[thermometer] if action == "thermometer" else KINDS[action]
        params: dict[str, float | str] = {}
        if action in ("short", "overload"):
            params["amps"] = amount
        elif action == "mains_cut":
            params["seconds"] = amount
        elif action == "thermometer":
            params["chip"] = "thermometer"
        place = None if FAULTS[kind].cabinet else outlet
        await self._ask(lambda control: control.fault(place, kind, **params))

    async def clear(self, outlet: int | None) -> None:
        await self._ask(lambda control: control.clear(outlet))

    async def _outlet(self, number: int) -> SimulatedOutlet:
        self._seen = None
        found = [each for each in (await self.look()).outlets if each.number == number]
        if not found:
            raise Refused("unknown_outlet")
        return found[0]

    async def _ask(self, ask: Any) -> None:
        def work() -> None:
            with self._lock:
                self._seen = None
                with self._control() as control:
                    try:
                        ask(control)
                    except SimError as error:
                        raise Refused("bad_request") from error

        await asyncio.to_thread(work)

    def _control(self) -> SimControl:
        try:
            return SimControl(self._path, TIMEOUT_S)
        except SimError as error:
            raise Refused("simulator_gone") from error

    def _look(self) -> SimulatedCabinet:
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if self._seen is not None and now_ns - self._seen_at_ns < FRESH_NS:
                return self._seen
            with self._control() as control:
                try:
                    state = control.state()
                    last = int(state["journal_seq"])
                    if last < self._history.last:
                        self._history = History()  # a new simulator
                    records = control.journal(max(self._history.last, last - RECORDS_AT_FIRST))
                except SimError as error:
                    raise Refused("simulator_gone") from error
            wall = self._clock.wall()
            for record in records:
                ago_ms = (int(state["at_ns"]) - record["at_ns"]) // 1_000_000
                self._history.add(record, WallTime(wall.unix_ms - ago_ms, wall.trusted))
            self._seen, self._seen_at_ns = view(state, self._history.newest_first()), now_ns
            return self._seen


class History:
    """Last records of the journal, each with the time since its cause."""

    def __init__(self) -> None:
        self.last = 0
        self._events: deque[SimulatedEvent] = deque(maxlen=EVENTS_KEPT)
        self._causes: dict[int | None, int] = {}  # outlet, or None for the cabinet → time

    def add(self, record: dict[str, Any], at: WallTime) -> None:
        self.last = record["seq"]
        kind, outlet, at_ns = record["kind"], record.get("outlet"), record["at_ns"]
        if kind in NOT_SHOWN:
            return
        if kind in CAUSES:
            self._causes[outlet] = at_ns
        causes = [at for place, at in self._causes.items() if outlet is None or place in (outlet, None)]
        caused_ns, after_us = max(causes, default=None), None
        if kind not in CAUSES and caused_ns is not None and at_ns - caused_ns < CAUSED_WITHIN_NS:
            after_us = (at_ns - caused_ns) // 1000
        self._events.append(SimulatedEvent(self.last, at, kind, outlet, dict(record.get("detail", {})), after_us))

    def newest_first(self) -> list[SimulatedEvent]:
        return list(reversed(self._events))


def view(state: dict[str, Any], events: list[SimulatedEvent]) -> SimulatedCabinet:
    """Return the simulator's state, converted for the page."""
    return SimulatedCabinet(
        mains_v=state["mains_v"],
        contactor=_contacts(state["contactor_welded"], state["contactor_closed"]),
        coil_supply=state["coil_supply"],
        siren=state["siren"],
        alarms=[name for name, contact in state["inputs"].items() if contact == "open"],
        faults=list(state["faults"]),
        outlets=[
            SimulatedOutlet(
                number=each["outlet"],
                load=each["load"],
                charge_percent=each["charge_percent"],
                relay=_contacts(each["welded"], each["contacts_closed"]),
                powered=each["conducting"],
                breaker_closed=each["breaker_closed"],
                current_ma=each["current_ma"],
                power_mw=each["power_mw"],
                temperature_mc=each["temperature_mc"],
                faults=list(each["faults"]),
            )
            for each in state["outlets"]
        ],
        events=events,
    )


def _contacts(welded: bool, closed: bool) -> Literal["open", "closed", "welded"]:
    return "welded" if welded else "closed" if closed else "open"
