"""Maintenance tests that the guard runs by itself: started here, followed until they end, described as text."""

from collections.abc import Callable

from cabinet.console.command import CommandContext, CommandResult, Confirmation, LiveView, Output
from cabinet.console.commands.force import confirmation
from cabinet.link.guard_protocol import Command
from cabinet.maintenance import Job, JobKind, JobState
from cabinet.model import CABINET
from cabinet.texts import Texts

PERIOD_S = 0.5


def ask(
    context: CommandContext, question: str, make: Callable[[int], Command], ends: bool = False, *outlets: int
) -> Confirmation:
    """Ask before the test that `make` commands; if it `ends` charges, name their outlets first."""
    return confirmation(context, question, lambda: begin(context, make), ends, *outlets)


def begin(context: CommandContext, make: Callable[[int], Command]) -> CommandResult:
    """Start a test in the guard and show its progress. Ending the view ends no test: `job` shows its result."""
    context.guard.request(make)
    said: list[str] = []

    def step() -> str | None:
        job = context.guard.maintenance_state().job
        if job is None or job.state is not JobState.RUNNING:
            return None
        line = progress(job, context.words)
        if said[-1:] == [line]:
            return ""
        said.append(line)
        return line

    def on_end() -> str:
        return job_text(context.guard.maintenance_state().job, context.words)

    begun = context.guard.maintenance_state().job
    return LiveView(PERIOD_S, step, on_end, answer=lambda: Output("", begun))


def shown(context: CommandContext) -> Output:
    """Return the running test, or the last one."""
    job = context.guard.maintenance_state().job
    return Output(job_text(job, context.words), job)


def progress(job: Job, words: Texts) -> str:
    if job.values.get("times"):
        return words("job.cycles", done=job.values["done"], times=job.values["times"])
    return words("job.running", what=_what(job, words))


def job_text(job: Job | None, words: Texts) -> str:
    """Return one job as text: its kind, account, outcome, and numbers."""
    if job is None:
        return words("job.none")
    lines = [words("job.title", what=_what(job, words), who=job.who, state=words(f"job.state.{job.state.value}"))]
    if job.state is JobState.RUNNING:
        return "\n".join([*lines, words("job.goes_on")])
    if job.fault is not None:
        lines.append(words("job.tripped", fault=words(f"fault.{job.fault.value}.name")))
    if job.why:
        lines.append("  " + words(f"refusal.{job.why}"))
    return "\n".join([*lines, *_details(job, words)])


def _what(job: Job, words: Texts) -> str:
    what = words(f"job.kind.{job.kind.value}")
    return what if job.outlet == CABINET else words("job.of_outlet", what=what, outlet=job.outlet)


def _details(job: Job, words: Texts) -> list[str]:
    values = job.values
    if job.kind is JobKind.SELF_TEST and job.outlets:
        return [words("job.not_following", outlets=", ".join(map(str, job.outlets)))]
    if job.kind is JobKind.RESIDUAL and "ms" in values:
        return [words("job.residual_ms", ms=values["ms"])]
    if job.kind is JobKind.ALERT_LINE and job.state is not JobState.BROKEN_OFF:
        moved = ", ".join(map(str, job.outlets)) or "-"
        return [words("job.alert_moved", outlets=moved, amps=f"{values.get('peak_ma', 0) / 1000:.2f}")]
    if job.kind is JobKind.RELAY_CYCLE and values.get("done"):
        key = "job.contacts" if values["with_current"] else "job.contacts_unseen"
        numbers = {
            "least": f"{values['least_peak_ma'] / 1000:.2f}",
            "most": f"{values['peak_ma'] / 1000:.2f}",
            "open": f"{values['open_peak_ma'] / 1000:.2f}",
        }
        return [words(key, **{k: values[k] for k in ("done", "times", "with_current", "output_differs")}, **numbers)]
    return []
