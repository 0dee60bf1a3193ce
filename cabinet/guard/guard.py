"""The guard's decisions: closes, opens, meters, and says what happened. One `tick` is one turn of the loop.

Everything it touches is handed in, so that the same code runs a cabinet in real time and a test's day in seconds.
"""

import logging
import uuid
from collections import deque

from cabinet.charge import Charge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard.alerts import AlertLines
from cabinet.guard.breaking import Breaking
from cabinet.guard.counters import Counters
from cabinet.guard.health import LoopHealth
from cabinet.guard.limits import end_limits, milli, nanoseconds, protection_limits
from cabinet.guard.outlet import OutletUnit, neighbours
from cabinet.guard.recorder import Recorder
from cabinet.guard.scan import Scanner
from cabinet.guard.scribe import Latch, Scribe
from cabinet.link.protocol import Acknowledge, Ask, ClearLatch, Command, Done, Energise, Open, Refusal
from cabinet.link.server import EventLog
from cabinet.model import (
    EndReason,
    Event,
    EventKind,
    Fault,
    MeterCount,
    Quality,
    Snapshot,
    Trip,
)
from cabinet.relays import EXPANDER_RESET, RelayBank

log = logging.getLogger(__name__)

BEAT_NS = 20 * MS  # the heartbeat hardware waits 100 ms
CHECK_OUTPUTS_NS = 1000 * MS
SETTLE_NS = 150 * MS  # after the contactor closed: a welded relay would show by then
ENDED_SESSIONS = 256  # remembered, so that a command sent again does not start a charge twice


