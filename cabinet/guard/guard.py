"""The turns of the guard: read, judge, meter and report events. One `tick` is one turn of the loop.

All dependencies are passed in: the same code runs a cabinet in real time and a test's day in seconds.
"""

import logging
import uuid
from collections.abc import Callable

import msgspec

from cabinet.charge import Charge, EndLimits, TestCharge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.guard.alerts import AlertLines
from cabinet.guard.bus_view import bus_view
from cabinet.guard.cabinet import SLOW_STEP_NS, CabinetUnit
from cabinet.guard.contacts import Contacts
from cabinet.guard.counters import Counters
from cabinet.guard.health import LoopHealth
from cabinet.guard.maintenance import MaintenanceControl
from cabinet.guard.outlet import OutletUnit, neighbours
from cabinet.guard.probe import Prober
from cabinet.guard.recorder import Recorder
from cabinet.guard.scan import Scanner
from cabinet.guard.shared import SharedSensors
from cabinet.guard.state_files import StateWriter
from cabinet.guard.switching import Switching
from cabinet.link.protocol import (
    Acknowledge,
    BusView,
    ClearLatch,
    Command,
    Done,
    Energise,
    Open,
    Question,
    Refusal,
    StaffCommand,
)
from cabinet.link.server import EventLog
from cabinet.maintenance import MaintenanceState
from cabinet.model import CABINET, EndReason, EventKind, Fault, MeterCount, OutletState, Quality, Snapshot
from cabinet.relays import RelayBank
from cabinet.sections import in_milli_units, milli, nanoseconds

log = logging.getLogger(__name__)

BEAT_NS = 20 * MS  # the heartbeat hardware waits 100 ms
CHARGE_STEP_NS = 20 * MS  # charges and counters change ten times more slowly


