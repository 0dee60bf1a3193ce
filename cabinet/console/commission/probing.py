"""Carries out the needs of a step over the link, as generators that never block (see `console.commands.steps`)."""

from cabinet.clock import NS
from cabinet.console.command import CommandContext
from cabinet.console.commands import steps
from cabinet.console.commands.steps import Steps
from cabinet.console.commission.findings import (
    Measure,
    MeasuredLoad,
    Probe,
    Probed,
    ReadTemperatures,
    RunTest,
    StepObservation,
    StepRequest,
)
from cabinet.console.commission.steps import LAMP_MA, WELDED
from cabinet.errors import Refused
from cabinet.link.guard_protocol import (
    ClearLatch,
    Command,
    SoundSiren,
    StartSelfTest,
    StartTestCharge,
    TestAlertLine,
    TestResidual,
)
from cabinet.maintenance import Job, JobKind, JobState
from cabinet.model import CABINET, OutletState, Quality

PROBE_S = 15  # the guard then opens the outlet by itself
WATCH_NS = 3 * NS  # a lamp draws current at once; its RMS is read every half second
SETTLE_NS = 1_200_000_000
READY_NS = 10 * NS  # until the contactor is closed again and the weld check is over
JOB_NS = 40 * NS
SIREN_S = 2
TEMPERATURE_NS = 2 * NS  # each sensor is read every half second


def carry_out(context: CommandContext, need: StepRequest) -> Steps[StepObservation]:
    """Return the observation. Raises LinkError, but never Refused: a refusal is an observation."""
    if isinstance(need, Probe):
        return _probe(context, need.outlet)
    if isinstance(need, Measure):
        return _measure(context, need.outlet)
    if isinstance(need, RunTest):
        return _run(context, need)
    assert isinstance(need, ReadTemperatures)
    return _temperatures(context)


def _probe(context: CommandContext, outlet: int) -> Steps[StepObservation]:
    """Close `outlet` and observe all outlets; always open it, and clear the trips that the probe caused."""
    before = {state.outlet for state in context.guard.snapshot().outlets if state.fault is not None}
    try:
        context.guard.request(lambda id: StartTestCharge(id, outlet, PROBE_S, context.who))
    except Refused as refused:
        return Probed(outlet, refusal=refused.code)
    try:
        yield context.words("probe.closing", outlet=outlet)
        probed = yield from _watch(context, outlet, before)
    finally:
        steps.open_test(context, outlet)
    made = [number for number, fault in probed.tripped.items() if fault == WELDED]
    for number in made:
        _clear(context, number)
    yield from steps.wait_until(context, READY_NS, lambda: _ready(context, outlet))
    return probed


def _clear(context: CommandContext, number: int) -> None:
    """Clear the latch of `number`. A relay that is really welded trips again at once, at the weld check."""
    context.guard.request(lambda id: ClearLatch(id, number, context.who))


def _watch(context: CommandContext, outlet: int, before: set[int]) -> Steps[Probed]:
    """Wait for a trip or for settled current; return an empty result after `WATCH_NS` without either."""
    began_ns = context.now_ns
    shown_ns: int | None = None
    while True:
        states = context.guard.snapshot().outlets
        tripped = {s.outlet: s.fault.value for s in states if s.fault is not None and s.outlet not in before}
        if tripped:
            return Probed(outlet, tripped=tripped, backwards=_backwards(states))
        drew = {s.outlet: s.current_ma.value or 0 for s in states if _draws(s, began_ns)}
        if drew:
            shown_ns = context.now_ns if shown_ns is None else shown_ns
            if context.now_ns - shown_ns >= SETTLE_NS:
                watts = {s.outlet: s.power_mw.value or 0 for s in states if s.outlet in drew}
                return Probed(outlet, drew=drew, power_mw=watts, backwards=_backwards(states))
        elif context.now_ns - began_ns >= WATCH_NS:
            return Probed(outlet)
        yield ""


def _draws(state: OutletState, since_ns: int) -> bool:
    current = state.current_ma
    return current.quality is Quality.OK and current.at_ns > since_ns and (current.value or 0) > LAMP_MA


def _backwards(states: list[OutletState]) -> list[int]:
    return [state.outlet for state in states if state.backwards]


def _ready(context: CommandContext, outlet: int) -> bool | None:
    """Return True once the outlet may be closed for the next probe, else None."""
    return True if context.state(outlet).refusal in (None, "out_of_service") else None


def _measure(context: CommandContext, outlet: int) -> Steps[StepObservation]:
    try:
        context.guard.request(lambda id: StartTestCharge(id, outlet, PROBE_S, context.who))
        yield context.words("probe.reading", outlet=outlet)
        yield from steps.wait_until_closed(context, outlet)
        current_ma, power_mw = yield from steps.mean_load(context, outlet)
    except Refused as refused:
        return MeasuredLoad(refusal=refused.code)
    finally:
        steps.open_test(context, outlet)
    return MeasuredLoad(current_ma, power_mw)


def _run(context: CommandContext, need: RunTest) -> Steps[StepObservation]:
    number = 0 if (job := context.guard.maintenance_state().job) is None else job.number
    try:
        context.guard.request(lambda id: _command(id, need, context.who))
    except Refused as refused:
        return Job(number, need.kind, need.outlet, context.who, JobState.BROKEN_OFF, why=refused.code)
    yield context.words("probe.testing", what=context.words(f"job.kind.{need.kind.value}"))

    def over() -> Job | None:
        job = context.guard.maintenance_state().job
        return job if job is not None and job.number > number and job.state is not JobState.RUNNING else None

    done = yield from steps.wait_until(context, JOB_NS, over)
    return done or Job(number, need.kind, need.outlet, context.who, JobState.BROKEN_OFF, why="not_ready")


def _command(id_: int, need: RunTest, who: str) -> Command:
    match need.kind:
        case JobKind.SELF_TEST:
            return StartSelfTest(id_, need.outlet or CABINET, who)
        case JobKind.ALERT_LINE:
            return TestAlertLine(id_, need.outlet, who)
        case JobKind.RESIDUAL:
            return TestResidual(id_, who)
        case JobKind.SIREN:
            return SoundSiren(id_, SIREN_S, who)
        case JobKind.RELAY_CYCLE:
            raise ValueError("commissioning cycles no relay")


def _temperatures(context: CommandContext) -> Steps[StepObservation]:
    """Return new readings: an older one may be from before the contacts were warmed."""
    yield from steps.wait_for(context, TEMPERATURE_NS)
    return {state.outlet: state.temperature_mc.value for state in context.guard.snapshot().outlets}
