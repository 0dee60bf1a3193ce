"""Checkpoints: all unsaved changes of sessions in one transaction, repeated later if the disk is full.

A session changes in memory first (`session`); this module writes it to disk. One transaction contains the steps of
the state table, the meters, the ends with settlement and usage record, and the number of the last guard event
included. After a crash at any point the file therefore shows a whole number of events. The guard sends the rest again,
because it forgets an event only if it was acknowledged, which happens after the commit.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from cabinet.billing import ledger
from cabinet.billing.session import SessionStep, State
from cabinet.billing.tariff import parts_fen
from cabinet.errors import StoreError
from cabinet.model import CostLine, EndReason
from cabinet.records import CurvePoint, LoadSample, UsageRecord
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.live import CABINET
from cabinet.service.charges.session import Session
from cabinet.service.tasks import Background
from cabinet.store import load, residents, usage
from cabinet.store import sessions as table
from cabinet.store.ledger_books import SqliteBooks
from cabinet.store.moment import Moment
from cabinet.store.sessions import Transition
from cabinet.uplink.messages import FactBody

log = logging.getLogger(__name__)


class _Taken(NamedTuple):
    """Unsaved changes of one session, as of the time when the transaction was prepared."""

    session: Session
    columns: dict[str, Any]
    transitions: list[Transition]
    days: dict[str, int]
    points: list[CurvePoint]
    replace_curve: bool
    finished: bool


class CheckpointWriter:
    """Writes one transaction at a time; if it fails, the changes stay unsaved."""

    def __init__(self, context: ServiceContext, background: Background) -> None:
        self._context = context
        self._background = background
        self._turn = asyncio.Lock()
        self._probe = 0

    async def flush(self, meters: bool = False, last: bool = False) -> None:
        """Write all steps and ends, and with `meters` the meters of all running sessions (a checkpoint); with `last`,
        before the process ends, also all points of their curves.

        Raises StorageFull, StoreError; then nothing was written and nothing is lost. If the caller is cancelled, the
        flush goes on: half-way it is unknown whether the commit succeeded.
        """
        await asyncio.shield(self._background.start(self._flush(meters, last)))

    async def save(self) -> None:
        """Write all steps and ends. Failure is logged: every checkpoint tries again."""
        try:
            await self.flush()
        except StoreError as error:
            log.error("sessions wait to be written: %s", error)

    async def _flush(self, meters: bool, last: bool) -> None:
        async with self._turn:
            context = self._context
            guard_state = context.guard_state
            handled = {run: seq for run, seq in guard_state.handled.items() if guard_state.written.get(run) != seq}
            taken = [
                _take(s, last)
                for s in context.sessions
                if meters or s.unsaved_transitions or s.stop_reason or s.finished
            ]
            samples = context.load.take(at_once=bool(taken or handled)) if meters else []
            facts = context.fleet_facts.take()
            if not taken and not handled and not samples and not facts:
                await self._probe_disk()
                return
            now = context.now()
            try:
                await context.storage.write(
                    lambda connection: _write(connection, context, taken, handled, samples, facts, now)
                )
            except BaseException:
                context.load.give_back(samples)
                context.fleet_facts.give_back(facts)
                for each in taken:
                    _give_back(each)
                raise
            guard_state.written.update(handled)
            for guard_run, seq in handled.items():
                context.guard.acknowledge(guard_run, seq)
            for each in taken:
                if each.finished:
                    self._over(each.session)
            if context.fleet_facts.enabled:
                context.changes.touch(CABINET)

    async def _probe_disk(self) -> None:
        """Test whether a full disk takes writes again, if there is nothing else to write."""
        if self._context.storage.full:
            self._probe += 1
            statement = f"PRAGMA user_version = {self._probe}"
            await self._context.storage.write(lambda connection: connection.execute(statement))

    def _over(self, session: Session) -> None:
        session.state = State.SETTLED
        self._context.sessions.remove(session)
        session.over.set()
        self._context.changes.touch(session.outlet)
        self._context.changes.touch(CABINET)
        reason = "refused" if session.end_reason is None else session.end_reason.value
        log.info("outlet %d: %s settled (%s)", session.outlet, session.order_number, reason)


def _take(session: Session, last: bool) -> _Taken:
    """Close the meter's slice and take the unsaved changes."""
    session.meter.close_slice()
    transitions, session.unsaved_transitions = session.unsaved_transitions, []
    days, session.unsaved_days = session.unsaved_days, {}
    points, replace = session.curve.take(last or session.finished or session.stop_reason is not None)
    count = session.meter.seen
    columns = {
        "state": State.FINISHED if session.finished else session.state,
        "powered_ms": count.powered_ms,
        "charging_ms": count.charging_ms,
        "energy_mwh": count.energy_mwh,
        "peak_power_mw": session.meter.peak_power_mw,
        "used": session.meter.used,
        "seen": session.held_at,
        "counter": session.meter.counter,
        "curve_step_s": session.curve.step_s,
        "stop_reason": session.stop_reason,
        "stop_who": session.stop_who,
        "refusal": session.refusal,
        "fault": session.suspended_for,  # replaced by the fault that ends it, if one does
    }
    return _Taken(session, columns, transitions, days, points, replace, session.finished)


