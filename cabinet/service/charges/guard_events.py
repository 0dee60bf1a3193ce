"""Guard events and snapshots, taken into memory at once; writing to disk comes after (`checkpoint`)."""

import logging

from cabinet.billing.session import SessionStep
from cabinet.errors import StoreError
from cabinet.model import EndReason, Event, EventKind, Fault, OutletState, Phase, Quality, Snapshot
from cabinet.service.charges.checkpoint import CheckpointWriter
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.service.charges.session import Session
from cabinet.store.moment import Moment, at_monotonic
from cabinet.store.sessions import Counter

log = logging.getLogger(__name__)

MAX_BEHIND_NS = 10_000_000_000  # events this late will not come: the database is older than the guard


class GuardEventHandler:
    """Guard event handler: keeps the active sessions and `context.guard_state` up to date."""

    def __init__(self, context: ServiceContext, checkpoint_writer: CheckpointWriter) -> None:
        self._context = context
        self._checkpoint_writer = checkpoint_writer

    async def on_event(self, event: Event) -> None:
        """Take `event` into memory and write it; if the disk is full, every checkpoint tries again."""
        guard_state = self._context.guard_state
        if event.seq <= guard_state.written.get(event.guard_run, 0):
            self._context.guard.acknowledge(event.guard_run, event.seq)
            return
        if event.seq > guard_state.handled.get(event.guard_run, 0):
            self.apply(event)
            self._context.fleet_facts.note_event(event, at_monotonic(self._context.now(), event.at_ns))
            guard_state.handled[event.guard_run] = event.seq
            self.notify_viewers(event.outlet)
        try:
            await self._checkpoint_writer.flush()
        except StoreError as error:
            log.error("event %d waits to be written: %s", event.seq, error)

    def apply(self, event: Event) -> None:
        """Apply `event` to its session, in memory. A repeated event changes nothing."""
        log.info("guard: %s", _about(event))
        session = self._context.sessions.get(event.session_id)
        if session is None or session.finished:
            return
        at = at_monotonic(self._context.now(), event.at_ns)
        if event.kind is EventKind.CLOSED:
            session.step(SessionStep.CLOSED, at)
        elif event.kind is EventKind.LOAD_SEEN:
            session.step(SessionStep.CLOSED, at)
            session.step(SessionStep.LOADED, at)
        elif event.kind in (EventKind.ENDED, EventKind.TRIPPED):
            self._note_energy(session, session.observe(event.charge_count, at), at)
            tripped = event.kind is EventKind.TRIPPED
            reason = EndReason.TRIPPED if tripped else event.reason or EndReason.STOPPED_BY_OPERATOR
            session.finish(reason, event.fault if tripped else None, at)
        elif event.kind is EventKind.SUSPENDED:
            self._note_energy(session, session.observe(event.charge_count, at), at)
            session.suspend(event.fault, at)

    def on_snapshot(self, snapshot: Snapshot) -> bool:
        """Update meters and live pages; the caller compares states afterwards.

        Return whether there is a new fact for the fleet, which should be written soon.
        """
        context = self._context
        guard_state = context.guard_state
        guard_state.snapshot = snapshot
        now = context.now()
        context.load.add(snapshot.feed_mw, snapshot.feed_limit_mw, now)
        new_facts = context.fleet_facts.note_snapshot(snapshot, now)
        behind = snapshot.last_seq > guard_state.handled.get(snapshot.guard_run, 0)
        guard_state.behind_since_ns = (guard_state.behind_since_ns or now.monotonic_ns) if behind else None
        for state in snapshot.outlets:
            session = context.sessions.at(state.outlet)
            if session is not None and not session.finished:
                self._meter(session, state, snapshot, now)
            self.notify_viewers(state.outlet)
        cabinet = (
            snapshot.contactor_closed,
            snapshot.feed_mw // 1000,
            snapshot.fault,
            snapshot.latched,
            snapshot.siren,
        )
        context.changes.show(CABINET, (cabinet, context.accepting(), len(context.sessions)))
        return new_facts

    def up_to_date(self) -> bool:
        """Return whether every event counted in the last snapshot was taken in, or is overdue (`MAX_BEHIND_NS`).

        Only then does an idle outlet mean that its session was not ended.
        """
        guard_state = self._context.guard_state
        if guard_state.snapshot is None:
            return False
        if guard_state.behind_since_ns is None:
            return True
        return self._context.clock.monotonic_ns() - guard_state.behind_since_ns > MAX_BEHIND_NS

    def _meter(self, session: Session, state: OutletState, snapshot: Snapshot, now: Moment) -> None:
        if state.session_id != session.session_id:
            session.power_mw = None
            return
        at = at_monotonic(now, snapshot.at_ns)
        power = state.power_mw
        session.power_mw = power.value if power.quality is Quality.OK else None
        session.held_at = at
        session.resuming_since_ns = None
        counter = Counter(snapshot.guard_run, snapshot.epoch, state.count)
        self._note_energy(session, session.observe(state.charge_count, at, counter, session.power_mw), at)

    def _note_energy(self, session: Session, new_mwh: int, at: Moment) -> None:
        if new_mwh:
            self._context.daily_energy.add(self._context.site_time.day(at.wall), session.outlet, new_mwh)

    def notify_viewers(self, outlet: int | None) -> None:
        """Wake the outlet's viewers if anything they see has changed."""
        context = self._context
        if outlet is None:
            context.changes.touch(CABINET)
            return
        state, session = context.guard_state.outlet(outlet), context.sessions.at(outlet)
        cabinet_fault = None if context.guard_state.snapshot is None else context.guard_state.snapshot.fault
        appearance = (_outlet_appearance(state), _session_appearance(session), context.accepting(), cabinet_fault)
        if context.changes.show(outlet, appearance):
            context.changes.touch(CABINET)


def _outlet_appearance(state: OutletState | None) -> tuple[object, ...]:
    """Return an outlet's state as a viewer sees it, as coarse as it is shown."""
    if state is None:
        return ()
    power, heat = state.power_mw.value, state.temperature_mc.value
    return (
        state.closed, state.phase, state.session_id, state.fault, state.latched, state.refusal, state.note,
        None if power is None else power // 1000, None if heat is None else heat // 1000,
    )  # fmt: skip


def _session_appearance(session: Session | None) -> tuple[object, ...]:
    if session is None:
        return ()
    seen = session.meter.seen
    cost_fen = sum(line.amount_fen for line in session.lines())
    return (
        session.session_id, session.state, cost_fen, seen.charging_ms // 60_000, seen.energy_mwh // 1000,
        len(session.curve.points), session.stop_reason, session.suspended_for,
    )  # fmt: skip


def _about(event: Event) -> str:
    what: EndReason | Fault | None = event.fault or event.reason
    words = [
        event.kind.value,
        None if event.outlet is None else f"outlet {event.outlet}",
        event.session_id,
        None if what is None else what.value,
    ]
    return " ".join(word for word in words if word)


def agrees(session: Session, state: OutletState) -> bool:
    """Return whether the guard's view of the outlet matches the session's state."""
    if state.session_id != session.session_id or session.stop_reason is not None:
        return False
    expected = Phase.CHARGING if session.state.value == "charging" else Phase.WAITING_FOR_LOAD
    return state.phase is expected and session.state.value in ("charging", "waiting_for_load")
