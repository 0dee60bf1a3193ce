"""What commissioning asks for, sees and concludes. Values only."""

import enum

import msgspec

from cabinet.upkeep import Job, JobKind

SKIP = "skip"


class Verdict(enum.Enum):
    OK = "ok"
    WRONG = "wrong"  # something is not as the configuration says
    FAILED = "failed"  # it could not be tried, or did not do what it should
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One conclusion: text `finding.<code>`, filled in by `params`."""

    verdict: Verdict
    code: str
    params: dict[str, int | str] = {}


class Step(msgspec.Struct, frozen=True):
    """One thing to try; `outlet` 0 is the cabinet."""

    kind: str
    outlet: int = 0

    @property
    def key(self) -> str:
        """Of its record, such as `wiring:3`."""
        return f"{self.kind}:{self.outlet}"


# --- what a step needs -----------------------------------------------------------------------------------------------


class Prompt(msgspec.Struct, frozen=True):
    """A line typed by the technician: text `ask.<key>`; `skip` passes the step over, an empty line says go on."""

    key: str
    params: dict[str, int | str] = {}


class Probe(msgspec.Struct, frozen=True):
    """Close this outlet for a moment, with one lamp plugged in somewhere, and see where current flows."""

    outlet: int


class RunTest(msgspec.Struct, frozen=True):
    """Have the guard run this test."""

    kind: JobKind
    outlet: int = 0


class ReadTemperatures(msgspec.Struct, frozen=True):
    """What each outlet's thermometer shows."""


class Measure(msgspec.Struct, frozen=True):
    """Close this outlet and read its load."""

    outlet: int


Need = Prompt | Probe | RunTest | ReadTemperatures | Measure


# --- what is seen ----------------------------------------------------------------------------------------------------


class Probed(msgspec.Struct, frozen=True):
    """What closing `outlet` led to: `drew` mA by outlet; `tripped` faults by outlet; or `refusal`, and nothing."""

    outlet: int
    refusal: str = ""
    drew: dict[int, int] = {}
    power_mw: dict[int, int] = {}
    backwards: list[int] = []
    tripped: dict[int, str] = {}


class Load(msgspec.Struct, frozen=True):
    """Mean of some readings; or `refusal`."""

    current_ma: int = 0
    power_mw: int = 0
    refusal: str = ""


Temperatures = dict[int, int | None]
"""Thousandths of a degree by outlet; None: not read."""

Seen = str | Probed | Job | Temperatures | Load
