"""All opening and closing of outlets: trips, ends, the order of closings, latches and their events.

Opening comes first, its explanation later. Closing is requested by a command, checked at the request and again at the
moment of closing (`interlocks`), and never done for any other reason.
"""

import logging
from collections import deque

from cabinet.charge import Charge, TestCharge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard import latches
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.closing_queue import ClosingQueue
from cabinet.guard.contactor import ContactorControl
from cabinet.guard.interlocks import Interlocks, PreCloseCheck
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.phase import MainsPhase
from cabinet.guard.readback import read_back
from cabinet.guard.recorder import Recorder
from cabinet.guard.state_files import StateWriter
from cabinet.link.server import EventLog
from cabinet.model import EndReason, Event, EventKind, Fault, Trip
from cabinet.protections.table import HIDDEN_CURRENT
from cabinet.relays import RelayBank
from cabinet.sections import nanoseconds

log = logging.getLogger(__name__)

CHECK_OUTPUTS_NS = 1000 * MS
ENDED_SESSIONS = 256  # remembered so that a repeated command does not start a charge twice


class Switching:
    """Relays and latches of one cabinet, and the events that report their changes."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        state_writer: StateWriter,
        recorder: Recorder,
        events: EventLog,
        units: list[OutletUnit],
        cabinet: CabinetUnit,
        contactor: ContactorControl,
        interlocks: Interlocks,
        phase: MainsPhase,
    ) -> None:
        self._clock = clock
        self._relays = relays
        self._state_writer = state_writer
        self._recorder = recorder
        self._events = events
        self._units = units
        self._cabinet = cabinet
        self._contactor = contactor
        self._break = contactor.breaks
        self._interlocks = interlocks
        self._by_number = {unit.number: unit for unit in units}
        hardware = config.hardware
        self._closings = ClosingQueue(
            nanoseconds(hardware.closing_gap_s),
            nanoseconds(hardware.relay_operate_s),
            nanoseconds(config.guard.scan_period_s) // 2,
            phase,
        )
        self._next_check_ns = 0
        # A closed relay opens if its lease is not renewed for so long: 100 ms unless the configuration allows more.
        self.lease_ns = nanoseconds(2 * config.protections.guard_late.after_s)
        self.ended: deque[str] = deque(maxlen=ENDED_SESSIONS)
        self._latches_kept = True

    def open_all(self) -> str:
        """Open everything, then restore the latches. Return the name of the newest copy if it is lost."""
        try:
            self._relays.initialise()
        except CabinetError as error:
            log.error("relays: %s; outlets on it stay open until it answers", error)
        recalled = self._state_writer.latches()
        self._latches_kept = recalled.complete
        latches.restore(recalled.copies[0], self._state_writer.recent_trips(), self._units, self._cabinet)
        return recalled.lost

    def keep_latches(self) -> None:
        """Bring every copy of the latches up to date with the restored ones."""
        if not self._latches_kept:
            self._save_latches()

    def start(self) -> None:
        """Begin the self-test, and report the start."""
        now_ns = self._clock.monotonic_ns()
        self._contactor.start(now_ns)
        self._events.add(Event("", 0, now_ns, EventKind.GUARD_STARTED))

    def lock_out_contactor(self) -> None:
        """Open the contactor and keep it open. Charges end first: the contactor then breaks no current."""
        self._contactor.locked_out = True
        self._end_all(EndReason.STOPPED_BY_STAFF)
        self._contactor.open(self._clock.monotonic_ns())

    # --- Turn of a tick ---------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> None:
        """Do the work that is due: self-test, contactor break, check of the outputs, next closing."""
        if self._contactor.step_self_test(now_ns):
            for number in self._contactor.self_test_failed:
                self.trip(self._by_number[number], Trip(Fault.RELAY_STUCK_OPEN, number, now_ns, True, {"self_test": 1}))
            self._contactor.restore_power(now_ns)
        if self._break.active:
            self._step_contactor_break(now_ns)
        if self._relays.unsent:
            self._fall_back_to_contactor()
        if now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + CHECK_OUTPUTS_NS
            if not self._contactor.self_testing:
                self._check_outputs(now_ns)
            self._contactor.restore_power(now_ns)
        self._close_next(now_ns)

    def _check_outputs(self, now_ns: int) -> None:
        """Set up an expander again if it lost its set-up, and end its charges."""
        found = read_back(self._relays, self._units, now_ns)
        self._break.unchecked &= found.unknown | self._relays.unsent
        for number in found.lost:
            self.end(self._by_number[number], EndReason.POWER_LOST)
        for address in found.reset:
            try:
                self._relays.initialise_expander(address)
            except CabinetError as error:
                log.error("expander 0x%02x cannot be set up: %s", address, error)

    def renew_lease(self, unit: OutletUnit, now_ns: int) -> bool:
        """Renew the lease of a charging outlet. Return False if the outlet is not closed (yet, or any more)."""
        if unit.number in self._closings:
            return False
        if not self._relays.is_closed(unit.number):  # opened for any reason: only a command closes
            self.end(unit, EndReason.POWER_LOST)
            return False
        self._relays.hold(unit.number, now_ns + self.lease_ns)
        return True

    def expire(self, now_ns: int) -> None:
        for outlet in self._relays.expire(now_ns):
            log.error("outlet %d: its lease ran out", outlet)

    # --- closing ----------------------------------------------------------------------------------------------------

    def close(self, unit: OutletUnit, charge: Charge, check: PreCloseCheck) -> str | None:
        """Queue the outlet for closing, for `charge`. Return the code of the interlock against it, or None."""
        now_ns = self._clock.monotonic_ns()
        self._cabinet.count_loads(now_ns, self._units)
        if (refusal := self._interlocks.interlock(unit, check)) is not None:
            return refusal
        unit.charge = charge
        self._closings.add(unit.number)
        self._close_next(now_ns)
        return None

    def start_test_charge(self, unit: OutletUnit, who: str, until_ns: int) -> str | None:
        """Queue the outlet for a test charge by staff. Return the code of the interlock against it, or None."""
        if unit.charge is not None:
            return "outlet_busy"
        now_ns = self._clock.monotonic_ns()
        charge = TestCharge(f"test:{who}", unit.ends, unit.meter.count(), now_ns, until_ns)
        return self.close(unit, charge, PreCloseCheck.TEST_CHARGE)

    def _close_next(self, now_ns: int) -> None:
        """Close the next outlet in the queue if the pre-close check still passes."""
        number = self._closings.take(now_ns)
        if number is None:
            return
        unit = self._by_number[number]
        if (refusal := self._interlocks.interlock(unit, PreCloseCheck.CLOSING)) is not None:
            log.warning("outlet %d: not closed after all: %s", number, refusal)
            self.end(unit, EndReason.POWER_LOST)
            return
        self._close_now(unit, now_ns)

    def _close_now(self, unit: OutletUnit, now_ns: int) -> None:
        """Close the relay. If that fails, the charge ends and the outlet is open as before."""
        try:
            self._relays.hold(unit.number, now_ns + self.lease_ns)
        except CabinetError as error:
            log.error("outlet %d: closing failed: %s", unit.number, error)
            self.end(unit, EndReason.POWER_LOST)
            return
        unit.inputs.closed = True
        unit.inputs.switched_at_ns = now_ns
        unit.inputs.found_open_at_ns = None
        unit.inputs.resumed = unit.charge is not None and unit.charge.resumed
        unit.safety.forget_before_closing()
        self._events.add(unit.event(EventKind.CLOSED, now_ns))

    # --- opening ----------------------------------------------------------------------------------------------------

    def trip(self, unit: OutletUnit, trip: Trip) -> None:
        """Open first, explain later."""
        if trip.fault is Fault.RECLOSE_STORM and unit.latched:
            return
        known = unit.fault is trip.fault and (unit.latched or not unit.inputs.closed)
        known = known or _keeps_first_reason(unit, trip)
        self._open_for(unit, trip, known)
        if known:
            return
        hit = [unit] if trip.outlet is not None else [other for other in self._units if other.charge is not None]
        unit.fault, unit.trip_values = trip.fault, trip.trip_values
        unit.latched = unit.latched or trip.latched
        for other in {id(each): each for each in [unit, *hit]}.values():
            self._opened(other, trip, latched=trip.latched and other is unit)
        self._state_writer.keep_trips({each.number: each.safety.recent_trips_ns for each in self._units})
        if trip.latched:
            self._save_latches()
        log.warning("outlet %d: %s %s", unit.number, trip.fault.value, trip.trip_values)

    def _open_for(self, unit: OutletUnit, trip: Trip, known: bool) -> None:
        """Open what `trip` concerns: the outlet, by the contactor if its relay should not break the current; or all."""
        reason = trip.fault.value
        if trip.outlet is None and trip.fault is Fault.RELAY_WELDED:
            self._open_everything(trip, quiet=known)
        elif trip.outlet is None:
            for other in self._units:
                self._release(other, reason)
        elif not known and self._break.needed(trip, unit.greatest_peak_ma(trip.at_ns)):
            self._contactor.begin_break(unit.number, reason, trip.at_ns)
        else:
            self._release(unit, reason)

    def trip_cabinet(self, trip: Trip) -> None:
        """Handle a fault of the whole cabinet: open contactor and relays, then sound the siren, then report."""
        if trip.outlet is not None:
            self.trip(self._by_number[trip.outlet], trip)
            return
        known = self._cabinet.keeps_first_reason(trip.fault)
        if known and not any(unit.charge is not None for unit in self._units):
            return
        self._open_everything(trip, quiet=known)
        for unit in self._units:
            if unit.charge is not None:
                self._opened(unit, trip, latched=False)
        if known:
            return
        self._cabinet.trip(trip)
        self._save_latches()
        self._report_trip(
            Event("", 0, trip.at_ns, EventKind.TRIPPED, fault=trip.fault, latched=True, why=trip.trip_values)
        )
        log.error("the cabinet: %s %s", trip.fault.value, trip.trip_values)

    def _opened(self, unit: OutletUnit, trip: Trip, latched: bool) -> None:
        unit.note_opened(trip.at_ns)
        unit.safety.tripped(trip)
        if trip.suspends:
            self._finish(unit, EventKind.SUSPENDED, None, trip)
        else:
            self._finish(unit, EventKind.TRIPPED, EndReason.TRIPPED, trip, latched=latched)

    def _open_everything(self, trip: Trip, quiet: bool) -> None:
        """Open contactor and relays; a relay that may carry more than it can break waits for the contactor."""
        self._contactor.note_opening(trip.at_ns)
        heavy = [unit.number for unit in self._units if trip.fault in HIDDEN_CURRENT or unit.may_be_heavy(trip.at_ns)]
        errors = self._break.open_all(heavy, trip.fault.value, trip.at_ns)
        if errors and not quiet:
            log.error("%s: opening all met %s", trip.fault.value, "; ".join(map(str, errors)))

    def _fall_back_to_contactor(self) -> None:
        """Open the contactor as the last resort if a relay did not accept its command to open; end every charge."""
        if self._break.possible:
            self._contactor.note_opening(self._clock.monotonic_ns())
            self._relays.open_contactor()
            log.error("outlets %s could not be opened: contactor opened", sorted(self._relays.unsent))
            self._end_all()

    def _step_contactor_break(self, now_ns: int) -> None:
        """Advance a contactor break, if one is running."""
        if self._break.step(now_ns):
            self._contactor.restore_power(now_ns)
        elif self._break.overdue(now_ns):
            self._break.give_up()
            owed = sorted(self._relays.unsent | self._break.unchecked)
            log.error("outlets %s cannot be opened: the contactor stays open", owed)
            self._end_all()

    def _end_all(self, reason: EndReason = EndReason.POWER_LOST) -> None:
        for unit in self._units:
            if unit.charge is not None:
                self.end(unit, reason)

    def end(self, unit: OutletUnit, reason: EndReason, who: str = "") -> None:
        """End a charge normally."""
        now_ns = self._clock.monotonic_ns()
        if self._break.possible and (unit.may_be_short(now_ns) or unit.current_unknown(now_ns)):
            self._contactor.begin_break(unit.number, reason.value, now_ns)
        else:
            self._release(unit, reason.value)
        unit.note_opened(now_ns)
        self._finish(unit, EventKind.ENDED, reason, None, who=who)

    def _release(self, unit: OutletUnit, reason: str) -> None:
        for error in self._break.release(unit.number, reason, self._clock.monotonic_ns()):
            # the bank tries again on each tick; the contactor and the heartbeat are the layers under it
            log.error("outlet %d: opening failed: %s", unit.number, error)

    def _finish(
        self,
        unit: OutletUnit,
        kind: EventKind,
        reason: EndReason | None,
        trip: Trip | None,
        latched: bool = False,
        who: str = "",
    ) -> None:
        self._closings.remove(unit.number)
        session_id, trial = unit.session_id, unit.trial
        unit.last_charge_count = unit.charge_count()
        unit.charge = None
        unit.inputs.found_open_at_ns = None
        if session_id is not None and kind is not EventKind.SUSPENDED and not trial:
            self.ended.append(session_id)
        event = unit.event(
            kind,
            self._clock.monotonic_ns(),
            session_id=session_id,
            reason=reason,
            fault=None if trip is None else trip.fault,
            latched=latched,
            why={} if trip is None else trip.trip_values,
            who=who,
        )
        if kind is EventKind.TRIPPED:
            self._report_trip(event)
        else:
            self._events.add(event)

    def _report_trip(self, event: Event) -> None:
        self._events.add(event)
        self._recorder.trip(event)

    def stop(self) -> bool:
        """Open everything for good; return whether that worked.

        Charges end without an event: the service detects that they are gone.
        """
        errors = self._relays.open_all("guard stopped")
        for error in errors:
            log.error("stopping: %s", error)
        return not errors

    # --- latches ----------------------------------------------------------------------------------------------------

    def clear(self, unit: OutletUnit, who: str) -> None:
        """Clear the latch of an outlet after staff have removed its cause."""
        cleared, now_ns = unit.fault, self._clock.monotonic_ns()
        unit.fault, unit.latched, unit.trip_values = None, False, {}
        unit.safety.reset(cleared)
        self._save_latches()
        self._state_writer.keep_trips({each.number: each.safety.recent_trips_ns for each in self._units})
        self._contactor.restore_power(now_ns)
        self._events.add(unit.event(EventKind.LATCH_CLEARED, now_ns, fault=cleared, who=who))

    def clear_cabinet(self, who: str) -> None:
        """Clear the latch of the whole cabinet after staff have removed its cause."""
        now_ns = self._clock.monotonic_ns()
        cleared = self._cabinet.clear()
        if self._relays.has_contactor and not self._relays.contactor_closed:
            self._contactor.begin_self_test()
        self._save_latches()
        self._contactor.restore_power(now_ns)
        self._events.add(Event("", 0, now_ns, EventKind.LATCH_CLEARED, fault=cleared, who=who))

    def _save_latches(self) -> None:
        self._state_writer.save(latches.of(self._units, self._cabinet))


def _keeps_first_reason(unit: OutletUnit, trip: Trip) -> bool:
    """Return whether the outlet is latched and open, and `trip` does not come on top of the reason.

    Only a short and a weld do. Nothing replaces a weld: it holds the contactor open. A cause that is still there trips
    once the latch is cleared.
    """
    if not unit.latched or unit.inputs.closed:
        return False
    return unit.fault is Fault.RELAY_WELDED or trip.fault not in (Fault.SHORT_CIRCUIT, Fault.RELAY_WELDED)
