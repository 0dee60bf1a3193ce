"""Reconciliation of sessions and outlets that disagree after a crash, a power cut or a lost connection.

`decide` is pure and total: every combination has one answer. The rules, in order:

- The outlet holds the session: go on, in the state the guard reports; or open it, if a stop is requested.
- The start was never confirmed: it failed, and costs nothing.
- A stop is requested, and the outlet no longer holds the session: settle with that reason.
- The outlet holds another session: ours is over at an unknown time: settle as power lost.
- A fault that does not pass by itself keeps the outlet or the whole cabinet open: settle as tripped. Faulted sessions
  never resume.
- The guard process is the one that held the session, but has no event of its end: settle as power lost.
- Not held for longer than `resume_within_s`: settle as power lost. The time comes from the monotonic clock within one
  boot, else from the wall clock if it was right both times; a Pi that has just booted gets time to synchronise it.
- Otherwise suspend the session and resume it, after the guard's own pre-close check; if the feed has no room for all,
  the oldest resumes first.

An outlet that holds a session unknown here (an orphan session) is opened: no resident would pay for it.
"""

import enum
import logging

import msgspec

from cabinet.billing.session import SessionStep, State
from cabinet.clock import NS
from cabinet.errors import Refused, StoreError
from cabinet.link.protocol import Energise, Open
from cabinet.model import EndReason, Fault, OutletState, Phase, Snapshot
from cabinet.protections.table import RESUMES
from cabinet.service.charges.checkpoint import CheckpointWriter
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.guard_events import GuardEventHandler, agrees
from cabinet.service.charges.session import Session
from cabinet.store.moment import Moment, at_monotonic, seconds_between
from cabinet.store.sessions import Counter

log = logging.getLogger(__name__)

LEARN_TIME_S = 180  # for the wall clock to be synchronised after a boot
RETRY_NS = 1 * NS
RESUME_FOR_NS = 120 * NS  # a guard that has just started may need this long until its sensors answer

PASSING_REFUSALS = frozenset(
    {"not_ready", "sensor_lost", "contactor_open", "voltage_out_of_band", "feed_full", "fault_present",
     "guard_unreachable", "outlet_busy", "cabinet_hot", "state_unwritable"}
)  # fmt: skip


class Action(enum.Enum):
    GO_ON = "go_on"
    OPEN = "open"
    CALL_OFF = "call_off"  # settle at zero cost: it never began
    SETTLE = "settle"
    WAIT = "wait"
    RESUME = "resume"


class Decision(msgspec.Struct, frozen=True):
    action: Action
    reason: EndReason | None = None
    fault: Fault | None = None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of `decide`; `away_s` is the time for which the guard has not held the session, None if unknown."""

    state: State
    session_id: str
    stop_reason: EndReason | None
    same_guard: bool  # the present guard process is the one that held it last
    outlet_session_id: str | None
    fault: Fault | None
    latched: bool
    cabinet_fault: Fault | None = None
    away_s: float | None
    since_boot_s: float
    resume_within_s: float


def decide(situation: Situation) -> Decision:
    """Return the action for an unfinished session, given the guard's report of its outlet."""
    if situation.outlet_session_id == situation.session_id:
        return Decision(Action.GO_ON) if situation.stop_reason is None else Decision(Action.OPEN, situation.stop_reason)
    if situation.state is State.AUTHORISED:
        return Decision(Action.CALL_OFF)
    if situation.stop_reason is not None:
        return Decision(Action.SETTLE, situation.stop_reason)
    if situation.outlet_session_id is not None:
        return Decision(Action.SETTLE, EndReason.POWER_LOST)
    if situation.latched or (situation.fault is not None and situation.fault not in RESUMES):
        return Decision(Action.SETTLE, EndReason.TRIPPED, situation.fault)
    if situation.cabinet_fault is not None:
        return Decision(Action.SETTLE, EndReason.TRIPPED, situation.cabinet_fault)
    if situation.same_guard and situation.state is not State.SUSPENDED:
        return Decision(Action.SETTLE, EndReason.POWER_LOST)
    if situation.away_s is None:
        learning = situation.since_boot_s < LEARN_TIME_S
        return Decision(Action.WAIT) if learning else Decision(Action.SETTLE, EndReason.POWER_LOST)
    if situation.away_s > situation.resume_within_s:
        return Decision(Action.SETTLE, EndReason.POWER_LOST)
    return Decision(Action.RESUME)