class Guard:
    """Owns relays and readings of one cabinet. Not thread-safe: one loop calls it."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        counters: Counters,
        scribe: Scribe,
        recorder: Recorder,
        realtime: bool = False,
    ) -> None:
        self._config = config
        self._clock = clock
        self._relays = relays
        self._breaking = Breaking(config, relays)
        self._counters = counters
        self._scribe = scribe
        self._recorder = recorder
        self.guard_run = uuid.uuid4().hex
        self.epoch = counters.epoch
        self.events = EventLog(self.guard_run)
        ends = end_limits(config)
        self.units = [
            OutletUnit(outlet, protection_limits(config, outlet), ends, counters.meter(index))
            for index, outlet in enumerate(config.outlet)
        ]
        self._by_number = {unit.number: unit for unit in self.units}
        self._index = {unit.number: index for index, unit in enumerate(self.units)}
        self._unjudged: set[int] = set()
        self._late_ns = 0
        self._watched_at_ns: int | None = None  # None: not by this guard
        self._period_ns = nanoseconds(config.guard.scan_period_s)
        # A closed relay not renewed for so long opens: 100 ms, unless the configuration is more patient.
        self._lease_ns = nanoseconds(2 * config.protections.guard_late.after_s)
        self._neighbours = neighbours(config, self.units)
        self._scanner: Scanner | None = None
        self._alerts: AlertLines | None = None
        self._ready_at_ns: int | None = None
        self._ended: deque[str] = deque(maxlen=ENDED_SESSIONS)
        self._next_beat_ns = 0
        self._next_check_ns = 0
        self._health = LoopHealth(clock.monotonic_ns(), realtime)

    def add_energy(self, index: int, energy_uj: int) -> None:
        """Where the scanner delivers what it read from the energy registers."""
        self.units[index].meter.add_energy(energy_uj)

    def start(self, scanner: Scanner, alerts: AlertLines) -> None:
        """Everything open, latches remembered, sensors up, then the contactor; closing is refused until it settled."""
        self._scanner = scanner
        self._alerts = alerts
        scanner.between = self._between_segments
        scanner.judge = self._judge
        try:
            self._relays.initialise()
        except CabinetError as error:
            log.error("relays: %s; outlets on it stay open until it answers", error)
        for number, latch in self._scribe.latches().items():
            if (unit := self._by_number.get(number)) is not None:
                unit.fault, unit.latched, unit.why = latch.fault, True, latch.why
        scanner.start()
        now_ns = self._clock.monotonic_ns()
        for unit in self.units:
            unit.now.switched_at_ns = now_ns
        self._ready_at_ns = now_ns + SETTLE_NS
        self._restore_power(now_ns)
        self.events.add(Event("", 0, now_ns, EventKind.GUARD_STARTED))

    # --- the loop's turn -------------------------------------------------------------------------------------------

    def tick(self, late_ns: int = 0, everything: bool = False) -> None:
        """One scan, one step of every protection, one step of every charge.

        `late_ns` is how late the loop came; what the guard finds itself, in a scan that took too long, counts as well.
        With `everything` all values are read and no stride is too long, for tests that go through hours.
        """
        assert self._scanner is not None  # start came before
        start_ns = self._clock.monotonic_ns()
        self._late_ns = late_ns if everything else max(late_ns, self._unwatched_ns(start_ns))
        self._unjudged = set(range(len(self.units)))
        self._scanner.scan(everything)
        now_ns = self._clock.monotonic_ns()
        unwatched_ns = self._unwatched_ns(now_ns)
        if not everything and unwatched_ns > self.units[0].limits.late_ns:
            self._late_ns = unwatched_ns
            self._unjudged = set(range(len(self.units)))
        for index in list(self._unjudged):
            self._judge(index)  # its peak could not be read, or long ago: that too is to be judged
        for outlet in [] if everything else self._relays.expire(now_ns):
            log.error("outlet %d: its lease ran out", outlet)
        for index, unit in enumerate(self.units):
            self._carry_on(unit, now_ns)
            self._counters.save(index, unit.meter)
        self._break_on(now_ns)
        if self._relays.unsent:
            self._take_power_away()
        if now_ns >= self._next_check_ns:
            self._next_check_ns = now_ns + CHECK_OUTPUTS_NS
            self._check_outputs()
            self._restore_power(now_ns)
        self._recorder.note(now_ns, self.units, self._scanner.inside_mc)
        self._health.note(max(late_ns, self._late_ns), now_ns - start_ns)

    def _unwatched_ns(self, now_ns: int) -> int:
        """How much longer than a period ago this was last called: the time in which nobody looked."""
        before_ns, self._watched_at_ns = self._watched_at_ns, now_ns
        return 0 if before_ns is None else max(0, now_ns - before_ns - self._period_ns)

    def answer_alerts(self) -> None:
        """Between ticks: over-current lines that went low; their outlets are read, judged and opened at once."""
        self._late_ns = 0
        self._answer_alerts()

    def _between_segments(self) -> None:
        """What cannot wait for the end of a scan, which a hung bus can hold up."""
        self._beat(self._clock.monotonic_ns())
        self._answer_alerts()

    def _answer_alerts(self) -> None:
        assert self._scanner is not None  # start came before
        assert self._alerts is not None
        for outlet in self._alerts.take():
            self._scanner.read_alert(self._index[outlet])

    def _judge(self, index: int) -> None:
        """The protections' turn for one outlet: right after its peak was read, or when that failed."""
        self._unjudged.discard(index)
        self._protect(self.units[index])

    def _beat(self, now_ns: int) -> None:
        if now_ns >= self._next_beat_ns:
            self._relays.beat()
            self._next_beat_ns = now_ns + BEAT_NS

    def _protect(self, unit: OutletUnit) -> None:
        now = unit.now
        now.at_ns = self._clock.monotonic_ns()
        now.late_ns = self._late_ns
        neighbour = self._neighbours.get(unit.number)
        now.crosstalk_ma = 0 if neighbour is None else neighbour.crosstalk_ma(now.at_ns)
        trip = unit.safety.step(now)
        if trip is not None:
            self._trip(unit, trip)
        elif unit.fault is not None and not unit.latched and not unit.safety.present(unit.fault, now):
            self.events.add(unit.event(EventKind.RECOVERED, now.at_ns, fault=unit.fault))
            unit.fault, unit.why = None, {}
        if unit.safety.newly_warm(now):
            why = {"temperature_mc": now.temperature_mc.value or 0}
            self.events.add(unit.event(EventKind.WARNED, now.at_ns, fault=Fault.OUTLET_HOT, why=why))
        unit.note_peak()
        now.window = None

    def _carry_on(self, unit: OutletUnit, now_ns: int) -> None:
        """Count, and end the charge where it ends."""
        unit.count_time(now_ns)
        charge = unit.charge
        if charge is None:
            return
        if not self._relays.is_closed(unit.number):  # whatever opened it: only a command closes
            self._end(unit, EndReason.POWER_LOST, EventKind.ENDED)
            return
        self._relays.hold(unit.number, now_ns + self._lease_ns)
        if not unit.mains_present():
            return
        before = charge.phase
        neighbour = self._neighbours.get(unit.number)
        neighbour_mw = 0 if neighbour is None else neighbour.now.power_mw.value or 0
        reason = charge.step(now_ns, unit.now.power_mw, neighbour_mw, unit.meter.count())
        if charge.phase is not before:
            self.events.add(unit.event(EventKind.LOAD_SEEN, now_ns))
        if reason is not None:
            self._end(unit, reason, EventKind.ENDED)

    # --- opening ---------------------------------------------------------------------------------------------------

    def _trip(self, unit: OutletUnit, trip: Trip) -> None:
        """Open first, explain later."""
        known = unit.fault is trip.fault and (unit.latched or not unit.now.closed)
        if trip.outlet is not None and not known and self._breaking.needed(trip):
            self._breaking.begin(unit.number, trip.fault.value, trip.at_ns)
        elif trip.outlet is not None:
            self._release(unit, trip.fault.value)
        elif trip.fault is Fault.RELAY_WELDED:
            errors = self._relays.open_all(trip.fault.value)
            if errors and not known:
                log.error("%s: opening all met %s", trip.fault.value, "; ".join(map(str, errors)))
        else:
            for other in self.units:
                self._release(other, trip.fault.value)
        if known:
            return
        hit = [unit] if trip.outlet is not None else [other for other in self.units if other.charge is not None]
        unit.fault, unit.why = trip.fault, trip.why
        unit.latched = unit.latched or trip.latched
        for other in {id(each): each for each in [unit, *hit]}.values():
            other.now.closed = False
            other.now.switched_at_ns = trip.at_ns
            self._finish(other, EventKind.TRIPPED, EndReason.TRIPPED, trip, latched=trip.latched and other is unit)
        if trip.latched:
            self._save_latches()
        log.warning("outlet %d: %s %s", unit.number, trip.fault.value, trip.why)

    def _take_power_away(self) -> None:
        """A relay that was told to open did not take it: the contactor is what is left, and every charge ends."""
        if self._relays.has_contactor and self._relays.contactor_closed:
            self._relays.open_contactor()
            log.error("outlets %s could not be opened: contactor opened", sorted(self._relays.unsent))
            self._end_all()

    def _break_on(self, now_ns: int) -> None:
        """The next step of a current that the contactor is breaking for a relay."""
        if self._breaking.step(now_ns):
            self._restore_power(now_ns)
        elif self._breaking.overdue(now_ns):
            self._breaking.give_up()
            log.error("outlets %s cannot be opened: the contactor stays open", sorted(self._relays.unsent))
            self._end_all()

    def _end_all(self) -> None:
        for unit in self.units:
            if unit.charge is not None:
                self._end(unit, EndReason.POWER_LOST, EventKind.ENDED)

    def _restore_power(self, now_ns: int) -> None:
        """Close the contactor again once nothing stands against it; the weld check begins anew."""
        if self._breaking.active or self._relays.contactor_closed or self._relays.unsent or self._welded():
            return
        self._relays.close_contactor()
        self._ready_at_ns = now_ns + SETTLE_NS
        for unit in self.units:
            unit.now.switched_at_ns = now_ns

    def _end(self, unit: OutletUnit, reason: EndReason, kind: EventKind, who: str = "") -> None:
        self._release(unit, reason.value)
        unit.now.closed = False
        unit.now.switched_at_ns = self._clock.monotonic_ns()
        self._finish(unit, kind, reason, None, who=who)

    def _release(self, unit: OutletUnit, reason: str) -> None:
        for error in self._relays.release(unit.number, reason):
            # the bank tries again each tick; the contactor and the heartbeat are the layers under it
            log.error("outlet %d: opening failed: %s", unit.number, error)

    def _finish(
        self,
        unit: OutletUnit,
        kind: EventKind,
        reason: EndReason,
        trip: Trip | None,
        latched: bool = False,
        who: str = "",
    ) -> None:
        session_id = unit.session_id
        unit.last_charge_count = unit.charge_count()
        unit.charge = None
        if session_id is not None:
            self._ended.append(session_id)
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
        self.events.add(event)
        if kind is EventKind.TRIPPED:
            self._recorder.trip(event)

    # --- commands --------------------------------------------------------------------------------------------------

    def handle(self, command: Command) -> Done | Refusal:
        """Do what a client asked; the link has checked that it may. Idempotent."""
        if isinstance(command, Ask | Acknowledge):
            raise TypeError(f"{type(command).__name__} is answered by the link")
        unit = self._by_number.get(command.outlet)
        if unit is None:
            return Refusal(command.id, "unknown_outlet", {"outlet": command.outlet})
        if isinstance(command, Energise):
            refusal = self._energise(unit, command)
        elif isinstance(command, Open):
            refusal = self._open(unit, command)
        else:
            refusal = self._clear(unit, command)
        return Done(command.id) if refusal is None else Refusal(command.id, refusal, {"outlet": unit.number})

    def _energise(self, unit: OutletUnit, command: Energise) -> str | None:
        if unit.charge is not None:
            if unit.charge.session_id != command.session_id:
                return "outlet_busy"
            unit.charge.limits = command.limits
            return None
        if command.session_id in self._ended:
            return "session_over"
        if (refusal := self.refusal(unit)) is not None:
            return refusal
        now_ns = self._clock.monotonic_ns()
        try:
            self._relays.hold(unit.number, now_ns + self._lease_ns)
        except CabinetError as error:
            log.error("outlet %d: closing failed: %s", unit.number, error)
            self._release(unit, "closing failed")
            return "not_ready"
        used = MeterCount(command.used_energy_mwh, command.used_powered_ms, command.used_charging_ms)
        unit.charge = Charge(
            command.session_id, command.limits, unit.ends, unit.meter.count(), now_ns, used, command.had_load
        )
        unit.now.closed = True
        unit.now.switched_at_ns = now_ns
        unit.safety.reset(Fault.SHORT_CIRCUIT)
        unit.safety.reset(Fault.RELAY_WELDED)
        self.events.add(unit.event(EventKind.CLOSED, now_ns))
        return None

    def _open(self, unit: OutletUnit, command: Open) -> str | None:
        if unit.charge is not None and command.session_id in (None, unit.charge.session_id):
            self._end(unit, command.reason, EventKind.ENDED, command.who)
        return None

    def _clear(self, unit: OutletUnit, command: ClearLatch) -> str | None:
        if not unit.latched or unit.fault is None:
            return "nothing_to_clear"
        cleared = unit.fault
        unit.fault, unit.latched, unit.why = None, False, {}
        unit.safety.reset(cleared)
        self._save_latches()
        now_ns = self._clock.monotonic_ns()
        self._restore_power(now_ns)
        self.events.add(unit.event(EventKind.LATCH_CLEARED, now_ns, fault=cleared, who=command.who))
        return None

    def refusal(self, unit: OutletUnit) -> str | None:
        """The pre-close check: why `unit` may not be closed now, or None."""
        if unit.latched:
            return "fault_latched"
        if self._ready_at_ns is None or self._clock.monotonic_ns() < self._ready_at_ns:
            return "not_ready"
        if not self._relays.contactor_closed:
            return "contactor_open"
        if self._welded():
            return "relay_welded"  # without a contactor nothing could take that relay's power away
        if (measured := unit.safety.refusal(unit.now)) is not None:
            return measured
        return None if unit.fault is None else "fault_present"

    # --- telling ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The cabinet now; also starts a new span for the worst lateness."""
        now_ns = self._clock.monotonic_ns()
        scanner = self._scanner
        assert scanner is not None  # start came before
        outlets = [unit.state("outlet_busy" if unit.charge is not None else self.refusal(unit)) for unit in self.units]
        mains = next((state.voltage_mv for state in outlets if state.voltage_mv.quality is Quality.OK), None)
        return Snapshot(
            guard_run=self.guard_run,
            epoch=self.epoch,
            at_ns=now_ns,
            outlets=outlets,
            contactor_closed=self._relays.contactor_closed,
            mains_mv=mains or outlets[0].voltage_mv,
            frequency_mhz=scanner.frequency_mhz,
            inside_mc=scanner.inside_mc,
            feed_mw=sum(state.power_mw.value or 0 for state in outlets),
            last_seq=self.events.last_seq,
            health=self._health.take(scanner.bus_errors),
            feed_limit_mw=milli(self._config.feed.limit_w),
        )

    def stop(self) -> bool:
        """Open everything for good; whether that worked. Charges end without an event: the service finds them gone."""
        errors = self._relays.open_all("guard stopped")
        for error in errors:
            log.error("stopping: %s", error)
        return not errors

    def _check_outputs(self) -> None:
        """What relays were told, and what the expanders say they hold, must agree.

        An outlet found open has lost its charge; an expander that lost its set-up is given it again. One told to open
        and found closed is opened again by the bank.
        """
        reset: set[int] = set()
        for mismatch in self._relays.check_outputs():
            log.error("outlet %d: output read-back: %s", mismatch.outlet, mismatch.problem)
            unit = self._by_number[mismatch.outlet]
            if mismatch.told_closed and mismatch.latch_closed is False:
                self._end(unit, EndReason.POWER_LOST, EventKind.ENDED)
            if mismatch.problem == EXPANDER_RESET:
                reset.update(self._relays.expander_of(mismatch.outlet))
        for address in reset:
            try:
                self._relays.initialise_expander(address)
            except CabinetError as error:
                log.error("expander 0x%02x cannot be set up: %s", address, error)

    def _welded(self) -> bool:
        return any(unit.latched and unit.fault is Fault.RELAY_WELDED for unit in self.units)

    def _save_latches(self) -> None:
        self._scribe.save(
            {unit.number: Latch(unit.fault, unit.why) for unit in self.units if unit.latched and unit.fault is not None}
        )
