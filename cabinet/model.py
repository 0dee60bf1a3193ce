"""Data types shared by all parts of the cabinet: plain values with units in their names and no behaviour.

Numbers are integers in milli-units (`_ma` milliampere, `_mv` millivolt, `_mw` milliwatt, `_mc` thousandth of a degree
Celsius, `_mwh` milliwatt-hour, `_uj` microjoule), times are `_ns` of the monotonic clock, money is `_fen` (0.01 yuan).
Outlets are numbered from 1, as printed on the cabinet.
"""

import enum
from typing import Annotated, Literal

import msgspec

NotNegative = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # checked when it is decoded


class Quality(enum.Enum):
    """Validity of a reading. An unknown value is never a number: see `Reading.value`."""

    OK = "ok"
    STALE = "stale"  # was valid, but is too old to act on
    FAULT = "fault"  # the sensor is fitted, but its value is invalid or it did not answer
    ABSENT = "absent"  # no such sensor is fitted, or it was never read


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A measured value, the time of the measurement, and whether it may be used.

    `value` is None unless `quality` is OK or STALE; `reason` gives the cause of a FAULT.
    """

    value: int | None
    at_ns: int
    quality: Quality
    reason: str = ""


ABSENT = Reading(None, 0, Quality.ABSENT)
CABINET = 0  # in place of an outlet's number: the cabinet as a whole


class Fault(enum.Enum):
    """The table of the protections: their names on the console, in events, in the usage log and in `cabinet.toml`.

    If several trip in one tick, the first is reported, so the greatest fire risk comes first, and a cause precedes its
    consequences. Readings age while the guard is stalled, so the stall is reported rather than a lost sensor; likewise
    a chip that was reset is also lost for a while. Protections based on peaks precede those based on values read every
    few tenths of a second. The cabinet as a whole is judged after the outlets.
    """

    SHORT_CIRCUIT = "short_circuit"
    RELAY_WELDED = "relay_welded"
    GUARD_LATE = "guard_late"
    SENSOR_RESET = "sensor_reset"
    SENSOR_LOST = "sensor_lost"
    SENSOR_FROZEN = "sensor_frozen"
    RELAY_STUCK_OPEN = "relay_stuck_open"
    OVERCURRENT = "overcurrent"
    OUTLET_HOT = "outlet_hot"
    THERMAL_RUNAWAY = "thermal_runaway"
    OVERPOWER = "overpower"
    OVERVOLTAGE = "overvoltage"
    UNDERVOLTAGE = "undervoltage"
    RECLOSE_STORM = "reclose_storm"
    # of the cabinet as a whole
    CONTACTOR_WELDED = "contactor_welded"
    SMOKE = "smoke"
    RESIDUAL_CURRENT = "residual_current"
    WATER = "water"
    CABINET_HOT = "cabinet_hot"
    SENSOR_DISAGREES = "sensor_disagrees"
    FEED_OVERLOAD = "feed_overload"


class EndReason(enum.Enum):
    """Reason for the end of a charge; `TRIPPED` comes with a `Fault`."""

    FULL = "full"
    UNPLUGGED = "unplugged"
    ENDED_BY_LOAD = "ended_by_load"
    NO_LOAD = "no_load"
    LIMIT_TIME = "limit_time"
    LIMIT_ENERGY = "limit_energy"
    LIMIT_MONEY = "limit_money"
    STOPPED_BY_RESIDENT = "stopped_by_resident"
    STOPPED_BY_STAFF = "stopped_by_staff"
    STOPPED_BY_OPERATOR = "stopped_by_operator"
    MAX_DURATION = "max_duration"
    POWER_LOST = "power_lost"  # the cabinet was without power or guard for too long to go on
    TRIPPED = "tripped"


class Phase(enum.Enum):
    """Phase of an outlet's charge in the guard."""

    IDLE = "idle"
    WAITING_FOR_LOAD = "waiting_for_load"
    CHARGING = "charging"


