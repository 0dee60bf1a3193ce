"""Everything that opens or closes: trips, ends, the contactor, the order of closings, latches and what is told of them.

Opening comes first and is explained later. Closing is asked for by a command, checked again at its moment, and never
done for any other reason.
"""

import logging
from collections import deque
from collections.abc import Callable

from cabinet.charge import Charge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard import latches
from cabinet.guard.breaking import Breaking
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.closing import Closings
from cabinet.guard.limits import nanoseconds
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.phase import MainsPhase
from cabinet.guard.readback import read_back
from cabinet.guard.recorder import Recorder
from cabinet.guard.scribe import Scribe
from cabinet.guard.selftest import SelfTest
from cabinet.link.server import EventLog
from cabinet.model import EndReason, Event, EventKind, Fault, Trip
from cabinet.relays import RelayBank

log = logging.getLogger(__name__)

CHECK_OUTPUTS_NS = 1000 * MS
# After the contactor closed: a welded relay shows by then, with a charger behind it that starts softly (0.8 s) as well.
# The RMS, its other witness, has fallen after 0.7 s, and takes four readings of 0.19 s (ten outlets) or 0.5 s (forty).
SETTLE_NS, SETTLE_OF_MANY_NS, MANY = 2000 * MS, 2800 * MS, 20
# Faults that say that some outlet carries more than its own meter shows: its current may show as its neighbour's weld.
DOUBTFUL = frozenset({Fault.SENSOR_DISAGREES, Fault.RELAY_WELDED})
ENDED_SESSIONS = 256  # remembered, so that a command sent again does not start a charge twice


