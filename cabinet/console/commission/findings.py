"""Needs, observations and findings of commissioning. Values only."""

import enum

import msgspec

from cabinet.maintenance import Job, JobKind

SKIP = "skip"


class StepVerdict(enum.Enum):
    OK = "ok"
    WRONG = "wrong"  # a part differs from the configuration
    FAILED = "failed"  # the test could not run, or the part did not work
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One conclusion: text `finding.<code>`, formatted with `params`."""

    verdict: StepVerdict
    code: str
    params: dict[str, int | str] = {}


class CommissioningStep(msgspec.Struct, frozen=True):
    """One commissioning step; `outlet` 0 is the cabinet."""

    kind: str
    outlet: int = 0

    @property
    def key(self) -> str:
        """Key of the step in the record, such as `wiring:3`."""
        return f"{self.kind}:{self.outlet}"


# --- needs of a step -------------------------------------------------------------------------------------------------


class AskTechnician(msgspec.Struct, frozen=True):
    """A line typed by the technician: text `ask.<key>`; `skip` skips the step, an empty line continues."""

    key: str
    params: dict[str, int | str] = {}


class Probe(msgspec.Struct, frozen=True):
    """Close this outlet briefly, with one lamp plugged into any outlet, and find the outlet at which current flows."""

    outlet: int


class RunTest(msgspec.Struct, frozen=True):
    """Make the guard run this test."""

    kind: JobKind
    outlet: int = 0


class ReadTemperatures(msgspec.Struct, frozen=True):
    """Read each outlet's thermometer."""


class Measure(msgspec.Struct, frozen=True):
    """Close this outlet and read its load."""

    outlet: int


StepRequest = AskTechnician | Probe | RunTest | ReadTemperatures | Measure


# --- observations ----------------------------------------------------------------------------------------------------


class Probed(msgspec.Struct, frozen=True):
    """Result of closing `outlet`: `drew` mA by outlet; `tripped` faults by outlet; or only the code `refusal`."""

    outlet: int
    refusal: str = ""
    drew: dict[int, int] = {}
    power_mw: dict[int, int] = {}
    backwards: list[int] = []
    tripped: dict[int, str] = {}


class MeasuredLoad(msgspec.Struct, frozen=True):
    """Mean of several readings; or the code `refusal`."""

    current_ma: int = 0
    power_mw: int = 0
    refusal: str = ""


Temperatures = dict[int, int | None]
"""Thousandths of a degree by outlet; None: not read."""

StepObservation = str | Probed | Job | Temperatures | MeasuredLoad
