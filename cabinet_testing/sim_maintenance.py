"""Commands of staff to the guard of a simulated cabinet, and their results."""

from typing import Any

from cabinet.clock import NS
from cabinet.link.guard_protocol import (
    Done,
    Refusal,
)
from cabinet.maintenance import (
    JobState,
)
from cabinet.model import Phase
from cabinet_testing.sim_cabinet import SimCabinet

WHO = "console:tech"


LAMP = "resistor:60"


def ask(sim: SimCabinet, command: type, *parts: object, **named: object) -> str | None:
    """Send a staff command. Return the code of the refusal, or None."""
    answer = sim.guard.handle(command(1, *parts, who=WHO, **named))
    return answer.code if isinstance(answer, Refusal) else None


def job_done(sim: SimCabinet, within_s: int = 30) -> Any:
    """Run until the test is over. Return its job."""

    def over() -> bool:
        job = sim.guard.maintenance_state().job
        return job is not None and job.state is not JobState.RUNNING

    assert sim.run(within_s * NS, until=over)
    return sim.guard.maintenance_state().job


def charging(sim: SimCabinet, outlet: int) -> None:
    sim.plug(outlet, "resistor:500")
    assert isinstance(sim.start(outlet), Done)
    assert sim.run(5 * NS, until=lambda: sim.outlet(outlet).phase is Phase.CHARGING)


def switched(sim: SimCabinet, outlet: int) -> int:
    """Return how often the outlet's coil was switched on."""
    return sum(r.kind == "coil_on" and r.outlet == outlet for r in sim.world.journal.after(0))


def page_of(sim: SimCabinet, outlet: int) -> Any:
    return next(page for page in sim.guard.maintenance_state().outlets if page.outlet == outlet)