class Guard:
    """Readings and decisions of one cabinet. Not thread-safe: one loop calls it."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        contacts: Contacts,
        counters: Counters,
        state_writer: StateWriter,
        recorder: Recorder,
        realtime: bool = False,
        idle_period_ns: int = 0,
    ) -> None:
        self._config = config
        self._clock = clock
        self._relays = relays
        self._counters = counters
        self._state_writer = state_writer
        self._recorder = recorder
        self.guard_run = uuid.uuid4().hex
        self.epoch = counters.epoch
        self.events = EventLog(self.guard_run)
        ends = msgspec.convert(in_milli_units(config.charge), EndLimits)
        self.units = [
            OutletUnit(config, outlet, ends, counters.meter(index)) for index, outlet in enumerate(config.outlet)
        ]
        self.cabinet = CabinetUnit(config, contacts)
        self.switching = Switching(config, clock, relays, state_writer, recorder, self.events, self.units, self.cabinet)
        self.maintenance_control = MaintenanceControl(
            config, clock, relays, contacts, state_writer, self.units, self.cabinet, self.switching, self
        )
        self._by_number = {unit.number: unit for unit in self.units}
        self._index = {unit.number: index for index, unit in enumerate(self.units)}
        self._unjudged: set[int] = set()
        self._late_ns = 0
        self._watched_at_ns: int | None = None  # None: not yet called by this guard
        self._period_ns = max(nanoseconds(config.guard.scan_period_s), idle_period_ns)
        self._max_late_ns = nanoseconds(config.protections.guard_late.after_s)
        self._neighbours = neighbours(config, self.units)
        self._scanner: Scanner | None = None
        self._alerts: AlertLines | None = None
        self._next_beat_ns = 0
        # Spread over the turns, not all in one: a short may have to wait for as long as a scan lasts.
        first_ns, apart_ns = clock.monotonic_ns(), CHARGE_STEP_NS // len(self.units)
        self._charge_due_ns = [first_ns + index * apart_ns for index in range(len(self.units))]
        self._shared = SharedSensors(config, self.units[0].slow_lost_ns, clock.monotonic_ns())
        self._warn_due_ns = 0
        self._health = LoopHealth(clock.monotonic_ns(), realtime)
        self.make_prober: Callable[[], Prober]  # set by `build_scanner`

    def add_energy(self, index: int, energy_uj: int) -> None:
        """Add the energy that the scanner has read from the registers of an outlet, and save it at once."""
        meter = self.units[index].meter
        meter.add_energy(energy_uj)
        self._counters.save(index, meter)

    def start(self, scanner: Scanner, alerts: AlertLines) -> None:
        """Open everything, restore latches, start sensors. Nothing closes before self-test and weld check are over."""
        self._scanner = scanner
        self._alerts = alerts
        scanner.between = self._between_segments
        scanner.judge = self._judge
        scanner.over = self._note_over
        scanner.line_low = lambda index: alerts.is_low(self.units[index].number)
        self.switching.set_free_bus(scanner.free_bus)
        if self.switching.open_all():
            self.maintenance_control.take_all_out_of_service()
        self.switching.keep_latches()  # after the locks: until they are written, the loss must stay visible
        self.maintenance_control.start(scanner.segments)
        scanner.start()
        self.switching.start(scanner.phase)

    # --- Turn of the loop ------------------------------------------------------------------------------------------

    def tick(self, late_ns: int = 0, full_scan: bool = False) -> None:
        """Make one scan, one step of every protection and one step of every charge.

        `late_ns` is the lateness of the loop; if the guard itself finds that a scan took too long, that counts as well.
        With `full_scan` all values are read and no stride is too long; this is for tests that run through hours.
        """
        assert self._scanner is not None  # set by `start`
        assert self._alerts is not None
        start_ns = self._clock.monotonic_ns()
        self._late_ns = late_ns if full_scan else max(late_ns, self._unwatched_ns(start_ns))
        self._unjudged = set(range(len(self.units)))
        for outlet in self._alerts.check(start_ns):
            self._scanner.release_alert(self._index[outlet])
        self._scanner.scan(full_scan)
        now_ns = self._clock.monotonic_ns()
        unwatched_ns = self._unwatched_ns(now_ns)
        if not full_scan and unwatched_ns > self._max_late_ns:
            self._late_ns = unwatched_ns
            self._unjudged = set(range(len(self.units)))
        for index in list(self._unjudged):
            self._judge(index)  # its peak could not be read, or was last read long ago: judge that too
        self._judge_cabinet(now_ns)
        if not full_scan:
            self.switching.expire(now_ns)
        for index, unit in enumerate(self.units):
            if now_ns >= self._charge_due_ns[index]:
                self._charge_due_ns[index] = now_ns + CHARGE_STEP_NS
                self._advance_charge(unit, now_ns)
                self._counters.save(index, unit.meter)
        self.switching.step(now_ns)
        self._close_next(now_ns)
        self.maintenance_control.step(now_ns)
        self._recorder.note(now_ns, self.units, self._scanner.slow.inside_mc)
        self._health.note(max(late_ns, self._late_ns), now_ns - start_ns)

    def _unwatched_ns(self, now_ns: int) -> int:
        """Return the time since the last call beyond one period: time in which nothing was watched."""
        before_ns, self._watched_at_ns = self._watched_at_ns, now_ns
        return 0 if before_ns is None else max(0, now_ns - before_ns - self._period_ns)

    def answer_alerts(self) -> None:
        """Read, judge and open, between ticks, the outlets that have a low over-current line."""
        self._late_ns = 0
        self._answer_alerts()

    @property
    def watching(self) -> bool:
        """Return whether `watch` has an outlet to read; if so, the loop does not sleep until its next turn."""
        assert self._scanner is not None  # set by `start`
        return self._scanner.watching

    def watch(self) -> None:
        """Read, between ticks, one outlet that drew too much a moment ago."""
        assert self._scanner is not None  # set by `start`
        self._late_ns = 0
        self._scanner.watch()

    def _between_segments(self) -> None:
        """Do the work that cannot wait for the end of a scan, which a hung bus can delay."""
        self._beat(self._clock.monotonic_ns())
        self._answer_alerts()

    def _answer_alerts(self) -> None:
        assert self._scanner is not None  # set by `start`
        assert self._alerts is not None
        for outlet, edge_ns in self._alerts.take().items():
            self.maintenance_control.alert_edges[outlet] += 1
            self._scanner.read_alert(self._index[outlet], edge_ns)

    def _judge(self, index: int) -> None:
        """Run the protections of one outlet: right after its peak was read, or when that failed."""
        self._unjudged.discard(index)
        self._protect(self.units[index])

    def _note_over(self, index: int) -> None:
        """Note when the relay was commanded to open: that matters for a peak over the short-circuit limit."""
        unit = self.units[index]
        unit.inputs.commanded_open_at_ns = self._relays.commanded_open_at_ns(unit.number)

    def _beat(self, now_ns: int) -> None:
        if now_ns >= self._next_beat_ns:
            self._relays.beat()
            self._next_beat_ns = now_ns + BEAT_NS

    def _protect(self, unit: OutletUnit) -> None:
        inputs = unit.inputs
        inputs.at_ns = self._clock.monotonic_ns()
        inputs.late_ns = self._late_ns
        neighbour = self._neighbours.get(unit.number)
        inputs.crosstalk_ma = 0 if neighbour is None else neighbour.crosstalk_ma(inputs.at_ns)
        trip = unit.safety.step(inputs)
        if trip is not None:
            self.switching.trip(unit, trip)
        elif unit.fault is not None and not unit.latched and not unit.safety.present(unit.fault, inputs):
            self.events.add(unit.event(EventKind.RECOVERED, inputs.at_ns, fault=unit.fault))
            unit.fault, unit.trip_values = None, {}
        unit.note_peak()
        if unit.fault is not Fault.SENSOR_FROZEN:  # its last readings are from before the sensor froze
            self.cabinet.note_window(inputs.window)
        inputs.window = None

    def _judge_cabinet(self, now_ns: int) -> None:
        """Run the cabinet-wide protections and warnings."""
        assert self._scanner is not None  # set by `start`
        assert self._alerts is not None
        cabinet, inputs = self.cabinet, self.cabinet.inputs
        slow = self._scanner.slow
        self._shared.read(slow, inputs, now_ns)
        trip = cabinet.step(now_ns, self.units)
        if trip is not None:
            self.switching.trip_cabinet(trip)
        if now_ns >= self._warn_due_ns:  # conditions that need staff last for seconds at least
            self._warn_due_ns = now_ns + SLOW_STEP_NS
            expanders = {*self._relays.take_resets(), *self._alerts.take_resets()}
            soon = cabinet.safety.newly_warning(inputs)
            for event in self._shared.warnings(slow, inputs, soon, expanders, self.units, now_ns):
                self.events.add(event)

    def _advance_charge(self, unit: OutletUnit, now_ns: int) -> None:
        """Count, warn, and end the charge if it is over."""
        unit.count_time(now_ns)
        if unit.safety.newly_warm(unit.inputs):
            why = {"temperature_mc": unit.inputs.temperature_mc.value or 0}
            self.events.add(unit.event(EventKind.WARNED, now_ns, fault=Fault.OUTLET_HOT, why=why))
        assert self._scanner is not None  # set by `start`
        if unit.take_scale_check(now_ns):
            self._scanner.check_scale_soon(self._index[unit.number])
        charge = unit.charge
        neighbour = self._neighbours.get(unit.number)
        if charge is None:
            if neighbour is not None:
                unit.learn_crosstalk(neighbour.inputs)
            return
        if charge.over(now_ns):  # before the lease is renewed
            self.switching.end(unit, EndReason.LIMIT_TIME)
            return
        if not self.switching.renew_lease(unit, now_ns):
            return
        if not unit.mains_present():
            charge.note_mains_failure()
            return
        before = charge.phase
        shown_mw = 0 if neighbour is None else unit.neighbour_share_mw(neighbour.power_mw(now_ns) or 0)
        reason = charge.step(now_ns, unit.inputs.power_mw, shown_mw, unit.meter.count())
        unit.count_load()
        if charge.phase is not before:
            self.events.add(unit.event(EventKind.LOAD_SEEN, now_ns))
        if reason is not None:
            self.switching.end(unit, reason)

    def _close_next(self, now_ns: int) -> None:
        """Close the next outlet in the queue if the pre-close check still passes."""
        unit = self.switching.next_closing(now_ns)
        if unit is None:
            return
        if (refusal := self._closing_interlock(unit)) is not None:
            log.warning("outlet %d: not closed after all: %s", unit.number, refusal)
            self.switching.end(unit, EndReason.POWER_LOST)
            return
        self.switching.close_now(unit, now_ns)

    # --- commands --------------------------------------------------------------------------------------------------

    def handle(self, command: Command) -> Done | Refusal:
        """Execute a client's command; the link has checked that it is allowed. Idempotent."""
        if isinstance(command, Question | Acknowledge):
            raise TypeError(f"{type(command).__name__} is answered by the link")
        if isinstance(command, StaffCommand):
            refused = self.maintenance_control.handle(command)
            return Done(command.id) if refused is None else Refusal(command.id, refused)
        unit = self._by_number.get(command.outlet)
        if isinstance(command, ClearLatch):
            refusal = self._clear(command, unit)
        elif unit is None:
            refusal = "unknown_outlet"
        elif isinstance(command, Energise):
            refusal = self._energise(unit, command)
        else:
            refusal = self._open(unit, command)
        return Done(command.id) if refusal is None else Refusal(command.id, refusal, {"outlet": command.outlet})

    def _energise(self, unit: OutletUnit, command: Energise) -> str | None:
        if unit.charge is not None:
            if unit.charge.session_id != command.session_id:
                return "outlet_busy"
            unit.charge.limits = command.limits
            return None
        if command.session_id in self.switching.ended:
            return "session_over"
        now_ns = self._clock.monotonic_ns()
        self.cabinet.count_loads(now_ns, self.units)
        if (refusal := self.interlock(unit)) is not None:
            return refusal
        used = MeterCount(command.used_energy_mwh, command.used_powered_ms, command.used_charging_ms)
        charge = Charge(
            command.session_id, command.limits, unit.ends, unit.meter.count(), now_ns, used, command.had_load
        )
        self.switching.close(unit, charge)
        self._close_next(now_ns)
        return None

    def _open(self, unit: OutletUnit, command: Open) -> str | None:
        if unit.charge is not None and command.session_id in (None, unit.charge.session_id):
            self.switching.end(unit, command.reason, command.who)
        return None

    def _clear(self, command: ClearLatch, unit: OutletUnit | None) -> str | None:
        if command.outlet == CABINET:
            if not self.cabinet.latched:
                return "nothing_to_clear"
            self.switching.clear_cabinet(command.who)
            return None
        if unit is None:
            return "unknown_outlet"
        if not unit.latched or unit.fault is None:
            return "nothing_to_clear"
        self.switching.clear(unit, command.who)
        return None

    def start_test_charge(self, unit: OutletUnit, who: str, until_ns: int) -> str | None:
        """Close `unit` for a test charge after the pre-close check. Return the code of the interlock, or None."""
        if unit.charge is not None:
            return "outlet_busy"
        now_ns = self._clock.monotonic_ns()
        self.cabinet.count_loads(now_ns, self.units)
        if (refusal := self.staff_interlock(unit)) is not None:
            return refusal
        self.switching.close(unit, TestCharge(f"test:{who}", unit.ends, unit.meter.count(), now_ns, until_ns))
        self._close_next(now_ns)
        return None

    def interlock(self, unit: OutletUnit) -> str | None:
        """Run the pre-close check. Return the reason why `unit` may not be closed now, or None."""
        if (refusal := self.staff_interlock(unit)) is not None:
            return refusal
        if unit.note is not None:
            return "out_of_service"
        return "not_ready" if self.maintenance_control.reserves(unit) else None

    def staff_interlock(self, unit: OutletUnit) -> str | None:
        """Run the pre-close check for staff, who may also test an outlet that is out of service."""
        if unit.latched:
            return "fault_latched"
        return self._closing_interlock(unit) or self.cabinet.interlock()

    def _closing_interlock(self, unit: OutletUnit) -> str | None:
        """Run the part of the pre-close check that is repeated at the moment of closing."""
        if unit.latched:
            return "fault_latched"
        if self.cabinet.latched:
            return "cabinet_fault"
        if not self._state_writer.writable:
            return "state_unwritable"  # a latch set now would be lost with the next power cut
        if self.switching.contactor_locked_out:
            return "contactor_open"
        ready_at_ns = self.switching.ready_at_ns
        if ready_at_ns is None or self._clock.monotonic_ns() < ready_at_ns:
            return "not_ready"
        if not self._relays.contactor_closed:
            return "contactor_open"
        if self.switching.welded():
            return "relay_welded"  # without a contactor nothing could cut the power of that relay
        if (measured := unit.safety.interlock(unit.inputs)) is not None:
            return measured
        return None if unit.fault is None else "fault_present"

    # --- State and reports -----------------------------------------------------------------------------------------

    def state(self, unit: OutletUnit) -> OutletState:
        """Return the present state of one outlet, and whether it may be closed."""
        return unit.state("outlet_busy" if unit.charge is not None else self.interlock(unit))

    def snapshot(self) -> Snapshot:
        """Return the present state of the cabinet. Also starts a new span for the worst lateness."""
        now_ns = self._clock.monotonic_ns()
        scanner = self._scanner
        assert scanner is not None  # set by `start`
        outlets = [self.state(unit) for unit in self.units]
        mains = next((state.voltage_mv for state in outlets if state.voltage_mv.quality is Quality.OK), None)
        return Snapshot(
            guard_run=self.guard_run,
            epoch=self.epoch,
            at_ns=now_ns,
            outlets=outlets,
            contactor_closed=self._relays.contactor_closed,
            mains_mv=mains or outlets[0].voltage_mv,
            frequency_mhz=scanner.slow.frequency_mhz,
            inside_mc=self.cabinet.inputs.inside_mc,
            feed_mw=sum(unit.power_mw(now_ns) or 0 for unit in self.units),
            unmeasured=[unit.number for unit in self.units if unit.power_mw(now_ns) is None],
            feed_compared=self._shared.feed_compared,
            last_seq=self.events.last_seq,
            health=self._health.take(scanner.bus_errors),
            feed_limit_mw=milli(self._config.feed.limit_w),
            fault=self.cabinet.fault,
            latched=self.cabinet.latched,
            why=self.cabinet.trip_values,
            siren=self.cabinet.siren,
        )

    def bus_view(self, scan: bool = False) -> BusView:
        """Return the sensor side as last read; with `scan`, search for unexpected chips, one address a tick."""
        scanner = self._scanner
        assert scanner is not None  # set by `start`
        if scan and (scanner.prober is None or scanner.prober.done):
            scanner.prober = self.make_prober()
        numbers = [unit.number for unit in self.units]
        return bus_view(scanner, numbers, self._relays.expanders_down, self._clock.monotonic_ns())

    def maintenance_state(self) -> MaintenanceState:
        """Return locks, wear, calibration and the running maintenance test."""
        return self.maintenance_control.shown(self._clock.monotonic_ns())

    def stop(self) -> bool:
        """Open everything for good; return whether that worked.

        Charges end without an event: the service detects that they are gone.
        """
        opened = self.switching.stop()
        self.maintenance_control.stop()
        return opened
