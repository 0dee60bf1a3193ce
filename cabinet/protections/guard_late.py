"""Supervision of the guard's loop. Pure."""

from typing import Annotated

from cabinet.model import Fault
from cabinet.protections.inputs import OutletInputs, OutletProtection
from cabinet.sections import Section, number


class GuardLateSection(Section, frozen=True):
    """If the guard's loop is late it cannot protect: all outlets open until it is on time."""

    after_s: Annotated[float, number("a tick later than this opens all outlets", least=0.01, most=0.5)] = 0.05


class GuardLate(OutletProtection):
    """Trip if the loop stalled for so long that protection was interrupted: everything opens."""

    fault = Fault.GUARD_LATE
    latched = False
    whole_cabinet = True
    section = GuardLateSection
    each_tick = True
    only_unusual = True
    resumes = True
    after_ns: int

    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        if inputs.late_ns <= self.after_ns or not inputs.closed:
            return None
        return {"late_ms": inputs.late_ns // 1_000_000, "limit_ms": self.after_ns // 1_000_000}