class Reconciler:
    """Reconciles sessions and outlets whenever a snapshot shows that they disagree."""

    def __init__(
        self, context: ServiceContext, checkpoint_writer: CheckpointWriter, event_handler: GuardEventHandler
    ) -> None:
        self._context = context
        self._checkpoint_writer = checkpoint_writer
        self._event_handler = event_handler
        self._orphan_retry_ns = 0

    def wanted(self, snapshot: Snapshot) -> bool:
        """Return whether `snapshot` disagrees with a session or shows an orphan session."""
        by_number = {state.outlet: state for state in snapshot.outlets}
        return bool(self._orphan_sessions(snapshot)) or any(
            not session.finished
            and snapshot.at_ns > session.energised_ns
            and ((state := by_number.get(session.outlet)) is None or not agrees(session, state))
            for session in self._context.sessions
        )

    def _orphan_sessions(self, snapshot: Snapshot) -> list[OutletState]:
        """Return outlets with an orphan session: finished, settled, or from a lost database."""

        def is_orphan(session_id: str) -> bool:
            session = self._context.sessions.get(session_id)
            return session is None or session.finished

        return [
            state
            for state in snapshot.outlets
            if state.session_id is not None and not state.trial and is_orphan(state.session_id)
        ]

    async def reconcile(self) -> None:
        """Compare every running session with the last snapshot, and act. Skip sessions being started or resumed."""
        snapshot = self._context.guard_state.snapshot
        if snapshot is None or not self._event_handler.up_to_date():
            return
        by_number = {state.outlet: state for state in snapshot.outlets}
        for session in self._context.sessions:
            if session.finished or session.busy.locked() or snapshot.at_ns <= session.energised_ns:
                continue
            state = by_number.get(session.outlet)
            if state is None:
                # the outlet was removed from the configuration: the guard will never report it again
                session.finish(EndReason.POWER_LOST, None, self._context.now())
            elif not agrees(session, state):
                async with session.busy:
                    await self._act(session, state, snapshot)
            self._event_handler.notify_viewers(session.outlet)
        await self._open_orphans(snapshot)
        await self._save()

    async def _open_orphans(self, snapshot: Snapshot) -> None:
        now_ns = self._context.clock.monotonic_ns()
        orphans = self._orphan_sessions(snapshot)
        if not orphans or now_ns < self._orphan_retry_ns:
            return
        self._orphan_retry_ns = now_ns + RETRY_NS
        for state in orphans:
            log.error("outlet %d: charges for %s, which is not running here: opened", state.outlet, state.session_id)
            await self._request_open(state.outlet, state.session_id, EndReason.STOPPED_BY_OPERATOR, "service")

    async def _act(self, session: Session, state: OutletState, snapshot: Snapshot) -> None:
        now = at_monotonic(self._context.now(), snapshot.at_ns)
        decision = decide(self._situation(session, state, snapshot, now))
        if decision.action is Action.GO_ON:
            session.step(SessionStep.CLOSED, now)
            if state.phase is Phase.CHARGING:
                session.step(SessionStep.LOADED, now)
        elif decision.action is Action.OPEN and decision.reason is not None:
            await self.open(session, decision.reason)
        elif decision.action is Action.CALL_OFF:
            session.refusal = session.refusal or "guard_unreachable"
            session.finish(None, None, now)
        elif decision.action is Action.SETTLE:
            self._count_rest(session, state, snapshot, now)
            session.finish(
                decision.reason, decision.fault, session.held_at if decision.reason is EndReason.POWER_LOST else now
            )
        elif decision.action is Action.RESUME:
            await self._resume(session, state, snapshot, now)

    def _situation(self, session: Session, state: OutletState, snapshot: Snapshot, now: Moment) -> Situation:
        counter = session.meter.counter
        return Situation(
            state=session.state,
            session_id=session.session_id,
            stop_reason=session.stop_reason,
            same_guard=counter is not None and counter.guard_run == snapshot.guard_run,
            outlet_session_id=state.session_id,
            fault=state.fault,
            latched=state.latched,
            cabinet_fault=snapshot.fault,
            away_s=seconds_between(session.held_at, now),
            since_boot_s=now.monotonic_ns / NS,
            resume_within_s=self._context.config.service.resume_within_s,
        )

    async def open(self, session: Session, reason: EndReason) -> None:
        """Command the guard to open the outlet; the end arrives as its event. Repeated until the guard acts on it."""
        now_ns = self._context.clock.monotonic_ns()
        if now_ns < session.retry_ns:
            return
        session.retry_ns = now_ns + RETRY_NS
        await self._request_open(session.outlet, session.session_id, reason, session.stop_who)

    async def _request_open(self, outlet: int, session_id: str | None, reason: EndReason, who: str) -> None:
        try:
            await self._context.guard.request(lambda id_: Open(id_, outlet, reason, session_id, who))
        except Refused as refusal:
            log.warning("outlet %d: could not be opened for %s: %s", outlet, session_id, refusal)

    async def energise(self, session: Session) -> None:
        """Command the guard to close the outlet, or to take new limits if it is closed. Raises Refused."""
        count = session.meter.seen
        limits = session.limits(self._context.max_w(session.outlet))
        await self._context.guard.request(
            lambda id_: Energise(
                id_,
                session.outlet,
                session.session_id,
                limits,
                used_charging_ms=count.charging_ms,
                used_energy_mwh=count.energy_mwh,
                used_powered_ms=count.powered_ms,
                had_load=session.had_load,
            )
        )
        session.energised_ns = self._context.clock.monotonic_ns()

    def _count_rest(self, session: Session, state: OutletState, snapshot: Snapshot, now: Moment) -> None:
        """Add the outlet's count between the last snapshot and the moment the guard lost the session."""
        counter = Counter(snapshot.guard_run, snapshot.epoch, state.count)
        if state.session_id is None:
            new_mwh = session.observe_outlet(counter, now)
            self._context.daily_energy.add(self._context.site_time.day(now.wall), session.outlet, new_mwh)

    async def _resume(self, session: Session, state: OutletState, snapshot: Snapshot, now: Moment) -> None:
        """Suspend it, on disk too, then close the outlet again; if a refusal may pass by itself, retry for a while."""
        now_ns = self._context.clock.monotonic_ns()
        self._count_rest(session, state, snapshot, now)
        if session.step(SessionStep.INTERRUPTED, now):
            session.resuming_since_ns = None
            await self._save()
        if now_ns < session.retry_ns or self._older_session_waits(session):
            return
        session.resuming_since_ns = session.resuming_since_ns or now_ns
        session.retry_ns = now_ns + RETRY_NS
        try:
            await self.energise(session)
        except Refused as refusal:
            session.waits_for = refusal.code
            if refusal.code in ("session_over", "cabinet_fault"):
                return  # the guard has ended it or has a cabinet fault: its event or snapshot will arrive
            if refusal.code not in PASSING_REFUSALS or now_ns - session.resuming_since_ns > self._retry_limit_ns(
                session
            ):
                log.warning("outlet %d: %s does not resume: %s", session.outlet, session.session_id, refusal)
                session.finish(EndReason.POWER_LOST, None, session.held_at)
            return
        session.step(SessionStep.LOADED if session.had_load else SessionStep.CLOSED, self._context.now(), "resumed")

    def _older_session_waits(self, session: Session) -> bool:
        """Return whether an older session waits for room on the feed; this one must not take that room."""
        return any(
            other.waits_for == "feed_full" and other.number < session.number and not other.finished
            for other in self._context.sessions
        )

    def _retry_limit_ns(self, session: Session) -> int:
        """Return how long to retry: if the guard suspended the session, for as long as `decide` allows."""
        if session.suspended_for is None:
            return RESUME_FOR_NS
        return max(RESUME_FOR_NS, int(self._context.config.service.resume_within_s * NS))

    async def _save(self) -> None:
        try:
            await self._checkpoint_writer.flush()
        except StoreError as error:
            log.error("sessions wait to be written: %s", error)
