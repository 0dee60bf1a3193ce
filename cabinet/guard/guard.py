"""The turns of the guard: read, judge, meter and report events. One `tick` is one turn of the loop.

All dependencies are passed in: the same code runs a cabinet in real time and a test's day in seconds.
"""

import logging
import uuid
from collections.abc import Iterator

from cabinet.charge import Charge
from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.guard.alerts import AlertLines
from cabinet.guard.bus_speed import measure_bus
from cabinet.guard.bus_view import bus_view
from cabinet.guard.cabinet import SLOW_STEP_NS, CabinetUnit
from cabinet.guard.contactor import ContactorControl
from cabinet.guard.contacts import Contacts
from cabinet.guard.counters import Counters
from cabinet.guard.health import LoopHealth
from cabinet.guard.interlocks import Interlocks, PreCloseCheck
from cabinet.guard.maintenance import MaintenanceControl
from cabinet.guard.outlet import OutletUnit, neighbours
from cabinet.guard.recorder import Recorder
from cabinet.guard.scan import Scanner
from cabinet.guard.shared import SharedSensors
from cabinet.guard.state_files import StateWriter
from cabinet.guard.switching import Switching
from cabinet.link.guard_protocol import (
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
from cabinet.sections import milli, nanoseconds
from cabinet.system.computer_state import is_slow_bus

log = logging.getLogger(__name__)

BEAT_NS = 20 * MS  # the heartbeat hardware waits 100 ms
CHARGE_STEP_NS = 20 * MS  # leases and counters change ten times more slowly


class Guard:
    """Readings and decisions of one cabinet. Not thread-safe: one loop calls it."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        units: list[OutletUnit],
        relays: RelayBank,
        contacts: Contacts,
        scanner: Scanner,
        alerts: AlertLines,
        counters: Counters,
        state_writer: StateWriter,
        recorder: Recorder,
        realtime: bool = False,
        idle_period_ns: int = 0,
    ) -> None:
        self._config = config
        self._clock = clock
        self._now_ns = clock.monotonic_ns
        self._relays = relays
        self._counters = counters
        self._recorder = recorder
        self._scanner = scanner
        self._alerts = alerts
        self._edges, self._alert_expanders = alerts.noted, alerts.expanders
        self.guard_run = uuid.uuid4().hex
        self.epoch = counters.epoch
        self.events = EventLog(self.guard_run)
        self.units = units
        self.cabinet = CabinetUnit(config, contacts)
        self._cabinet_inputs = self.cabinet.inputs
        self.contactor = ContactorControl(config, clock, relays, units, self.cabinet, scanner.free_bus)
        self.interlocks = Interlocks(self.cabinet, self.contactor, relays, state_writer, clock)
        self.switching = Switching(
            config, clock, relays, state_writer, recorder, self.events, units, self.cabinet, self.contactor,
            self.interlocks, scanner.phase,
        )  # fmt: skip
        self.maintenance_control = MaintenanceControl(
            config, clock, relays, contacts, state_writer, units, self.cabinet, self.contactor, self.interlocks,
            self.switching, scanner.segments,
        )  # fmt: skip
        self._by_number = {unit.number: unit for unit in self.units}
        self._index = {unit.number: index for index, unit in enumerate(self.units)}
        self._judged = [False] * len(self.units)  # in this turn, by index
        self._late_ns = 0  # 0 unless it is too late
        self._watched_at_ns: int | None = None  # None: not yet called by this guard
        self._period_ns = max(nanoseconds(config.guard.scan_period_s), idle_period_ns)
        self._max_late_ns = nanoseconds(config.protections.guard_late.after_s)
        beside = neighbours(config, self.units)
        self._neighbours = [beside.get(unit.number) for unit in self.units]
        self._next_beat_ns = 0
        # Spread over the turns, not all in one: a short may have to wait for as long as a scan lasts.
        first_ns, apart_ns = clock.monotonic_ns(), CHARGE_STEP_NS // len(self.units)
        self._charge_due_ns = [first_ns + index * apart_ns for index in range(len(self.units))]
        self._next_charge = 0  # index of the outlet that is due first
        self._shared = SharedSensors(config, self.units[0].slow_lost_ns, clock.monotonic_ns())
        self._warn_due_ns = 0
        self._health = LoopHealth(clock.monotonic_ns(), realtime, nanoseconds(config.guard.scan_period_s))

    def start(self) -> None:
        """Open everything, restore latches, start sensors. Nothing closes before self-test and weld check are over."""
        if self.switching.open_all():
            self.maintenance_control.take_all_out_of_service()
        self.switching.keep_latches()  # after the locks: until they are written, the loss must stay visible
        self.maintenance_control.start()
        self._judge_each(self._scanner.start())
        self.switching.start()

    def measure_bus(self) -> None:
        """Measure the bus, before the first turn: report if it is slower than configured."""
        self._health.bus = bus = measure_bus(self._scanner.segments, self._clock)
        if bus is not None:
            log.info("the bus runs at %d kHz, a transfer takes %d us", bus.clock_hz // 1000, bus.transfer_us)
            if is_slow_bus(bus.clock_hz, self._config):
                log.warning("the bus is slower than the %d Hz configured", self._config.hardware.bus_speed_hz)

    def note_turn(self, used_ns: int, now_ns: int) -> None:
        """Note the time that the loop needed for one turn, publishing included."""
        self._health.turns.note(used_ns, now_ns)

    # --- Turn of the loop ------------------------------------------------------------------------------------------

    def tick(self, late_ns: int = 0, full_scan: bool = False) -> None:
        """Make one scan, one step of every protection and one step of every charge.

        `late_ns` is the lateness of the loop; if the guard itself finds that a scan took too long, that counts as well.
        With `full_scan` all values are read and no stride is too long; this is for tests that run through hours.
        """
        start_ns = self._now_ns()
        late_ns = late_ns if full_scan else max(late_ns, self._unwatched_ns(start_ns))
        self._late_ns = late_ns if late_ns > self._max_late_ns else 0
        self._judged = [False] * len(self.units)
        for outlet in self._alerts.check(start_ns):
            self._scanner.release_alert(self._index[outlet])
        self._judge_each(self._scanner.scan(full_scan))
        now_ns = self._now_ns()
        unwatched_ns = self._unwatched_ns(now_ns)
        if not full_scan and unwatched_ns > self._max_late_ns:
            self._late_ns = unwatched_ns
            self._judged = [False] * len(self.units)
        while not all(self._judged):
            self._judge(self._judged.index(False))  # its peak was not read, or long ago: judge that too
        self._judge_cabinet(now_ns)
        if not full_scan:
            self.switching.expire(now_ns)
        self._advance_charges(now_ns)
        self.switching.step(now_ns)
        self.maintenance_control.step(now_ns)
        self._recorder.note(now_ns, self.units, self._scanner.slow.inside_mc)
        self._health.note(max(late_ns, self._late_ns), now_ns - start_ns)

    def _unwatched_ns(self, now_ns: int) -> int:
        """Return the time since the last call beyond one period: time in which nothing was watched."""
        before_ns, self._watched_at_ns = self._watched_at_ns, now_ns
        if before_ns is None or now_ns - before_ns <= self._period_ns:
            return 0
        return now_ns - before_ns - self._period_ns

    def answer_alerts(self) -> None:
        """Read, judge and open, between ticks, the outlets that have a low over-current line."""
        self._late_ns = 0
        self._answer_alerts()

    @property
    def watching(self) -> bool:
        """Return whether `watch` has an outlet to read; if so, the loop does not sleep until its next turn."""
        return self._scanner.watching

    def watch(self) -> None:
        """Read, between ticks, one outlet that drew too much a moment ago."""
        self._late_ns = 0
        self._judge_each(self._scanner.watch())

    def _judge_each(self, read: Iterator[int | None]) -> None:
        """Judge each outlet right after its peak was read, before the scanner reads on."""
        for index in read:
            if index is None:
                self._between_segments()
            else:
                self._judge(index)

    def _between_segments(self) -> None:
        """Do the work that cannot wait for the end of a scan, which a hung bus can delay."""
        if (now_ns := self._now_ns()) >= self._next_beat_ns:
            self._relays.beat()
            self._next_beat_ns = now_ns + BEAT_NS
        if self._edges or self._alert_expanders:
            self._answer_alerts()

    def _answer_alerts(self) -> None:
        for outlet, edge_ns in self._alerts.take().items():
            self.maintenance_control.alert_edges[outlet] += 1
            self._judge_each(self._scanner.read_alert(self._index[outlet], edge_ns))

    def _judge(self, index: int) -> None:
        """Run the protections of one outlet: right after its peak was read, or when that failed."""
        self._judged[index] = True
        unit = self.units[index]
        inputs, window = unit.inputs, unit.inputs.window
        if window is not None and window.peak_ma > unit.short_peak_ma:
            inputs.commanded_open_at_ns = self._relays.commanded_open_at_ns(unit.number)
        at_ns = inputs.at_ns = self._now_ns()
        inputs.late_ns = self._late_ns
        if not inputs.closed or inputs.found_open_at_ns is not None:  # any other outlet may carry a current of its own
            neighbour = self._neighbours[index]
            inputs.crosstalk_ma = 0 if neighbour is None else neighbour.crosstalk_ma(at_ns)
        trip = unit.safety.step(inputs)
        if trip is not None:
            self.switching.trip(unit, trip)
        elif unit.fault is not None and not unit.latched and not unit.safety.present(unit.fault, inputs):
            self.events.add(unit.event(EventKind.RECOVERED, inputs.at_ns, fault=unit.fault))
            unit.fault, unit.trip_values = None, {}
        if window is not None:
            unit.note_peak(window)
            if self._cabinet_inputs.contactor_open_at_ns is not None and unit.fault is not Fault.SENSOR_FROZEN:
                self.cabinet.note_window(window)  # unless it is from before the sensor froze
            inputs.window = None

    def _judge_cabinet(self, now_ns: int) -> None:
        """Run the cabinet-wide protections and warnings."""
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

    def _advance_charges(self, now_ns: int) -> None:
        while now_ns >= self._charge_due_ns[self._next_charge]:
            index = self._next_charge
            self._next_charge = (index + 1) % len(self.units)
            self._charge_due_ns[index] = now_ns + CHARGE_STEP_NS
            self._advance_charge(index, self.units[index], now_ns)
            self._counters.save(index, self.units[index].meter)

    def _advance_charge(self, index: int, unit: OutletUnit, now_ns: int) -> None:
        """Count, warn, and end the charge if it is over."""
        unit.count_time(now_ns)
        if unit.safety.newly_warm(unit.inputs):
            why = {"temperature_mc": unit.inputs.temperature_mc.value or 0}
            self.events.add(unit.event(EventKind.WARNED, now_ns, fault=Fault.OUTLET_HOT, why=why))
        if unit.take_scale_check(now_ns):
            self._scanner.check_scale_soon(index)
        charge, neighbour = unit.charge, self._neighbours[index]
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
        if not unit.charge_step_due(now_ns):
            return
        before = charge.phase
        shown_mw = 0 if neighbour is None else unit.neighbour_share_mw(neighbour.power_mw(now_ns) or 0)
        reason = charge.step(now_ns, unit.inputs.power_mw, shown_mw, unit.meter.count())
        unit.count_load()
        if charge.phase is not before:
            self.events.add(unit.event(EventKind.LOAD_SEEN, now_ns))
        if reason is not None:
            self.switching.end(unit, reason)

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
        used = MeterCount(command.used_energy_mwh, command.used_powered_ms, command.used_charging_ms)
        charge = Charge(
            command.session_id, command.limits, unit.ends, unit.meter.count(), now_ns, used, command.had_load
        )
        return self.switching.close(unit, charge, PreCloseCheck.CHARGE)

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

    # --- State and reports -----------------------------------------------------------------------------------------

    def state(self, unit: OutletUnit) -> OutletState:
        """Return the present state of one outlet, and whether it may be closed."""
        busy = unit.charge is not None
        return unit.state("outlet_busy" if busy else self.interlocks.interlock(unit, PreCloseCheck.CHARGE))

    def snapshot(self) -> Snapshot:
        """Return the present state of the cabinet. Also starts a new span for the worst lateness."""
        now_ns = self._clock.monotonic_ns()
        outlets = [self.state(unit) for unit in self.units]
        mains = next((state.voltage_mv for state in outlets if state.voltage_mv.quality is Quality.OK), None)
        return Snapshot(
            guard_run=self.guard_run,
            epoch=self.epoch,
            at_ns=now_ns,
            outlets=outlets,
            contactor_closed=self._relays.contactor_closed,
            mains_mv=mains or outlets[0].voltage_mv,
            frequency_mhz=self._scanner.slow.frequency_mhz,
            inside_mc=self.cabinet.inputs.inside_mc,
            feed_mw=sum(unit.power_mw(now_ns) or 0 for unit in self.units),
            unmeasured=[unit.number for unit in self.units if unit.power_mw(now_ns) is None],
            feed_compared=self._shared.feed_compared,
            last_seq=self.events.last_seq,
            health=self._health.take(self._scanner.bus_errors),
            feed_limit_mw=milli(self._config.feed.limit_w),
            fault=self.cabinet.fault,
            latched=self.cabinet.latched,
            why=self.cabinet.trip_values,
            siren=self.cabinet.siren,
        )

    def bus_view(self, scan: bool = False) -> BusView:
        """Return the sensor side as last read; with `scan`, search for unexpected chips, one address a tick."""
        if scan:
            self._scanner.search()
        numbers = [unit.number for unit in self.units]
        return bus_view(self._scanner, numbers, self._relays.expanders_down, self._clock.monotonic_ns())

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