class ChargeLimits(msgspec.Struct, frozen=True, gc=False):
    """Limits that were bought. The guard ends the charge at the first one reached, even if the service is dead.

    None means no limit of that kind; `charging_s` counts time with a load, `energy_mwh` counts since the charge began.
    `money_charging_s` and `money_energy_mwh` bound the same two quantities to the amount that the held money covers at
    any power; the service raises them during the charge (end reason `limit_money` instead of `limit_time` /
    `limit_energy`).
    """

    charging_s: NotNegative | None = None
    energy_mwh: NotNegative | None = None
    money_charging_s: NotNegative | None = None
    money_energy_mwh: NotNegative | None = None


class CostLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill: `quantity` × `unit_price_fen` (`per` hours or kWh, or once), rounded down to the fen.

    `kind`: start_fee, time (seconds; `detail` is the band "200-400"), electricity (mWh; `detail` is the period
    "08:00-22:00"), service (mWh), minimum (adds), cap and free (reduce); package (seconds; `unit_price_fen` is for the
    whole package, `detail` is the band and the seconds that the package lasts in it, "200-400 10800").
    """

    kind: Literal["start_fee", "time", "package", "electricity", "service", "minimum", "cap", "free"]
    quantity: int
    unit: Literal["once", "s", "mWh"]
    unit_price_fen: int
    amount_fen: int
    detail: str = ""
    per: int = 1


class MeterCount(msgspec.Struct, frozen=True, gc=False):
    """An outlet's monotone counters within one `epoch` (see `Snapshot`): no restart sets them back.

    `energy_mwh` and `powered_ms` count while the relay is closed; `charging_ms` counts while a load is confirmed (see
    `metering.LoadTime`) and may grow by several seconds at once.
    """

    energy_mwh: int = 0
    powered_ms: int = 0
    charging_ms: int = 0


class Trip(msgspec.Struct, frozen=True):
    """A protection opened an outlet. If `outlet` is None, all are open. `trip_values`: the numbers that caused it.

    If `suspends` is set, the charge continues once the cause has passed.
    """

    fault: Fault
    outlet: int | None
    at_ns: int
    latched: bool
    trip_values: dict[str, int]
    suspends: bool = False


class OutletState(msgspec.Struct, frozen=True):
    """State of one outlet as published by the guard."""

    outlet: int
    closed: bool
    phase: Phase
    session_id: str | None
    peak_ma: Reading
    current_ma: Reading
    voltage_mv: Reading
    power_mw: Reading
    temperature_mc: Reading
    count: MeterCount
    charge_count: MeterCount  # of the present charge, or of the last one until the next begins
    fault: Fault | None  # the fault that keeps it open now
    latched: bool
    why: dict[str, int]
    refusal: str | None  # code of the pre-close check that refuses a start now; None: it may close
    note: str | None = None  # None: in service; else out of service by staff, with the note that residents read
    trial: bool = False  # closed by staff for a test: `session_id` is no resident's charge
    backwards: bool = False  # its current sensor measures power flow in the wrong direction


class GuardHealth(msgspec.Struct, frozen=True):
    """Health of the guard's loop."""

    realtime: bool
    ticks: int
    late_worst_us: int  # worst lateness of a tick since the last snapshot
    late_worst_ever_us: int
    scan_us: int  # duration of the last scan, bus time included
    bus_errors: int
    started_at_ns: int
    period_us: int = 0  # scan period as configured
    turn_p99_us: int | None = None  # work of a turn, over the last 30 s; above the period the loop never sleeps
    bus_hz: int | None = None  # true clock of the bus, as measured at the guard's start; None: no meter answered
    transfer_us: int | None = None  # median read of four bytes then, with the work of kernel and interpreter