class Switching:
    """Relays, contactor and latches of one cabinet, and the events that say what became of them."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        scribe: Scribe,
        recorder: Recorder,
        events: EventLog,
        units: list[OutletUnit],
        cabinet: CabinetUnit,
    ) -> None:
        self._config = config
        self._clock = clock
        self._relays = relays
        self._scribe = scribe
        self._recorder = recorder
        self._events = events
        self._units = units
        self._cabinet = cabinet
        self._by_number = {unit.number: unit for unit in units}
        self._breaking = Breaking(config, relays)
        self._breaking.carries = lambda outlet: self._by_number[outlet].carries_short(clock.monotonic_ns())
        self._contactor_release_ns = nanoseconds(config.hardware.contactor_release_s)
        self._self_test: SelfTest | None = None
        self._closings = self._closing_order(None)
        self._next_check_ns = 0
        # A closed relay not renewed for so long opens: 100 ms, unless the configuration is more patient.
        self.lease_ns = nanoseconds(2 * config.protections.guard_late.after_s)
        self.ready_at_ns: int | None = None
        self.held_open = False  # the contactor, by staff
        self.self_test_failed: list[int] = []  # of the last one
        self.ended: deque[str] = deque(maxlen=ENDED_SESSIONS)
        self._latches_kept = True

    def open_all(self) -> str:
        """Everything open, and latches remembered, before anything else. Return what is lost of them, if anything."""
        try:
            self._relays.initialise()
        except CabinetError as error:
            log.error("relays: %s; outlets on it stay open until it answers", error)
        recalled = self._scribe.latches()
        self._latches_kept = recalled.complete
        latches.restore(recalled.copies[0], self._scribe.recent_trips(), self._units, self._cabinet)
        return recalled.lost

    def keep_latches(self) -> None:
        """Bring every copy of the latches up to what was remembered."""
        if not self._latches_kept:
            self._save_latches()

    def start(self, phase: MainsPhase) -> None:
        """Begin the self-test, where a contactor keeps the power away meanwhile; it closes when that is done."""
        self._closings = self._closing_order(phase)
        now_ns = self._clock.monotonic_ns()
        for unit in self._units:
            unit.now.switched_at_ns = now_ns
        if self._relays.has_contactor:
            self._contactor_told(now_ns)  # the guard before this one may have left it closed until just now
            self._begin_self_test()
        else:
            self._restore_power(now_ns)
        self._events.add(Event("", 0, now_ns, EventKind.GUARD_STARTED))

    def _begin_self_test(self, outlets: list[int] | None = None) -> None:
        """Only while the contactor is open: a click would give an outlet power. Default: all that are not latched."""
        if outlets is None:
            outlets = [unit.number for unit in self._units if not unit.latched]
        self.self_test_failed = []
        open_at_ns = self._cabinet.now.contactor_open_at_ns
        from_ns = 0 if open_at_ns is None else open_at_ns + 2 * self._contactor_release_ns
        self._self_test = SelfTest(self._relays, outlets, from_ns)

    # --- as staff ask ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """A self-test is under way, or a current is being broken: nothing else may move contactor or relays."""
        return self._self_test is not None or self._breaking.active

    def test_now(self, outlets: list[int]) -> None:
        """Click these relays once the contactor is open; every outlet is open already."""
        now_ns = self._clock.monotonic_ns()
        self._take_contactor_away(now_ns)
        self._begin_self_test(outlets)

    def hold_open(self) -> None:
        """The contactor opens and stays open; charges end before, so that it breaks nothing."""
        self.held_open = True
        self._end_all(EndReason.STOPPED_BY_STAFF)
        self._take_contactor_away(self._clock.monotonic_ns())

    def let_close(self) -> None:
        """It may close again, after a self-test, if nothing else stands against it."""
        if self.held_open:
            self.held_open = False
            if not self._cabinet.latched and not self.busy:
                self._begin_self_test()

    def _take_contactor_away(self, now_ns: int) -> None:
        self._note_contactor(now_ns)
        self.ready_at_ns = None  # a new weld check once it has closed again
        self._relays.open_contactor()

    def _closing_order(self, phase: MainsPhase | None) -> Closings:
        hardware = self._config.hardware
        return Closings(
            nanoseconds(hardware.closing_gap_s),
            nanoseconds(hardware.relay_operate_s),
            nanoseconds(self._config.guard.scan_period_s) // 2,
            phase,
        )

    def free_bus_by(self, free_bus: Callable[[], None]) -> None:
        """How a bus is freed that does not move when a relay is told to open."""
        self._breaking.free_bus = free_bus

    # --- a tick's turn ----------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> None:
        """What is due: the self-test, a current being broken, a closing, the outputs' check."""
        if self._self_test is not None:
            self._step_self_test(self._self_test, now_ns)
        self._break_on(now_ns)
        if self._relays.unsent:
            self._take_power_away()
        if now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + CHECK_OUTPUTS_NS
            if self._self_test is None:
                self._check_outputs(now_ns)
            self._restore_power(now_ns)

    def _check_outputs(self, now_ns: int) -> None:
        """An expander that lost its set-up is given it again, and its charges are over."""
        found = read_back(self._relays, self._units, now_ns)
        self._breaking.unchecked &= found.unknown | self._relays.unsent
        for number in found.lost:
            self.end(self._by_number[number], EndReason.POWER_LOST)
        for address in found.reset:
            try:
                self._relays.initialise_expander(address)
            except CabinetError as error:
                log.error("expander 0x%02x cannot be set up: %s", address, error)

    def _step_self_test(self, test: SelfTest, now_ns: int) -> None:
        if self._cabinet.latched:  # everything was opened; with a welded contactor a click gives power
            self._self_test = None
            return
        if self._breaking.active:  # its relays open first
            return
        test.step(now_ns)
        for unit in self._units:
            unit.now.switched_at_ns = now_ns  # clicks are no welds
        if not test.done:
            return
        self._self_test = None
        self.self_test_failed = list(test.failed)
        for number in test.failed:
            self.trip(self._by_number[number], Trip(Fault.RELAY_STUCK_OPEN, number, now_ns, True, {"self_test": 1}))
        self._restore_power(now_ns)

    def carry_on(self, unit: OutletUnit, now_ns: int) -> bool:
        """Renew the lease of what charges; False where the outlet is not closed (yet, or any more)."""
        if unit.number in self._closings:
            return False
        if not self._relays.is_closed(unit.number):  # whatever opened it: only a command closes
            self.end(unit, EndReason.POWER_LOST)
            return False
        self._relays.hold(unit.number, now_ns + self.lease_ns)
        return True

    def expire(self, now_ns: int) -> None:
        for outlet in self._relays.expire(now_ns):
            log.error("outlet %d: its lease ran out", outlet)

    # --- closing ----------------------------------------------------------------------------------------------------

    def close(self, unit: OutletUnit, charge: Charge) -> None:
        """Have it closed in its turn, for `charge`."""
        unit.charge = charge
        self._closings.add(unit.number)

    def next_closing(self, now_ns: int) -> OutletUnit | None:
        """The outlet whose turn it is."""
        number = self._closings.take(now_ns)
        return None if number is None else self._by_number[number]

    def close_now(self, unit: OutletUnit, now_ns: int) -> None:
        """Close the relay; where that fails the charge ends and everything is as before."""
        try:
            self._relays.hold(unit.number, now_ns + self.lease_ns)
        except CabinetError as error:
            log.error("outlet %d: closing failed: %s", unit.number, error)
            self.end(unit, EndReason.POWER_LOST)
            return
        unit.now.closed = True
        unit.now.switched_at_ns = now_ns
        unit.now.found_open_at_ns = None
        unit.now.resumed = unit.charge is not None and unit.charge.resumed
        for fault in (Fault.SHORT_CIRCUIT, Fault.RELAY_WELDED, Fault.SENSOR_FROZEN, Fault.THERMAL_RUNAWAY):
            unit.safety.reset(fault)
        self._events.add(unit.event(EventKind.CLOSED, now_ns))

    # --- opening ----------------------------------------------------------------------------------------------------

    def trip(self, unit: OutletUnit, trip: Trip) -> None:
        """Open first, explain later."""
        known = unit.fault is trip.fault and (unit.latched or not unit.now.closed)
        if trip.fault is Fault.RECLOSE_STORM and unit.latched:
            return
        if trip.outlet is not None and not known and self._breaking.needed(trip, unit.greatest_peak_ma(trip.at_ns)):
            self._begin_breaking(unit, trip.fault.value, trip.at_ns)
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
        unit.fault, unit.why = trip.fault, trip.why
        unit.latched = unit.latched or trip.latched
        for other in {id(each): each for each in [unit, *hit]}.values():
            self._opened(other, trip, latched=trip.latched and other is unit)
        self._scribe.keep_trips({each.number: each.safety.recent_trips_ns for each in self._units})
        if trip.latched:
            self._save_latches()
        log.warning("outlet %d: %s %s", unit.number, trip.fault.value, trip.why)

    def trip_cabinet(self, trip: Trip) -> None:
        """A fault of the cabinet as a whole: contactor and every relay, then the siren, then words."""
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
        self._tell_trip(Event("", 0, trip.at_ns, EventKind.TRIPPED, fault=trip.fault, latched=True, why=trip.why))
        log.error("the cabinet: %s %s", trip.fault.value, trip.why)

    def _opened(self, unit: OutletUnit, trip: Trip, latched: bool) -> None:
        unit.note_opened(trip.at_ns)
        unit.safety.tripped(trip)
        if trip.suspends:
            self._finish(unit, EventKind.SUSPENDED, None, trip)
        else:
            self._finish(unit, EventKind.TRIPPED, EndReason.TRIPPED, trip, latched=latched)

    def _open_everything(self, trip: Trip, quiet: bool) -> None:
        """Contactor and every relay; those that may carry what they cannot break follow when it has released."""
        self._note_contactor(trip.at_ns)
        great = [unit.number for unit in self._units if trip.fault in DOUBTFUL or unit.may_be_great(trip.at_ns)]
        errors = self._breaking.open_all(great, trip.fault.value, trip.at_ns)
        if errors and not quiet:
            log.error("%s: opening all met %s", trip.fault.value, "; ".join(map(str, errors)))

    def _begin_breaking(self, unit: OutletUnit, reason: str, now_ns: int) -> None:
        self._note_contactor(now_ns)
        self._breaking.begin(unit.number, reason, now_ns)

    def _note_contactor(self, now_ns: int) -> None:
        """It is about to open, if it is not open already."""
        if self._relays.has_contactor and self._relays.contactor_closed:
            self._contactor_told(now_ns)

    def _contactor_told(self, open_at_ns: int | None) -> None:
        self._cabinet.now.contactor_open_at_ns = open_at_ns
        self._breaking.contactor_told(open_at_ns)

    def _take_power_away(self) -> None:
        """A relay that was told to open did not take it: the contactor is what is left, and every charge ends."""
        if self._relays.has_contactor and self._relays.contactor_closed:
            self._note_contactor(self._clock.monotonic_ns())
            self._relays.open_contactor()
            log.error("outlets %s could not be opened: contactor opened", sorted(self._relays.unsent))
            self._end_all()

    def _break_on(self, now_ns: int) -> None:
        """The next step of a current that the contactor is breaking for a relay."""
        if self._breaking.step(now_ns):
            self._restore_power(now_ns)
        elif self._breaking.overdue(now_ns):
            self._breaking.give_up()
            owed = sorted(self._relays.unsent | self._breaking.unchecked)
            log.error("outlets %s cannot be opened: the contactor stays open", owed)
            self._end_all()

    def _end_all(self, reason: EndReason = EndReason.POWER_LOST) -> None:
        for unit in self._units:
            if unit.charge is not None:
                self.end(unit, reason)

    def _restore_power(self, now_ns: int) -> None:
        """Close the contactor again once nothing stands against it; the weld check begins anew."""
        held = self.busy or self.held_open or self._cabinet.latched
        if held or self._relays.unsent or self._breaking.unchecked or self.welded():
            return
        if self._relays.contactor_closed and self.ready_at_ns is not None:
            return
        self._relays.close_contactor()
        self._contactor_told(None)
        self.ready_at_ns = now_ns + (SETTLE_NS if len(self._units) <= MANY else SETTLE_OF_MANY_NS)
        for unit in self._units:
            unit.now.switched_at_ns = now_ns

    def end(self, unit: OutletUnit, reason: EndReason, who: str = "") -> None:
        """A charge's normal end."""
        now_ns = self._clock.monotonic_ns()
        if self._breaking.possible and (unit.may_be_short(now_ns) or unit.current_unknown(now_ns)):
            self._begin_breaking(unit, reason.value, now_ns)
        else:
            self._release(unit, reason.value)
        unit.note_opened(now_ns)
        self._finish(unit, EventKind.ENDED, reason, None, who=who)

    def _release(self, unit: OutletUnit, reason: str) -> None:
        for error in self._breaking.release(unit.number, reason, self._clock.monotonic_ns()):
            # the bank tries again each tick; the contactor and the heartbeat are the layers under it
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
        unit.now.found_open_at_ns = None
        if session_id is not None and kind is not EventKind.SUSPENDED and not trial:
            self.ended.append(session_id)
        event = unit.event(
            kind,
            self._clock.monotonic_ns(),
            session_id=session_id,
            reason=reason,
            fault=None if trip is None else trip.fault,
            latched=latched,
            why={} if trip is None else trip.why,
            who=who,
        )
        if kind is EventKind.TRIPPED:
            self._tell_trip(event)
        else:
            self._events.add(event)

    def _tell_trip(self, event: Event) -> None:
        self._events.add(event)
        self._recorder.trip(event)

    def stop(self) -> bool:
        """Open everything for good; whether that worked. Charges end without an event: the service finds them gone."""
        errors = self._relays.open_all("guard stopped")
        for error in errors:
            log.error("stopping: %s", error)
        return not errors

    # --- latches ----------------------------------------------------------------------------------------------------

    def clear(self, unit: OutletUnit, who: str) -> None:
        """Staff have seen to the cause of the outlet's latch."""
        cleared, now_ns = unit.fault, self._clock.monotonic_ns()
        unit.fault, unit.latched, unit.why = None, False, {}
        unit.safety.reset(cleared)
        self._save_latches()
        self._scribe.keep_trips({each.number: each.safety.recent_trips_ns for each in self._units})
        self._restore_power(now_ns)
        self._events.add(unit.event(EventKind.LATCH_CLEARED, now_ns, fault=cleared, who=who))

    def clear_cabinet(self, who: str) -> None:
        """The same for what stands against the whole cabinet."""
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
        self._scribe.save(latches.of(self._units, self._cabinet))