def _give_back(taken: _Taken) -> None:
    session = taken.session
    session.unsaved_transitions = taken.transitions + session.unsaved_transitions
    for day, energy_mwh in taken.days.items():
        session.unsaved_days[day] = session.unsaved_days.get(day, 0) + energy_mwh
    session.curve.give_back()


def _write(
    connection: sqlite3.Connection,
    context: ServiceContext,
    taken: Iterable[_Taken],
    handled: dict[str, int],
    samples: list[LoadSample],
    facts: list[FactBody],
    now: Moment,
) -> None:
    for each in taken:
        row = table.by_id(connection, each.session.session_id)
        if row is None or row.state is State.SETTLED:
            log.error("session %s is settled already or gone; left as it is", each.session.session_id)
            continue
        # Unchanged columns are not set: SQLite would rewrite their indexes every ten seconds.
        changed = {name: value for name, value in each.columns.items() if getattr(row, name) != value}
        if changed:
            table.update(connection, row.session_id, **changed)
        for transition in each.transitions:
            table.add_transition(connection, transition)
        context.fleet_facts.write_steps(connection, each.session, each.transitions, now)
        for day, energy_mwh in each.days.items():
            table.add_day_energy(connection, row.outlet, day, energy_mwh)
        table.add_curve(connection, row.session_id, each.points, each.replace_curve)
        if each.finished:
            _settle(connection, context, each.session, now)
    for guard_run, seq in handled.items():
        table.set_position(connection, guard_run, seq)
    context.fleet_facts.write(connection, facts, now)
    if samples:
        load.add(connection, samples)


def _settle(connection: sqlite3.Connection, context: ServiceContext, session: Session, now: Moment) -> None:
    """Turn the hold into revenue and refund; write usage record and receipt. The caller checks that it is unsettled."""
    assert session.ended is not None  # set by `finish`
    lines = session.lines()
    electricity_fen, service_fen = parts_fen(lines)
    cost_fen = electricity_fen + service_fen
    books = SqliteBooks(connection, now.wall)
    ledger.post(books, ledger.settle(session.session_id, session.payer, session.held_fen, electricity_fen, service_fen))
    if session.fleet_order is not None and session.held_fen > cost_fen:
        ledger.post(books, ledger.order_out(session.fleet_order, session.held_fen - cost_fen))
    number = None
    if session.end_reason is not None:
        holder = residents.holder_of(connection, session.resident_id)
        record = _usage_record(context, session, session.end_reason, lines, holder)
        number = usage.append(connection, record).number
    context.fleet_facts.write_end(connection, session, number, now)
    table.add_transition(
        connection,
        Transition(session.session_id, SessionStep.PAID, State.FINISHED, State.SETTLED, now, f"{cost_fen} fen"),
    )
    table.update(
        connection,
        session.session_id,
        state=State.SETTLED,
        ended_unix_ms=session.ended.unix_ms,
        ended_trusted=session.ended.trusted,
        end_reason=session.end_reason,
        fault=session.fault,
        lines=lines,
        cost_fen=cost_fen,
        refund_fen=session.held_fen - cost_fen,
        electricity_fen=electricity_fen,
        usage_number=number,
    )


def _usage_record(
    context: ServiceContext, session: Session, reason: EndReason, lines: list[CostLine], holder: str
) -> UsageRecord:
    """Return the usage record; the log fills in number and hashes."""
    assert session.ended is not None  # set by `finish`
    count = session.meter.seen
    electricity_fen, service_fen = parts_fen(lines)
    total_fen = electricity_fen + service_fen
    return UsageRecord(
        number=0,
        order_number=session.order_number,
        session_id=session.session_id,
        site_id=context.config.site.site_id,
        outlet=session.outlet,
        card=session.card,
        holder=holder,
        started=session.started,
        ended=session.ended,
        powered_s=count.powered_ms // 1000,
        charging_s=count.charging_ms // 1000,
        energy_mwh=count.energy_mwh,
        peak_power_mw=session.meter.peak_power_mw,
        mean_power_mw=count.energy_mwh * 3_600_000 // count.charging_ms if count.charging_ms else 0,
        lines=lines,
        electricity_fen=electricity_fen,
        service_fen=service_fen,
        total_fen=total_fen,
        held_fen=session.held_fen,
        refund_fen=session.held_fen - total_fen,
        end_reason=reason,
        fault=session.fault,
        tariff_version=session.tariff.version,
        previous_hash="",
        record_hash="",
    )
