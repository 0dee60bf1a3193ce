"""What a commissioning run has found so far, on disk after every step: an interrupted run goes on where it was."""

import hashlib
import os
from pathlib import Path

import msgspec

from cabinet.config import Config
from cabinet.console.commission.findings import Finding, Step, Verdict
from cabinet.errors import CabinetError
from cabinet.upkeep import Signed

NAME = "commissioning.json"


class Record(msgspec.Struct):
    """One run. `wiring` is the fingerprint of what it was planned for: with another configuration it begins anew."""

    wiring: str
    begun: Signed
    found: dict[str, list[Finding]] = {}
    signed: dict[str, Signed] = {}  # who did which step, and when
    finished: Signed | None = None

    def note(self, step: Step, findings: list[Finding], signed: Signed) -> None:
        self.found[step.key] = findings
        self.signed[step.key] = signed

    def left(self, steps: list[Step]) -> list[Step]:
        """Steps not done yet; where all are done, those that found something wrong."""
        undone = [step for step in steps if step.key not in self.found]
        return undone or [step for step in steps if not all(is_right(f) for f in self.found[step.key])]


def is_right(finding: Finding) -> bool:
    """Nothing is to be mended there: skipped is a decision, but for want of right wiring it is not."""
    return finding.verdict is Verdict.OK or (finding.verdict is Verdict.SKIPPED and finding.code != "wiring_first")


def fingerprint(config: Config) -> str:
    """Of what the wiring is checked against."""
    return hashlib.sha256(msgspec.json.encode([config.hardware, config.outlet])).hexdigest()[:16]


class Records:
    """The file in the state folder, and the protocols beside it."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "commissioning"

    def load(self, wiring: str) -> Record | None:
        """The last run, if it was of this wiring. Raises CabinetError where the file cannot be read."""
        path = self.folder / NAME
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise CabinetError(f"{path}: cannot be read ({error}); move it away to begin anew") from error
        return record if record.wiring == wiring else None

    def save(self, record: Record) -> None:
        """On disk when this returns. Raises CabinetError, and the old one is still there."""
        self.write(NAME, msgspec.json.encode(record))

    def write(self, name: str, content: bytes) -> Path:
        """The whole file or nothing of it. Raises CabinetError."""
        path = self.folder / name
        beside = path.with_name(name + ".new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            raise CabinetError(f"{path}: cannot be written ({error.strerror})") from error
        return path
