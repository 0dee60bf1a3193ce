"""Snapshots of a cabinet for the console's tests, and a guard that only plays them."""

from collections.abc import Callable

import msgspec

from cabinet.clock import NS
from cabinet.config import Config, parse
from cabinet.config.reference import example
from cabinet.errors import LinkError, Refused
from cabinet.link.protocol import ClearLatch, Command, Open
from cabinet.model import (
    ABSENT,
    CABINET,
    Fault,
    GuardHealth,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
    Snapshot,
)

CONFIG: Config = parse(example())


def ok(value: int) -> Reading:
    return Reading(value, NS, Quality.OK)


def outlet(number: int, **changes: object) -> OutletState:
    """An idle outlet that could be started."""
    idle = OutletState(
        outlet=number,
        closed=False,
        phase=Phase.IDLE,
        session_id=None,
        peak_ma=ok(0),
        current_ma=ok(0),
        voltage_mv=ok(220_100),
        power_mw=ok(0),
        temperature_mc=ok(25_400),
        count=MeterCount(),
        charge_count=MeterCount(),
        fault=None,
        latched=False,
        why={},
        refusal=None,
    )
    return msgspec.structs.replace(idle, **changes)


CHARGING = outlet(
    3,
    closed=True,
    phase=Phase.CHARGING,
    session_id="S-1",
    peak_ma=ok(1_230),
    current_ma=ok(710),
    power_mw=ok(141_600),
    temperature_mc=ok(31_200),
    count=MeterCount(1_123_456, 7_200_000, 7_100_000),
    charge_count=MeterCount(123_456, 750_000, 738_000),
    refusal="outlet_busy",
)

SHORTED = outlet(
    5,
    fault=Fault.SHORT_CIRCUIT,
    latched=True,
    why={"peak_ma": 61_200, "limit_ma": 30_000},
    charge_count=MeterCount(20_000, 60_000, 60_000),
    refusal="fault_latched",
)

BLIND = outlet(
    8,
    peak_ma=Reading(None, NS, Quality.FAULT, "EREMOTEIO"),
    current_ma=Reading(None, NS, Quality.FAULT, "EREMOTEIO"),
    power_mw=Reading(12_000, NS, Quality.STALE),
    temperature_mc=ABSENT,
    fault=Fault.SENSOR_LOST,
    refusal="sensor_lost",
)


def snapshot(*special: OutletState, **changes: object) -> Snapshot:
    """Ten outlets, idle but for `special`."""
    outlets = {number: outlet(number) for number in range(1, 11)} | {state.outlet: state for state in special}
    quiet = Snapshot(
        guard_run="run-1",
        epoch="epoch-1",
        at_ns=NS,
        outlets=list(outlets.values()),
        contactor_closed=True,
        mains_mv=ok(220_100),
        frequency_mhz=ok(50_010),
        inside_mc=ok(30_600),
        feed_mw=141_600,
        last_seq=1,
        health=GuardHealth(
            realtime=True,
            ticks=1000,
            late_worst_us=120,
            late_worst_ever_us=430,
            scan_us=2600,
            bus_errors=2,
            started_at_ns=0,
        ),
        feed_limit_mw=7_000_000,
    )
    return msgspec.structs.replace(quiet, **changes)


class PlayedGuard:
    """Answers with `shown`, carries out what the console may ask, and keeps what it was asked."""

    def __init__(self, shown: Snapshot) -> None:
        self.shown = shown
        self.asked: list[Command] = []
        self.gone = False
        self.refuses: Refused | None = None

    def snapshot(self) -> Snapshot:
        if self.gone:
            raise LinkError("guard.sock: no guard answers (Connection refused)")
        return self.shown

    def request(self, make: Callable[[int], Command]) -> None:
        if self.gone:
            raise LinkError("guard.sock: the guard went away")
        if self.refuses is not None:
            raise self.refuses
        command = make(7)
        self.asked.append(command)
        assert isinstance(command, Open | ClearLatch)
        if command.outlet == CABINET:
            self.shown = msgspec.structs.replace(self.shown, fault=None, latched=False, why={}, siren=False)
            return
        fresh = outlet(command.outlet)
        outlets = [fresh if state.outlet == command.outlet else state for state in self.shown.outlets]
        self.shown = msgspec.structs.replace(self.shown, outlets=outlets)

    def close(self) -> None:
        """Nothing is held."""
