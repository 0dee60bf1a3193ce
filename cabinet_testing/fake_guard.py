"""Guard without hardware: keeps the state of a real one or shows values, executes commands, and fails on request.

It answers the calls of the real `Guard`, so that services, consoles and the guard's socket can be tested over it.
"""

import contextlib
import itertools
import select
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from cabinet.clock import MS, NS, ManualClock
from cabinet.errors import Refused
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import (
    Acknowledge,
    BusView,
    ClearLatch,
    Command,
    CycleRelay,
    Done,
    Energise,
    Open,
    Refusal,
    SoundSiren,
    StaffCommand,
    StartSelfTest,
    TestAlertLine,
    TestResidual,
    Welcome,
)
from cabinet.link.peer_roles import PeerRoles
from cabinet.link.server import EventLog, LinkServer
from cabinet.maintenance import Job, JobKind, JobState, MaintenanceState
from cabinet.model import (
    ABSENT,
    CABINET,
    EndReason,
    Event,
    EventKind,
    Fault,
    GuardHealth,
    MeterCount,
    Quality,
    Reading,
    Snapshot,
)
from cabinet_testing import console_snapshots
from cabinet_testing.fake_outlet import FakeOutlet

LOAD_MW = 150_000
TURN_S = 0.02  # of the socket's thread
SNAPSHOT_TURNS = 5
TESTS = {StartSelfTest: JobKind.SELF_TEST, CycleRelay: JobKind.RELAY_CYCLE, TestAlertLine: JobKind.ALERT_LINE,
         TestResidual: JobKind.RESIDUAL, SoundSiren: JobKind.SIREN}  # fmt: skip


class Killed(BaseException):
    """Raised to end the service at this point."""


