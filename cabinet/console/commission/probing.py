"""Carries out the needs of a step over the link, as generators that never block (see `do.waiting`)."""

from cabinet.clock import NS
from cabinet.console.command import Desk
from cabinet.console.commands import steps
from cabinet.console.commands.steps import Steps
from cabinet.console.commission.findings import Load, Measure, Need, Probe, Probed, ReadTemperatures, RunTest, Seen
from cabinet.console.commission.steps import LAMP_MA, WELDED
from cabinet.errors import Refused
from cabinet.link.protocol import ClearLatch, Command, SelfTest, SoundSiren, TestAlertLine, TestResidual, Try
from cabinet.maintenance import Job, JobKind, JobState
from cabinet.model import CABINET, OutletState, Quality

PROBE_S = 15  # the guard then opens the outlet by itself
WATCH_NS = 3 * NS  # a lamp draws current at once; its RMS is read every half second
SETTLE_NS = 1_200_000_000
READY_NS = 10 * NS  # until the contactor is closed again and the weld check is over
JOB_NS = 40 * NS
SIREN_S = 2
TEMPERATURE_NS = 2 * NS  # each sensor is read every half second


def carry_out(desk: Desk, need: Need) -> Steps[Seen]:
    """Return the observation. Raises LinkError, but never Refused: a refusal is an observation."""
    if isinstance(need, Probe):
        return _probe(desk, need.outlet)
    if isinstance(need, Measure):
        return _measure(desk, need.outlet)
    if isinstance(need, RunTest):
        return _run(desk, need)
    assert isinstance(need, ReadTemperatures)
    return _temperatures(desk)


def _probe(desk: Desk, outlet: int) -> Steps[Seen]:
    """Close `outlet` and observe all outlets; always open it, and clear the trips that the probe caused."""
    before = {state.outlet for state in desk.guard.snapshot().outlets if state.fault is not None}
    try:
        desk.guard.request(lambda id: Try(id, outlet, PROBE_S, desk.who))
    except Refused as refused:
        return Probed(outlet, refusal=refused.code)
    try:
        yield desk.words("probe.closing", outlet=outlet)
        probed = yield from _watch(desk, outlet, before)
    finally:
        steps.open_test(desk, outlet)
    made = [number for number, fault in probed.tripped.items() if fault == WELDED]
    for number in made:
        _clear(desk, number)
    yield from steps.until(desk, READY_NS, lambda: _ready(desk, outlet))
    return probed


def _clear(desk: Desk, number: int) -> None:
    """Clear the latch of `number`. A relay that is really welded trips again at once, at the weld check."""
    desk.guard.request(lambda id: ClearLatch(id, number, desk.who))


def _watch(desk: Desk, outlet: int, before: set[int]) -> Steps[Probed]:
    """Wait for a trip or for settled current; return an empty result after `WATCH_NS` without either."""
    began_ns = desk.now_ns
    shown_ns: int | None = None
    while True:
        states = desk.guard.snapshot().outlets
        tripped = {s.outlet: s.fault.value for s in states if s.fault is not None and s.outlet not in before}
        if tripped:
            return Probed(outlet, tripped=tripped, backwards=_backwards(states))
        drew = {s.outlet: s.current_ma.value or 0 for s in states if _draws(s, began_ns)}
        if drew:
            shown_ns = desk.now_ns if shown_ns is None else shown_ns
            if desk.now_ns - shown_ns >= SETTLE_NS:
                watts = {s.outlet: s.power_mw.value or 0 for s in states if s.outlet in drew}
                return Probed(outlet, drew=drew, power_mw=watts, backwards=_backwards(states))
        elif desk.now_ns - began_ns >= WATCH_NS:
            return Probed(outlet)
        yield ""


def _draws(state: OutletState, since_ns: int) -> bool:
    current = state.current_ma
    return current.quality is Quality.OK and current.at_ns > since_ns and (current.value or 0) > LAMP_MA


def _backwards(states: list[OutletState]) -> list[int]:
    return [state.outlet for state in states if state.backwards]


def _ready(desk: Desk, outlet: int) -> bool | None:
    """Return True once the outlet may be closed for the next probe, else None."""
    return True if desk.state(outlet).refusal in (None, "out_of_service") else None


def _measure(desk: Desk, outlet: int) -> Steps[Seen]:
    try:
        desk.guard.request(lambda id: Try(id, outlet, PROBE_S, desk.who))
        yield desk.words("probe.reading", outlet=outlet)
        yield from steps.closed(desk, outlet)
        current_ma, power_mw = yield from steps.mean_load(desk, outlet)
    except Refused as refused:
        return Load(refusal=refused.code)
    finally:
        steps.open_test(desk, outlet)
    return Load(current_ma, power_mw)


def _run(desk: Desk, need: RunTest) -> Steps[Seen]:
    number = 0 if (job := desk.guard.upkeep().job) is None else job.number
    try:
        desk.guard.request(lambda id: _command(id, need, desk.who))
    except Refused as refused:
        return Job(number, need.kind, need.outlet, desk.who, JobState.BROKEN_OFF, why=refused.code)
    yield desk.words("probe.testing", what=desk.words(f"job.kind.{need.kind.value}"))

    def over() -> Job | None:
        job = desk.guard.upkeep().job
        return job if job is not None and job.number > number and job.state is not JobState.RUNNING else None

    done = yield from steps.until(desk, JOB_NS, over)
    return done or Job(number, need.kind, need.outlet, desk.who, JobState.BROKEN_OFF, why="not_ready")


def _command(id_: int, need: RunTest, who: str) -> Command:
    match need.kind:
        case JobKind.SELF_TEST:
            return SelfTest(id_, need.outlet or CABINET, who)
        case JobKind.ALERT_LINE:
            return TestAlertLine(id_, need.outlet, who)
        case JobKind.RESIDUAL:
            return TestResidual(id_, who)
        case JobKind.SIREN:
            return SoundSiren(id_, SIREN_S, who)
        case JobKind.RELAY_CYCLE:
            raise ValueError("commissioning cycles no relay")


def _temperatures(desk: Desk) -> Steps[Seen]:
    """Return new readings: an older one may be from before the contacts were warmed."""
    yield from steps.rest(desk, TEMPERATURE_NS)
    return {state.outlet: state.temperature_mc.value for state in desk.guard.snapshot().outlets}
