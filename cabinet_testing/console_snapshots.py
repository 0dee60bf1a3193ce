"""Snapshots of a cabinet for the console's tests, and a service client with prepared answers."""

from typing import TypeVar

import msgspec

from cabinet.clock import NS
from cabinet.config import Config, parse
from cabinet.config.reference import example
from cabinet.errors import Refused
from cabinet.link.guard_protocol import (
    BusView,
    ChipView,
    ScanView,
    SegmentView,
)
from cabinet.link.service_protocol import Query
from cabinet.maintenance import Attribution, Job, MaintenanceState, OutletMaintenance, RelayWear
from cabinet.model import (
    ABSENT,
    Fault,
    GuardHealth,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
    Snapshot,
)

T = TypeVar("T")

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


def segment(channel: int) -> SegmentView:
    """A meter with two outlets, and their thermometer."""
    meter = ChipView("ADE7953", 0x38, 0x70, channel, {"VRMS": 5_621_000, "IRMSA": 1200, "IRMSB": 0, "AWATT": 140})
    thermometer = ChipView("TMP102", 0x48, 0x70, channel, {"TEMPERATURE": 0x1970})
    inputs = {"A": 2 * channel + 1, "B": 2 * channel + 2}
    return SegmentView(f"segment 0x70/{channel}", 0x70, channel, True, {}, "", 0, [meter, thermometer], inputs)


BUS = BusView(NS, [segment(channel) for channel in range(5)], [], [], 0, ScanView())


SIGNED = Attribution("console:tech", 1_795_000_000_000, True)


def maintenance_state(snapshot: Snapshot, job: Job | None = None) -> MaintenanceState:
    """Return the maintenance state of used relays; outlet 4 is near its end of life."""
    pages = [
        OutletMaintenance(
            state.outlet,
            state.note,
            None if state.note is None else SIGNED,
            RelayWear(1200 + state.outlet, 850_000_000 if state.outlet == 4 else 3_100_000 * state.outlet),
        )
        for state in snapshot.outlets
    ]
    return MaintenanceState(
        snapshot.at_ns, pages, 800_000_000, None, 41, siren_fitted=True, residual_test_fitted=True, job=job
    )


class FakeServiceClient:
    """Service client with prepared answers, one per type of answer."""

    def __init__(self, *answers: object) -> None:
        self.answers = {type(answer): answer for answer in answers}
        self.asked: list[Query] = []

    def ask(self, asked: Query, kind: type[T], /) -> T:
        self.asked.append(asked)
        if kind not in self.answers:
            raise Refused("service_gone")
        answer = self.answers[kind]
        assert isinstance(answer, kind)
        return answer
