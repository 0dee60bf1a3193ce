"""The guard's hardware records that survive restarts: locks, relay wear, calibration, a contactor held open.

They are one file, which the scribe replaces as a whole, in three copies. An outlet that any copy locks is locked. If
the newest copy cannot be read, nothing shows which outlets were out of service: all are then locked, and the file is
saved for inspection. The guard continues to protect.
"""

import msgspec

from cabinet.clock import NS
from cabinet.guard.state_files import UPKEEP, Scribe
from cabinet.maintenance import Calibration, Gains, OutletUpkeep, RelayWear, Signed
from cabinet.model import CABINET

NAME = UPKEEP
SAVE_NS = 60 * NS  # at most one write of operations in this time: an SD card wears too. A power cut loses only a few.
UNREADABLE_NOTE = "检修中 Under repair"


class Page(msgspec.Struct, omit_defaults=True):
    """Record of one outlet."""

    note: str | None = None
    locked: Signed | None = None
    operations: int = 0
    used_ppb: int = 0
    replaced: Signed | None = None
    calibration: Calibration | None = None


class Content(msgspec.Struct, omit_defaults=True):
    """Content of the file."""

    outlets: dict[int, Page] = {}
    contactor_held: Signed | None = None
    contactor_operations: int = 0


class Book:
    """The guard's own copy of the file, and the control of its writing."""

    def __init__(self, scribe: Scribe, numbers: list[int], now: Signed) -> None:
        """Read the file. `now` signs the locks that an unreadable file leads to."""
        self._scribe = scribe
        self._numbers = numbers
        self._dirty_since_ns: int | None = None
        self.content = self._read(now)

    def page(self, outlet: int) -> Page:
        return self.content.outlets.setdefault(outlet, Page())

    def lock_all(self, now: Signed) -> None:
        """Take every outlet out of service, signed by `now`: the record of locked outlets is lost."""
        for number in self._numbers:
            page = self.page(number)
            if page.note is None:
                page.note, page.locked = UNREADABLE_NOTE, now

    def save(self) -> None:
        """Have the file written soon, as a whole."""
        self._dirty_since_ns = None
        self._scribe.write(NAME, msgspec.json.encode(self.content), "locks and relay wear would be lost with power")

    @property
    def unwritten(self) -> list[str]:
        """Names of the guard's files, this and others, that the disk rejects now."""
        return self._scribe.unwritten

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
        page = self.page(outlet)
        page.operations += 1
        page.used_ppb += used_ppb
        return RelayWear(page.operations, page.used_ppb, page.replaced)

    def gains(self, outlet: int) -> Gains | None:
        """Return the gains calibrated on the cabinet; None: the configuration's apply."""
        calibration = self.page(outlet).calibration
        return None if calibration is None else calibration.gains

    def shown(self, outlet: int, gains: Gains) -> OutletUpkeep:
        page = self.page(outlet)
        wear = RelayWear(page.operations, page.used_ppb, page.replaced)
        return OutletUpkeep(outlet, page.note, page.locked, wear, gains, page.calibration)

    def _read(self, now: Signed) -> Content:
        recalled = self._scribe.recall(NAME, Content)
        self.content = recalled.copies[0] if recalled.copies else Content()
        for older in recalled.copies[1:]:
            self._lock_as(older)
        if recalled.lost:
            self.lock_all(now)
        if not recalled.complete:
            self.save()  # otherwise the next guard finds no file and takes that for no locks
        return self.content

    def _lock_as(self, older: Content) -> None:
        """Keep the locks of a copy that a release has not reached yet: the more careful copy counts."""
        for number, page in older.outlets.items():
            if page.note is not None and self.page(number).note is None:
                self.page(number).note, self.page(number).locked = page.note, page.locked
        self.content.contactor_held = self.content.contactor_held or older.contactor_held
