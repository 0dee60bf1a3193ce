"""Data types of maintenance: locks, relay wear, calibration, and the tests that staff start. Values only.

Kept apart from `model.Snapshot`, which is published five times a second: the console requests this on demand.
"""

import enum

import msgspec

from cabinet.model import Fault

PPB = 1_000_000_000  # a whole relay life, in billionths
UNITY_PPM = 1_000_000  # a gain of 1
MAX_NOTE = 80  # characters


class Attribution(msgspec.Struct, frozen=True):
    """Attribution: the person, and the time by the guard's wall clock, which may not have been set (`trusted`)."""

    who: str
    unix_ms: int
    trusted: bool


class RelayWear(msgspec.Struct, frozen=True):
    """Wear of a relay since it was installed. `used_ppb` of its life: 1,000,000,000 is all of it."""

    operations: int = 0  # closings followed by an opening
    used_ppb: int = 0
    replaced: Attribution | None = None  # None: still the first one


class Gains(msgspec.Struct, frozen=True):
    """Calibration factors, true over raw, in millionths: of current, and of power and energy."""

    current_ppm: int = UNITY_PPM
    power_ppm: int = UNITY_PPM


class Calibration(msgspec.Struct, frozen=True):
    """Gains set on the cabinet itself, in place of those of `cabinet.toml`; an undo restores the gains in `before`."""

    gains: Gains
    before: Gains
    signed: Attribution


class OutletMaintenance(msgspec.Struct, frozen=True):
    """Maintenance state of one outlet. `note` None: in service; else out of service, with the text for residents."""

    outlet: int
    note: str | None = None
    locked: Attribution | None = None
    wear: RelayWear = RelayWear()
    gains: Gains = Gains()  # in use now
    calibration: Calibration | None = None


class JobKind(enum.Enum):
    SELF_TEST = "self_test"
    RELAY_CYCLE = "relay_cycle"
    ALERT_LINE = "alert_line"
    RESIDUAL = "residual"
    SIREN = "siren"


class JobState(enum.Enum):
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    BROKEN_OFF = "broken_off"  # interrupted; `why` gives the reason


class Job(msgspec.Struct, frozen=True):
    """A test that the guard runs, or ran last. `values` are counts, milliamperes and milliseconds by their names.

    `why` is a code of `model.REFUSALS`, or empty; `fault` is a trip during the test.
    """

    number: int  # counts from 1 within this guard
    kind: JobKind
    outlet: int  # CABINET: the whole cabinet
    who: str
    state: JobState
    values: dict[str, int] = {}
    outlets: list[int] = []  # outlets that failed; for an alert line: outlets with a line that changed
    why: str = ""
    fault: Fault | None = None


class MaintenanceState(msgspec.Struct, frozen=True, tag="upkeep"):
    """Maintenance state of the whole cabinet at one moment."""

    at_ns: int
    outlets: list[OutletMaintenance]
    warn_ppb: int  # a relay that has used this much of its life must be replaced
    contactor_held: Attribution | None = None  # held open by staff
    contactor_operations: int = 0
    siren_fitted: bool = False
    residual_test_fitted: bool = False
    residual_passed_at_ns: int | None = None  # last passed test within this guard's run
    residual_failed: bool = False
    job: Job | None = None
    damaged: str = ""  # a file of the guard that could not be read, and the action taken
    unwritten: list[str] = []  # files of the guard that the disk does not take: lost with a restart
