"""All opening and closing: trips, ends, the contactor, the order of closings, latches and their events.

Opening comes first, its explanation later. Closing is requested by a command, checked again at the moment of closing,
and never done for any other reason.
"""

import logging
from collections import deque
from collections.abc import Callable

from cabinet.charge import Charge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard import latches
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.closing import ClosingQueue
from cabinet.guard.contactor_break import ContactorBreak
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.phase import MainsPhase
from cabinet.guard.readback import read_back
from cabinet.guard.recorder import Recorder
from cabinet.guard.self_test import SelfTest
from cabinet.guard.state_files import StateWriter
from cabinet.link.server import EventLog
from cabinet.model import EndReason, Event, EventKind, Fault, Trip
from cabinet.protections.table import HIDDEN_CURRENT
from cabinet.relays import RelayBank
from cabinet.sections import nanoseconds

log = logging.getLogger(__name__)

CHECK_OUTPUTS_NS = 1000 * MS
# Time after the contactor closed until a welded relay is visible, even if the charger behind it starts softly (0.8 s).
# The other witness, the RMS, has fallen after 0.7 s and takes four readings of 0.19 s (ten outlets) or 0.5 s (forty).
SETTLE_NS, SETTLE_OF_MANY_NS, MANY = 2000 * MS, 2800 * MS, 20
ENDED_SESSIONS = 256  # remembered so that a repeated command does not start a charge twice