class FakeGuard:
    """A guard that outlives the service, as the real one does; `restart` is its own death.

    `attach` gives a service its link to it; nothing reaches the service until `connect`. Power and time move only by
    `charge`. A guard made by `showing` has no such state: its snapshot is `shown`.
    """

    def __init__(self, clock: ManualClock, outlets: int, shown: Snapshot | None = None) -> None:
        self.clock = clock
        self.outlets = {number: FakeOutlet(number) for number in range(1, outlets + 1)}
        self.runs = 1
        self.epochs = 1
        self.events = EventLog("run-1")
        self.commands: list[Command] = []
        self.refuse: dict[type, list[str]] = {}  # codes to answer the next commands of a kind with
        self.deaf = False  # commands are executed, but their answers do not arrive
        self.before_request: Callable[[], None] = lambda: None
        self.cabinet_fault: Fault | None = None
        self.link: Link | None = None
        self.path = Path()  # of its socket, once it serves
        self.server: LinkServer | None = None
        self.lock = threading.Lock()  # held by the socket's thread during a turn
        self.delivered_uwh: dict[str, int] = {}  # the truth, by session
        self.shown = shown
        self.bus = console_snapshots.BUS
        self.scans = 0
        self.job: Job | None = None  # the last maintenance test

    @classmethod
    def showing(cls, snapshot: Snapshot, clock: ManualClock | None = None) -> "FakeGuard":
        """Return a guard that shows `snapshot`, as changed by the console's commands."""
        return cls(clock or ManualClock(start_ns=2 * NS), 0, snapshot)

    def attach(
        self,
        on_snapshot: Callable[[Snapshot], None],
        on_event: Callable[[Event], Awaitable[None]],
        on_link: Callable[[bool], None],
    ) -> "Link":
        self.link = Link(self, on_snapshot, on_event, on_link)
        return self.link

    # --- World ------------------------------------------------------------------------------------------------------

    def charge(self, outlet: int, seconds: float, power_mw: int = LOAD_MW) -> None:
        """Let `seconds` pass with a load of `power_mw` on `outlet`; the guard ends it at its limits, at the second."""
        for _ in range(int(seconds)):
            self.clock.advance_ns(NS)
            self.second(outlet, power_mw)

    def charge_all(self, seconds: int, power_mw: int = LOAD_MW) -> None:
        """Let time pass on every outlet that holds a session."""
        for _ in range(seconds):
            self.clock.advance_ns(NS)
            for outlet in self.outlets:
                self.second(outlet, power_mw)

    def second(self, outlet: int, power_mw: int) -> None:
        """Count a second's charge with a load of `power_mw`, if `outlet` holds a session. The clock stays."""
        place = self.outlets[outlet]
        if place.session_id is None:
            return
        place.power_mw = power_mw
        place.powered_ms += 1000
        place.energy_uwh += power_mw * 1000 // 3600
        self.delivered_uwh[place.session_id] = self.delivered_uwh.get(place.session_id, 0) + power_mw * 1000 // 3600
        if power_mw >= 5000:
            if not place.loaded:
                place.loaded = True
                self._note(place, EventKind.LOAD_SEEN)
            place.charging_ms += 1000
        reason = place.limit()
        if reason is not None:
            self.end(place.number, reason)

    def end(self, outlet: int, reason: EndReason, who: str = "") -> None:
        place = self.outlets[outlet]
        self._note(place, EventKind.ENDED, reason=reason, who=who)
        place.session_id, place.power_mw = None, 0

    def trip(self, outlet: int, fault: Fault, latched: bool = True) -> None:
        place = self.outlets[outlet]
        self._note(place, EventKind.TRIPPED, reason=EndReason.TRIPPED, fault=fault, latched=latched)
        place.session_id, place.power_mw = None, 0
        place.fault, place.latched = fault, latched
        place.refusal = "fault_latched" if latched else "fault_present"

    def suspend(self, fault: Fault, refusal: str = "voltage_out_of_band") -> None:
        """Interrupt and forget every charge, for a passing reason; `let_close` ends it."""
        for place in self.outlets.values():
            if place.session_id is not None:
                self._note(place, EventKind.SUSPENDED, fault=fault)
            place.session_id, place.power_mw = None, 0
            place.fault, place.refusal = fault, refusal

    def let_close(self) -> None:
        """End all interlocks except latches."""
        for place in self.outlets.values():
            if not place.latched:
                place.fault = place.refusal = None
                self.cabinet_fault = None

    def fill_up(self) -> None:
        """Leave no room in the feed for another charge."""
        for place in self.outlets.values():
            place.refusal = place.refusal or "feed_full"

    def trip_all(self, fault: Fault) -> None:
        """Trip the whole cabinet."""
        for place in self.outlets.values():
            if place.session_id is not None:
                self._note(place, EventKind.TRIPPED, reason=EndReason.TRIPPED, fault=fault)
            place.session_id, place.power_mw, place.refusal = None, 0, "cabinet_fault"
        self._note(None, EventKind.TRIPPED, fault=fault, latched=True)
        self.cabinet_fault = fault

    def restart(self, new_epoch: bool = False) -> None:
        """Kill and start the guard: relays open, events not yet acknowledged are lost."""
        self.disconnect()
        self.runs += 1
        self.events = EventLog(f"run-{self.runs}")
        for place in self.outlets.values():
            fault, latched, refusal = place.fault, place.latched, place.refusal
            place.forget()
            if latched:
                place.fault, place.latched, place.refusal = fault, latched, refusal
        if new_epoch:
            self.epochs += 1
            for place in self.outlets.values():
                place.energy_uwh = place.powered_ms = place.charging_ms = 0

    def _note(self, place: FakeOutlet | None, kind: EventKind, **fields: object) -> None:
        event = Event("", 0, self.clock.monotonic_ns(), kind)
        if place is not None:
            event = msgspec.structs.replace(
                event,
                outlet=place.number,
                session_id=place.session_id,
                count=place.count(),
                charge_count=place.charge_count(),
            )
        self.events.add(msgspec.structs.replace(event, **fields))

    # --- Link to the service ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect: send everything not acknowledged again, then a snapshot."""
        link = self._link()
        link.connected = True
        link.on_link(True)
        link.sent = 0
        await self.tell()

    def disconnect(self) -> None:
        if self.link is not None and self.link.connected:
            self.link.connected = False
            self.link.on_link(False)

    async def tell(self) -> None:
        """Send the events not sent on this connection yet, in order, then a snapshot."""
        link = self._link()
        for event in [event for event in self.events.kept if event.seq > link.sent]:
            link.sent = event.seq
            await link.on_event(event)
        self.show()

    def show(self) -> None:
        """Send a snapshot, as a moment passes."""
        self.clock.advance_ns(MS)
        link = self._link()
        if link.connected:
            link.on_snapshot(self.snapshot())

    def _link(self) -> "Link":
        assert self.link is not None, "no service is attached"
        return self.link

    # --- Calls of the real guard ------------------------------------------------------------------------------------

    def bus_view(self, scan: bool = False) -> BusView:
        self.scans += scan
        return self.bus

    def maintenance_state(self) -> MaintenanceState:
        return console_snapshots.maintenance_state(self.snapshot(), self.job)

    def snapshot(self) -> Snapshot:
        if self.shown is not None:
            return self.shown
        now_ns = self.clock.monotonic_ns()
        return Snapshot(
            guard_run=self.events.guard_run,
            epoch=f"epoch-{self.epochs}",
            at_ns=now_ns,
            outlets=[place.state(now_ns) for place in self.outlets.values()],
            contactor_closed=True,
            mains_mv=Reading(220_000, now_ns, Quality.OK),
            frequency_mhz=Reading(50_000, now_ns, Quality.OK),
            inside_mc=ABSENT,
            feed_mw=sum(place.power_mw for place in self.outlets.values()),
            last_seq=self.events.last_seq,
            health=GuardHealth(False, 0, 0, 0, 0, 0, 0),
            feed_limit_mw=7_000_000,
            fault=self.cabinet_fault,
            latched=self.cabinet_fault is not None,
            siren=self.cabinet_fault is not None,
        )

    def handle(self, command: Command) -> Done | Refusal:
        """Execute a command as the real guard does."""
        assert not isinstance(command, Acknowledge), "the link's server handles it"
        self.commands.append(command)
        codes = self.refuse.get(type(command))
        code = codes.pop(0) if codes else self._execute(command)
        params = {"outlet": getattr(command, "outlet", CABINET)}
        return Done(command.id) if code is None else Refusal(command.id, code, params)

    def _execute(self, command: Command) -> str | None:
        if self.shown is not None:
            self.shown = self._changed(self.shown, command)
        elif isinstance(command, Energise):
            return self._energise(self.outlets[command.outlet], command)
        else:
            assert isinstance(command, Open), f"the service never sends {command}"
            place = self.outlets[command.outlet]
            if place.session_id is not None and place.session_id == command.session_id:
                self.end(command.outlet, command.reason, command.who)
        return None

    def _changed(self, shown: Snapshot, command: Command) -> Snapshot:
        """Return the values after the console's `command`. Maintenance tests pass at once."""
        if isinstance(command, StaffCommand):
            self._pass_test(command)
            return shown
        assert isinstance(command, Open | ClearLatch), f"the console never sends {command}"
        if command.outlet == CABINET:
            return msgspec.structs.replace(shown, fault=None, latched=False, why={}, siren=False)
        fresh = console_snapshots.outlet(command.outlet)
        outlets = [fresh if state.outlet == command.outlet else state for state in shown.outlets]
        return msgspec.structs.replace(shown, outlets=outlets)

    def _pass_test(self, command: StaffCommand) -> None:
        kind = TESTS.get(type(command))
        if kind is None:
            return
        place, times = getattr(command, "outlet", CABINET), getattr(command, "times", 0)
        values = {"times": times, "done": times, "with_current": times, "output_differs": 0, "least_peak_ma": 380,
                  "peak_ma": 390, "open_peak_ma": 20, "ms": 186}  # fmt: skip
        self.job = Job(1, kind, place, command.who, JobState.PASSED, values, [place] if place else [])

    def _energise(self, place: FakeOutlet, command: Energise) -> str | None:
        if place.session_id == command.session_id:
            place.limits = command.limits
            return None
        if place.session_id is not None:
            return "outlet_busy"
        if any(event.session_id == command.session_id and event.kind is EventKind.ENDED for event in self.events.kept):
            return "session_over"
        if place.refusal is not None:
            return place.refusal
        place.session_id, place.limits, place.loaded = command.session_id, command.limits, command.had_load
        place.base = place.count()
        place.used = MeterCount(command.used_energy_mwh, command.used_powered_ms, command.used_charging_ms)
        self._note(place, EventKind.CLOSED)
        return None

    # --- Socket -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(
        self, path: Path, peer_roles: PeerRoles | None = None, each_turn: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Serve the guard's socket at `path` with the real server, in a thread, which also calls `each_turn`."""
        server = LinkServer(
            path,
            Welcome(guard_protocol.VERSION, self.events.guard_run, f"epoch-{self.epochs}", list(self.outlets) or [1]),
            self.events,
            self.handle,
            self.snapshot,
            self.bus_view,
            self.clock,
            self.maintenance_state,
            peer_roles or PeerRoles.of_this_machine(),
        )
        self.path, self.server = path, server
        over = threading.Event()

        def serve() -> None:
            for turn in itertools.count():
                ready, _, _ = select.select(server.descriptors, [], [], TURN_S)
                if over.is_set():
                    return
                with self.lock:
                    server.serve(ready)
                    each_turn()
                    server.push_events()
                    if turn % SNAPSHOT_TURNS == 0:
                        server.publish(self.snapshot())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            server.close()


class Link:
    """`link.client.GuardLink` as the service sees it."""

    def __init__(
        self,
        guard: FakeGuard,
        on_snapshot: Callable[[Snapshot], None],
        on_event: Callable[[Event], Awaitable[None]],
        on_link: Callable[[bool], None],
    ) -> None:
        self.guard = guard
        self.on_snapshot = on_snapshot
        self.on_event = on_event
        self.on_link = on_link
        self.connected = False
        self.sent = 0

    async def run(self) -> None:
        """Do nothing: the tests connect by hand."""

    async def request(self, make: Callable[[int], Command], timeout_s: float = 2.0) -> None:
        guard = self.guard
        guard.before_request()
        if not self.connected:
            raise Refused("guard_unreachable")
        answer = guard.handle(make(len(guard.commands) + 1))
        if isinstance(answer, Refusal):
            raise Refused(answer.code, **answer.params)
        if guard.deaf:
            raise Refused("guard_unreachable")

    def acknowledge(self, guard_run: str, seq: int) -> None:
        self.guard.events.acknowledge(guard_run, seq)