class EventKind(enum.Enum):
    CLOSED = "closed"  # relay closed for a session
    LOAD_SEEN = "load_seen"
    ENDED = "ended"  # a normal end, `reason` gives the cause
    TRIPPED = "tripped"
    SUSPENDED = "suspended"  # opened for `fault`, which passes; the service then requests closing again
    WARNED = "warned"  # a warning threshold is reached, `fault` names the protection
    RECOVERED = "recovered"  # the cause of a fault that clears by itself is gone
    LATCH_CLEARED = "latch_cleared"
    GUARD_STARTED = "guard_started"


class Event(msgspec.Struct, frozen=True, tag="event"):
    """An event that the guard keeps until the service acknowledges its `seq`.

    `count` is the outlet's counters and `charge_count` the session's at that moment, so a session can be settled from
    the event alone.
    """

    guard_run: str  # id of this guard process; `seq` counts from 1 within it
    seq: int
    at_ns: int
    kind: EventKind
    outlet: int | None = None
    session_id: str | None = None
    fault: Fault | None = None
    latched: bool = False
    reason: EndReason | None = None
    why: dict[str, int] = {}
    count: MeterCount = MeterCount()
    charge_count: MeterCount = MeterCount()
    who: str = ""


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """The whole cabinet at one moment, published 5 times a second to all subscribers.

    `epoch` identifies one lifetime of the counters: they survive the guard's death (the keeper holds them) but not the
    keeper's; a new epoch begins at 0.
    """

    guard_run: str
    epoch: str
    at_ns: int
    outlets: list[OutletState]
    contactor_closed: bool
    mains_mv: Reading
    frequency_mhz: Reading  # millihertz
    inside_mc: Reading
    feed_mw: int
    last_seq: int
    health: GuardHealth
    feed_limit_mw: int
    fault: Fault | None = None  # of the cabinet as a whole: every outlet is open
    latched: bool = False
    why: dict[str, int] = {}
    siren: bool = False
    unmeasured: list[int] = []  # closed outlets without a fresh power reading: the true feed power exceeds `feed_mw`
    feed_compared: bool | None = (
        None  # comparison of `feed_mw` with the cabinet's own meter: False waits for readings, None: no meter
    )


# Codes that refuse a start (or another request). Texts: cabinet/web/locale and the console's own table.
REFUSALS = frozenset(
    {
        # guard: pre-close check
        "unknown_outlet", "outlet_busy", "fault_latched", "fault_present", "sensor_lost", "relay_welded",
        "outlet_hot", "voltage_out_of_band", "feed_full", "not_ready", "contactor_open", "session_over",
        "cabinet_fault", "cabinet_hot", "out_of_service", "state_unwritable",
        # guard: maintenance requests from staff
        "resident_charging", "work_under_way", "not_fitted", "bad_gain", "no_contactor", "no_alert_line",
        # link
        "not_allowed", "bad_request", "guard_unreachable",
        # service
        "unknown_code", "wrong_card_or_pin", "wrong_code", "locked_out", "card_blocked", "no_money", "already_charging",
        "unknown_session", "not_yours", "bad_choice", "storage_full", "storage_damaged", "signed_out",
        "too_many_requests", "too_many_records", "nothing_to_clear", "wrong_token", "scope_missing", "reserved",
        # simulator page
        "simulator_gone", "plugged_already", "not_plugged",
        # property pages
        "bad_name", "name_taken", "unknown_staff", "last_operator", "unknown_record", "unknown_trip",
        "unknown_resident", "charge_running", "money_left", "bad_amount", "cannot_undo", "expired", "bad_file",
        "unknown_tariff", "bad_tariff", "not_future", "bad_days", "wrong_second_factor",
        # fleet
        "cabinet_offline", "no_answer", "no_record", "no_price", "bad_phone", "no_outlet", "sms_failed",
        "unknown_company", "unknown_site", "unknown_cabinet", "payment_open", "platform_unreachable", "no_payment",
        # orders of a fleet
        "order_expired", "order_changed", "tariff_changed", "wrong_epoch", "uplink_off",
    }
)  # fmt: skip
