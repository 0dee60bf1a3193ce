"""Facts of charges, trips and alarms for the fleet, written in the transaction of the fact itself.

Without an uplink every call does nothing.
"""

import sqlite3
from collections.abc import Iterable

from cabinet.billing.session import SessionStep, State
from cabinet.model import CABINET, Event, EventKind, Fault, Snapshot
from cabinet.service.charges.session import Session
from cabinet.store import fleet_orders, outbox, residents
from cabinet.store.moment import Moment, at_monotonic
from cabinet.store.sessions import Transition
from cabinet.uplink.messages import AlarmChanged, FactBody, OrderRefused, SessionStarted, TripReport


class FleetFacts:
    """Facts of one service. `epoch` is empty without an uplink."""

    def __init__(self) -> None:
        self.epoch = ""
        self._unsaved: list[FactBody] = []
        self._alarms: dict[int, str] = {}

    @property
    def enabled(self) -> bool:
        return bool(self.epoch)

    def begin(self, epoch: str, alarms: dict[int, str]) -> None:
        """Begin, with the alarms that were written last."""
        self.epoch, self._alarms = epoch, alarms

    # --- in memory, as events and snapshots arrive -------------------------------------------------------------------

    def note_event(self, event: Event, at: Moment) -> None:
        """Take a trip; it is written with the number of its event, so never twice."""
        if self.enabled and event.kind is EventKind.TRIPPED and event.fault is not None:
            outlet = CABINET if event.outlet is None else event.outlet
            self._unsaved.append(TripReport(outlet, event.fault, at.wall, event.why.get("peak_ma"), event.session_id))

    def note_snapshot(self, snapshot: Snapshot, now: Moment) -> bool:
        """Take the faults that came or went since the last one; return whether there is something to write."""
        if not self.enabled:
            return False
        alarms = {state.outlet: state.fault.value for state in snapshot.outlets if state.fault is not None}
        if snapshot.fault is not None:
            alarms[CABINET] = snapshot.fault.value
        if alarms == self._alarms:
            return False
        at = at_monotonic(now, snapshot.at_ns).wall
        for outlet in sorted(self._alarms.keys() | alarms.keys()):
            before, after = self._alarms.get(outlet), alarms.get(outlet)
            if before != after:
                self._unsaved += [AlarmChanged(outlet, Fault(before), False, at)] if before else []
                self._unsaved += [AlarmChanged(outlet, Fault(after), True, at)] if after else []
        self._alarms = alarms
        return True

    # --- on disk -----------------------------------------------------------------------------------------------------

    def take(self) -> list[FactBody]:
        """Take the unsaved facts, for one transaction."""
        taken, self._unsaved = self._unsaved, []
        return taken

    def give_back(self, taken: list[FactBody]) -> None:
        self._unsaved = taken + self._unsaved

    def write(self, connection: sqlite3.Connection, taken: Iterable[FactBody], now: Moment) -> None:
        """Write the taken facts, and the alarms that stand after them."""
        for fact in taken:
            outbox.add(connection, fact, now.wall)
            if isinstance(fact, AlarmChanged):
                outbox.set_reported_alarm(connection, fact.outlet, fact.fault.value if fact.raised else None)

    def write_steps(
        self, connection: sqlite3.Connection, session: Session, transitions: Iterable[Transition], now: Moment
    ) -> None:
        """Write that the session started, if the guard closed its outlet in one of `transitions`."""
        if self.enabled and any(
            each.step is SessionStep.CLOSED and each.from_state is State.AUTHORISED for each in transitions
        ):
            holder = residents.holder_of(connection, session.resident_id)
            started = SessionStarted(
                session.session_id, session.order_number, session.outlet, session.choice, session.choice_amount,
                session.held_fen, session.tariff.version, session.started, session.fleet_order, holder,
            )  # fmt: skip
            outbox.add(connection, started, now.wall)
            if session.fleet_order is not None and session.refusal is None:  # else it was refused, and closed late
                fleet_orders.accept(connection, session.fleet_order)

    def write_end(self, connection: sqlite3.Connection, session: Session, number: int | None, now: Moment) -> None:
        """Write the settlement with usage record `number`; without one, that an order came to nothing."""
        order = session.fleet_order
        if order is not None and session.refusal is not None:
            fleet_orders.refuse(connection, order, session.refusal)
        if order is not None and session.end_reason is not None:
            fleet_orders.end(connection, order, session.end_reason)
        if not self.enabled:
            return
        if number is not None:
            outbox.add_settled(connection, number, now.wall)
        elif order is not None:
            outbox.add(connection, OrderRefused(order, session.refusal or "guard_unreachable"), now.wall)