class Switching:
    """Relays, contactor and latches of one cabinet, and the events that report their changes."""

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
    ) -> None:
        self._config = config
        self._clock = clock
        self._relays = relays
        self._state_writer = state_writer
        self._recorder = recorder
        self._events = events
        self._units = units
        self._cabinet = cabinet
        self._by_number = {unit.number: unit for unit in units}
        self._break = ContactorBreak(config, relays)
        self._break.carries_short = lambda outlet: self._by_number[outlet].carries_short(clock.monotonic_ns())
        self._contactor_release_ns = nanoseconds(config.hardware.contactor_release_s)
        self._self_test: SelfTest | None = None
        self._closings = self._closing_order(None)
        self._next_check_ns = 0
        # A closed relay opens if its lease is not renewed for so long: 100 ms unless the configuration allows more.
        self.lease_ns = nanoseconds(2 * config.protections.guard_late.after_s)
        self.ready_at_ns: int | None = None
        self.contactor_locked_out = False  # the contactor, by staff
        self.self_test_failed: list[int] = []  # of the last self-test
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

    def start(self, phase: MainsPhase) -> None:
        """Begin the self-test if there is a contactor: it keeps the power off meanwhile and closes afterwards."""
        self._closings = self._closing_order(phase)
        now_ns = self._clock.monotonic_ns()
        for unit in self._units:
            unit.inputs.switched_at_ns = now_ns
        if self._relays.has_contactor:
            self._note_contactor_command(now_ns)  # the previous guard may have left it closed until just now
            self._begin_self_test()
        else:
            self._restore_power(now_ns)
        self._events.add(Event("", 0, now_ns, EventKind.GUARD_STARTED))

    def _begin_self_test(self, outlets: list[int] | None = None) -> None:
        """Begin a self-test, by default of all outlets without a latch.

        Only while the contactor is open: a click would power an outlet.
        """
        if outlets is None:
            outlets = [unit.number for unit in self._units if not unit.latched]
        self.self_test_failed = []
        open_at_ns = self._cabinet.inputs.contactor_open_at_ns
        from_ns = 0 if open_at_ns is None else open_at_ns + 2 * self._contactor_release_ns
        self._self_test = SelfTest(self._relays, outlets, from_ns)

    # --- Staff commands --------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Return whether a self-test or a contactor break is running: nothing else may move contactor or relays."""
        return self._self_test is not None or self._break.active

    def click_relays(self, outlets: list[int]) -> None:
        """Click these relays once the contactor is open; every outlet is open already."""
        now_ns = self._clock.monotonic_ns()
        self._open_contactor(now_ns)
        self._begin_self_test(outlets)

    def lock_out_contactor(self) -> None:
        """Open the contactor and keep it open. Charges end first: the contactor then breaks no current."""
        self.contactor_locked_out = True
        self._end_all(EndReason.STOPPED_BY_STAFF)
        self._open_contactor(self._clock.monotonic_ns())

    def release_lockout(self) -> None:
        """Let the contactor close again, after a self-test, if no other interlock holds it open."""
        if self.contactor_locked_out:
            self.contactor_locked_out = False
            if not self._cabinet.latched and not self.busy:
                self._begin_self_test()

    def _open_contactor(self, now_ns: int) -> None:
        self._note_contactor(now_ns)
        self.ready_at_ns = None  # new weld check after it has closed again
        self._relays.open_contactor()

    def _closing_order(self, phase: MainsPhase | None) -> ClosingQueue:
        hardware = self._config.hardware
        return ClosingQueue(
            nanoseconds(hardware.closing_gap_s),
            nanoseconds(hardware.relay_operate_s),
            nanoseconds(self._config.guard.scan_period_s) // 2,
            phase,
        )

    def set_free_bus(self, free_bus: Callable[[], None]) -> None:
        """Set the function that frees a bus which hangs when a relay is commanded to open."""
        self._break.free_bus = free_bus

    # --- Turn of a tick ---------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> None:
        """Do the work that is due: self-test, contactor break, check of the outputs."""
        if self._self_test is not None:
            self._step_self_test(self._self_test, now_ns)
        self._step_contactor_break(now_ns)
        if self._relays.unsent:
            self._fall_back_to_contactor()
        if now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + CHECK_OUTPUTS_NS
            if self._self_test is None:
                self._check_outputs(now_ns)
            self._restore_power(now_ns)

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

    def _step_self_test(self, test: SelfTest, now_ns: int) -> None:
        if self._cabinet.latched:  # everything was opened; with a welded contactor a click would power an outlet
            self._self_test = None
            return
        if self._break.active:  # the relays of the contactor break open first
            return
        test.step(now_ns)
        for unit in self._units:
            unit.inputs.switched_at_ns = now_ns  # a click is no weld
        if not test.done:
            return
        self._self_test = None
        self.self_test_failed = list(test.failed)
        for number in test.failed:
            self.trip(self._by_number[number], Trip(Fault.RELAY_STUCK_OPEN, number, now_ns, True, {"self_test": 1}))
        self._restore_power(now_ns)

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

    def close(self, unit: OutletUnit, charge: Charge) -> None:
        """Queue the outlet for closing, for `charge`."""
        unit.charge = charge
        self._closings.add(unit.number)

    def next_closing(self, now_ns: int) -> OutletUnit | None:
        """Return the next outlet to close, or None."""
        number = self._closings.take(now_ns)
        return None if number is None else self._by_number[number]

    def close_now(self, unit: OutletUnit, now_ns: int) -> None:
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
        known = unit.fault is trip.fault and (unit.latched or not unit.inputs.closed)
        if trip.fault is Fault.RECLOSE_STORM and unit.latched:
            return
        if trip.outlet is not None and not known and self._break.needed(trip, unit.greatest_peak_ma(trip.at_ns)):
            self._begin_contactor_break(unit, trip.fault.value, trip.at_ns)
        elif trip.outlet is not None:
            self._release(unit, trip.fault.value)
        elif trip.fault is Fault.RELAY_WELDED:
            self._open_everything(trip, quiet=known)
        else:
            for other in self._units:
                self._release(other, trip.fault.value)
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

    def trip_cabinet(self, trip: Trip) -> None:
        """Handle a fault of the whole cabinet: open contactor and relays, then sound the siren, then report."""
        if trip.outlet is not None:
            self.trip(self._by_number[trip.outlet], trip)
            return
        known = self._cabinet.latched and self._cabinet.fault is trip.fault
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
        self._note_contactor(trip.at_ns)
        heavy = [unit.number for unit in self._units if trip.fault in HIDDEN_CURRENT or unit.may_be_heavy(trip.at_ns)]
        errors = self._break.open_all(heavy, trip.fault.value, trip.at_ns)
        if errors and not quiet:
            log.error("%s: opening all met %s", trip.fault.value, "; ".join(map(str, errors)))

    def _begin_contactor_break(self, unit: OutletUnit, reason: str, now_ns: int) -> None:
        self._note_contactor(now_ns)
        self._break.begin(unit.number, reason, now_ns)

    def _note_contactor(self, now_ns: int) -> None:
        """Note that the contactor is about to open, if it is not open already."""
        if self._relays.has_contactor and self._relays.contactor_closed:
            self._note_contactor_command(now_ns)

    def _note_contactor_command(self, open_at_ns: int | None) -> None:
        self._cabinet.inputs.contactor_open_at_ns = open_at_ns
        self._break.note_contactor_command(open_at_ns)

    def _fall_back_to_contactor(self) -> None:
        """Open the contactor as the last resort if a relay did not accept its command to open; end every charge."""
        if self._relays.has_contactor and self._relays.contactor_closed:
            self._note_contactor(self._clock.monotonic_ns())
            self._relays.open_contactor()
            log.error("outlets %s could not be opened: contactor opened", sorted(self._relays.unsent))
            self._end_all()

    def _step_contactor_break(self, now_ns: int) -> None:
        """Advance a contactor break, if one is running."""
        if self._break.step(now_ns):
            self._restore_power(now_ns)
        elif self._break.overdue(now_ns):
            self._break.give_up()
            owed = sorted(self._relays.unsent | self._break.unchecked)
            log.error("outlets %s cannot be opened: the contactor stays open", owed)
            self._end_all()

    def _end_all(self, reason: EndReason = EndReason.POWER_LOST) -> None:
        for unit in self._units:
            if unit.charge is not None:
                self.end(unit, reason)

    def _restore_power(self, now_ns: int) -> None:
        """Close the contactor again if no interlock holds it open; a new weld check begins."""
        held = self.busy or self.contactor_locked_out or self._cabinet.latched
        if held or self._relays.unsent or self._break.unchecked or self.welded():
            return
        if self._relays.contactor_closed and self.ready_at_ns is not None:
            return
        self._relays.close_contactor()
        self._note_contactor_command(None)
        self.ready_at_ns = now_ns + (SETTLE_NS if len(self._units) <= MANY else SETTLE_OF_MANY_NS)
        for unit in self._units:
            unit.inputs.switched_at_ns = now_ns

    def end(self, unit: OutletUnit, reason: EndReason, who: str = "") -> None:
        """End a charge normally."""
        now_ns = self._clock.monotonic_ns()
        if self._break.possible and (unit.may_be_short(now_ns) or unit.current_unknown(now_ns)):
            self._begin_contactor_break(unit, reason.value, now_ns)
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
        self._restore_power(now_ns)
        self._events.add(unit.event(EventKind.LATCH_CLEARED, now_ns, fault=cleared, who=who))

    def clear_cabinet(self, who: str) -> None:
        """Clear the latch of the whole cabinet after staff have removed its cause."""
        now_ns = self._clock.monotonic_ns()
        cleared = self._cabinet.clear()
        if self._relays.has_contactor and not self._relays.contactor_closed:
            self._begin_self_test()
        self._save_latches()
        self._restore_power(now_ns)
        self._events.add(Event("", 0, now_ns, EventKind.LATCH_CLEARED, fault=cleared, who=who))

    def welded(self) -> bool:
        return any(unit.latched and unit.fault is Fault.RELAY_WELDED for unit in self._units)

    def _save_latches(self) -> None:
        self._state_writer.save(latches.of(self._units, self._cabinet))
