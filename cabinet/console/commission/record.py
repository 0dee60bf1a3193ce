"""Findings of a commissioning run, saved to disk after every step: an interrupted run continues at the same step."""

import hashlib
from pathlib import Path

import msgspec

from cabinet.config import Config
from cabinet.console.commission.findings import CommissioningStep, Finding, StepVerdict
from cabinet.errors import CabinetError
from cabinet.maintenance import Attribution
from cabinet.system.atomic_file import write_file

NAME = "commissioning.json"


class CommissioningRecord(msgspec.Struct):
    """One run. `wiring` is the fingerprint of the planned configuration: if that changes, a new run begins."""

    wiring: str
    begun: Attribution
    found: dict[str, list[Finding]] = {}
    signed: dict[str, Attribution] = {}  # attribution of each step: account and time
    finished: Attribution | None = None

    def note(self, step: CommissioningStep, findings: list[Finding], signed: Attribution) -> None:
        self.found[step.key] = findings
        self.signed[step.key] = signed

    def left(self, steps: list[CommissioningStep]) -> list[CommissioningStep]:
        """Return the steps not done yet; if all are done, the steps that are not right."""
        undone = [step for step in steps if step.key not in self.found]
        return undone or [step for step in steps if not all(is_right(f) for f in self.found[step.key])]


def is_right(finding: Finding) -> bool:
    """Return True if no repair is needed: to skip is a decision, except if wrong wiring is the cause."""
    return finding.verdict is StepVerdict.OK or (
        finding.verdict is StepVerdict.SKIPPED and finding.code != "wiring_first"
    )


def fingerprint(config: Config) -> str:
    """Return the hash of the configuration that the wiring is checked against."""
    return hashlib.sha256(msgspec.json.encode([config.hardware, config.outlet])).hexdigest()[:16]


class CommissioningFolder:
    """Record file and reports, in a subfolder of the state folder."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "commissioning"

    def load(self, wiring: str) -> CommissioningRecord | None:
        """Return the last run if it has this wiring, else None. Raises CabinetError if the file cannot be read."""
        path = self.folder / NAME
        try:
            record = msgspec.json.decode(path.read_bytes(), type=CommissioningRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise CabinetError(f"{path}: cannot be read ({error}); move it away to begin anew") from error
        return record if record.wiring == wiring else None

    def save(self, record: CommissioningRecord) -> None:
        """Write the record to disk. Raises CabinetError; the old record is then unchanged."""
        self.write(NAME, msgspec.json.encode(record))

    def write(self, name: str, content: bytes) -> Path:
        """Write the file atomically and return its path. Raises CabinetError."""
        path = self.folder / name
        try:
            write_file(path, content)
        except OSError as error:
            raise CabinetError(f"{path}: cannot be written ({error.strerror})") from error
        return path
