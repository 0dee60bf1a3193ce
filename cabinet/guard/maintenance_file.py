"""The guard's hardware records that survive restarts: locks, relay wear, calibration, a contactor held open.

They are one file, replaced as a whole, in three copies. An outlet that any copy locks is locked. If
the newest copy cannot be read, nothing shows which outlets were out of service: all are then locked, and the file is
saved for inspection. The guard continues to protect.
"""

import msgspec

from cabinet.clock import NS
from cabinet.guard.state_files import MAINTENANCE, StateWriter
from cabinet.maintenance import Attribution, Calibration, Gains, OutletMaintenance, RelayWear
from cabinet.model import CABINET

NAME = MAINTENANCE
SAVE_NS = 60 * NS  # at most one write of operations in this time: an SD card wears too. A power cut loses only a few.
UNREADABLE_NOTE = "检修中 Under repair"


class OutletRecord(msgspec.Struct, omit_defaults=True):
    """Record of one outlet."""

    note: str | None = None
    locked: Attribution | None = None
    operations: int = 0
    used_ppb: int = 0
    replaced: Attribution | None = None
    calibration: Calibration | None = None


class MaintenanceRecords(msgspec.Struct, omit_defaults=True):
    """Content of the file."""

    outlets: dict[int, OutletRecord] = {}
    contactor_held: Attribution | None = None
    contactor_operations: int = 0


class MaintenanceFile:
    """The guard's own copy of the file, and the control of its writing."""

    def __init__(self, state_writer: StateWriter, numbers: list[int], attribution: Attribution) -> None:
        """Read the file. `attribution` signs the locks that an unreadable file leads to."""
        self._state_writer = state_writer
        self._numbers = numbers
        self._dirty_since_ns: int | None = None
        self.content = self._read(attribution)

    def record(self, outlet: int) -> OutletRecord:
        return self.content.outlets.setdefault(outlet, OutletRecord())

    def mark_all_out_of_service(self, attribution: Attribution) -> None:
        """Take every outlet out of service, signed by `attribution`: the record of locked outlets is lost."""
        for number in self._numbers:
            record = self.record(number)
            if record.note is None:
                record.note, record.locked = UNREADABLE_NOTE, attribution

    def save(self) -> None:
        """Have the file written soon, as a whole."""
        self._dirty_since_ns = None
        self._state_writer.write(
            NAME, msgspec.json.encode(self.content), "locks and relay wear would be lost with power"
        )

    @property
    def unwritten(self) -> list[str]:
        """Names of the guard's files, this and others, that the disk rejects now."""
        return self._state_writer.unwritten

    def save_when_due(self, now_ns: int) -> None:
        if self._dirty_since_ns is not None and now_ns - self._dirty_since_ns >= SAVE_NS:
            self.save()

    def close(self) -> None:
        """Save the counts since the last save."""
        if self._dirty_since_ns is not None:
            self.save()

    def count_operation(self, outlet: int, used_ppb: int, now_ns: int) -> RelayWear:
        """Count one operation; CABINET is the contactor: only its operations are counted."""
        self._dirty_since_ns = now_ns if self._dirty_since_ns is None else self._dirty_since_ns
        if outlet == CABINET:
            self.content.contactor_operations += 1
            return RelayWear(self.content.contactor_operations)
        record = self.record(outlet)
        record.operations += 1
        record.used_ppb += used_ppb
        return RelayWear(record.operations, record.used_ppb, record.replaced)

    def gains(self, outlet: int) -> Gains | None:
        """Return the gains calibrated on the cabinet; None: the configuration's apply."""
        calibration = self.record(outlet).calibration
        return None if calibration is None else calibration.gains

    def shown(self, outlet: int, gains: Gains) -> OutletMaintenance:
        record = self.record(outlet)
        wear = RelayWear(record.operations, record.used_ppb, record.replaced)
        return OutletMaintenance(outlet, record.note, record.locked, wear, gains, record.calibration)

    def _read(self, attribution: Attribution) -> MaintenanceRecords:
        recalled = self._state_writer.read_copies(NAME, MaintenanceRecords)
        self.content = recalled.copies[0] if recalled.copies else MaintenanceRecords()
        for older in recalled.copies[1:]:
            self._merge_locks(older)
        if recalled.lost:
            self.mark_all_out_of_service(attribution)
        if not recalled.complete:
            self.save()  # otherwise the next guard finds no file and takes that for no locks
        return self.content

    def _merge_locks(self, older: MaintenanceRecords) -> None:
        """Keep the locks of a copy that a release has not reached yet: the more careful copy counts."""
        for number, record in older.outlets.items():
            if record.note is not None and self.record(number).note is None:
                self.record(number).note, self.record(number).locked = record.note, record.locked
        self.content.contactor_held = self.content.contactor_held or older.contactor_held
