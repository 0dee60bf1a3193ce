"""Simulated cabinet: the real guard over the simulated chips and world, in one process, under a manual clock.

`run` ticks as the guard's loop would; `stride` makes ticks seconds apart and reads everything in each, so that a day
of charging takes seconds. `start`, `stop` and `events` replace the service.
"""

import functools
import select
from importlib import resources
from pathlib import Path

from cabinet.clock import MS, NS, ManualClock
from cabinet.config import Config, parse
from cabinet.guard.alerts import AlertLines
from cabinet.guard.build import build_guard
from cabinet.guard.contactor import MANY, SETTLE_NS, SETTLE_OF_MANY_NS
from cabinet.guard.counters import Counters
from cabinet.guard.guard import Guard
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.recorder import Recorder
from cabinet.guard.state_files import StateWriter
from cabinet.guard.trip_writer import TripWriter
from cabinet.link.guard_protocol import ClearLatch, Done, Energise, Open, Refusal
from cabinet.model import ChargeLimits, EndReason, Event, EventKind, OutletState
from cabinet.sections import nanoseconds
from cabinet.sim.build import build_world
from cabinet.sim.catalogue import make_load
from cabinet.sim.pins import LineFactory
from cabinet.sim.smbus import SmbusCalls
from cabinet.trips.folder import FOLDER
from cabinet_testing import sim_computer
from cabinet_testing.sim_adapters import SimBus, SimPinFactory
from cabinet_testing.sim_computer import SimComputer

NO_LIMITS = ChargeLimits()
UNTIL_READY_NS = 1000 * MS  # sensors up, self-test done, contactor closed
WELD_CHECK_NS = SETTLE_NS
WELD_STEP_NS = 40 * MS  # neither late nor without a heartbeat
WATCH_PAUSE_NS = 50_000  # time of a turn of the loop without a reading


NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}  # for strides: the hardware would open after 100 ms without a tick
OUTLETS = 10


def demo_config(changes: dict[str, str] | None = None, outlets: int = OUTLETS) -> Config:
    """The ten-outlet example with the patience of a real cabinet; `changes` replace text in it.

    With fewer `outlets` a tick is cheaper, but its reads also take less of the cabinet's time and each value has its
    turn more often: for tests with results that do not depend on that. Two outlets share a meter chip.
    """
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    text = text if outlets == OUTLETS else text[: text.index(f"[[outlet]]\nnumber = {outlets + 1}\n")]
    for key in ("full_hold_s = 20.0", "unplugged_hold_s = 10.0", "after_s = 0.15"):
        assert key in text
        text = text.replace(key, "")
    for old, new in (changes or {}).items():
        assert old in text, f"demo.toml has no {old!r} to change"
        text = text.replace(old, new)
    return _parsed(text, "demo.toml")


_parsed = functools.cache(parse)


class SimCabinet:
    """World and guard. `seed` rules everything random in the world; `noise=False` lets the meters read exactly."""

    def __init__(
        self,
        state: Path,
        config: Config | None = None,
        seed: int = 1,
        noise: bool = True,
        clock: ManualClock | None = None,
    ) -> None:
        self._computer = sim_computer.chosen()
        self.config = config or demo_config()
        if self._computer is not None:
            self.config = self._computer.configured(self.config)
        self.clock = clock or ManualClock()
        self.world = build_world(self.config, self.clock, seed, noise=noise)
        self.state = state
        self.trips = state / FOLDER
        self.counters = Counters(len(self.config.outlet))
        self._commands = 0
        self._seen_seq = 0
        self.seen: list[Event] = []
        self._lines: AlertLines | None = None
        self.boot()

    def boot(self) -> None:
        """Start a new guard, as after the old one was killed; run until outlets may be closed."""
        self.close()
        self._pins = self.open_pins()
        self._state_writer = StateWriter(self.state, self.state / "run", self.counters)
        self._trip_writer = TripWriter(self.trips, self.clock)
        self._recorder = Recorder(self.config, lambda recorded: self._trip_writer.put(recorded))
        self.guard: Guard
        self.guard, self._lines = build_guard(
            self.config,
            self.open_bus(),
            self._pins,
            self.clock,
            self.counters,
            self._state_writer,
            self._recorder,
            realtime=False,
        )
        self._seen_seq = 0
        self.run(UNTIL_READY_NS)
        if UNTIL_READY_NS >= 1000 * MS:
            if self.guard.contactor.busy:  # the self-test of forty outlets takes longer than that of ten
                self.run(UNTIL_READY_NS, until=lambda: not self.guard.contactor.busy)
            for _ in range(WELD_CHECK_NS // WELD_STEP_NS):
                self.clock.advance_ns(WELD_STEP_NS)
                self.tick()
            if len(self.config.outlet) > MANY:
                self.run(SETTLE_OF_MANY_NS - WELD_CHECK_NS)
            self.run(60 * MS)  # until peaks in a row show other currents

    def open_bus(self) -> SmbusCalls:
        """Return the bus of the guard."""
        bus = SimBus(self.world.bus, self.world.timeline, self.clock)
        return bus if self._computer is None else self._computer.bus(bus, self.config, self.world, self.clock)

    def open_pins(self) -> LineFactory:
        return SimPinFactory(self.world)

    def close(self) -> None:
        """End the guard as if killed; its latches are on disk, because nothing was still to be written."""
        if self._lines is not None:
            self._lines.close()
            self._pins.close()
            self._state_writer.close()
            self._trip_writer.close()
            self._lines = None

    def wait_recorded(self) -> None:
        """Return when every recording handed over is on disk. The cabinet's time stands still meanwhile."""
        self._trip_writer.close()
        self._trip_writer = TripWriter(self.trips, self.clock)

    def stop_guard(self) -> None:
        """End the guard in order, as on SIGTERM."""
        self.guard.stop()
        self._recorder.finish()
        self.close()

    # --- time --------------------------------------------------------------------------------------------------------

    def run(self, duration_ns: int, until=None) -> bool:  # type: ignore[no-untyped-def]
        """Tick at the scan period; return early, with True, if `until()` holds."""
        period_ns = nanoseconds(self.config.guard.scan_period_s)
        end_ns = self.clock.monotonic_ns() + duration_ns
        while self.clock.monotonic_ns() < end_ns:
            start_ns = self.clock.monotonic_ns()
            self.tick()
            self._wait_until(start_ns + period_ns)
            if until is not None and until():
                return True
        return False

    def stride(self, duration_ns: int, step_ns: int = 5 * NS, until=None) -> bool:  # type: ignore[no-untyped-def]
        """Tick `step_ns` apart, each reading everything; return early, with True, if `until()` holds."""
        end_ns = self.clock.monotonic_ns() + duration_ns
        while self.clock.monotonic_ns() < end_ns:
            self.clock.advance_ns(step_ns)
            self.tick(full_scan=True)
            if until is not None and until():
                return True
        return False

    def tick(self, full_scan: bool = False) -> None:
        self.guard.tick(full_scan=full_scan)
        self.seen += self.guard.events.after(self._seen_seq, 1000)
        self._seen_seq = self.guard.events.last_seq
        if self._computer is not None and not full_scan:
            self._finish_turn(self._computer)

    def _finish_turn(self, computer: SimComputer) -> None:
        """Spend the rest of a slow computer's turn; its loop serves lines and watches once, even if it is behind."""
        self.clock.advance_ns(computer.rest_ns(self.config))
        self._serve_lines()
        if self.guard.watching:
            self.guard.watch()

    def _serve_lines(self) -> None:
        self.world.advance_to(self.clock.monotonic_ns())
        self.guard.answer_alerts()

    def _wait_until(self, deadline_ns: int) -> None:
        """Advance to the next tick, or to an alert edge before it, as the loop's select does."""
        assert self._lines is not None
        while self.clock.monotonic_ns() < deadline_ns:
            if self.guard.watching:
                before_ns = self.clock.monotonic_ns()
                self.guard.watch()
                if self.clock.monotonic_ns() == before_ns:  # each has just been looked at
                    self.clock.advance_ns(WATCH_PAUSE_NS)
            else:
                self.clock.sleep_until(min(deadline_ns, self.world.timeline.next_ns))
                self._wake()
            self._serve_lines()

    def _wake(self) -> None:
        """On a slow computer, let the time pass from an edge to the loop that slept."""
        if self._computer is not None:
            assert self._lines is not None
            self.world.advance_to(self.clock.monotonic_ns())
            if select.select([self._lines.wake_fd], [], [], 0)[0]:
                self.clock.advance_ns(self._computer.model.wake_ns)

    # --- Actions -----------------------------------------------------------------------------------------------------

    def plug(self, outlet: int, load: str, charge_percent: float | None = None, speed: float = 1.0) -> None:
        self.world.plug(outlet, make_load(load, charge_percent, speed))

    def start(self, outlet: int, session_id: str = "", limits: ChargeLimits = NO_LIMITS) -> Done | Refusal:
        self._commands += 1
        return self.guard.handle(Energise(self._commands, outlet, session_id or f"s{self._commands}", limits))

    def stop(self, outlet: int, reason: EndReason = EndReason.STOPPED_BY_RESIDENT) -> Done | Refusal:
        self._commands += 1
        return self.guard.handle(Open(self._commands, outlet, reason))

    def clear(self, outlet: int) -> Done | Refusal:
        self._commands += 1
        return self.guard.handle(ClearLatch(self._commands, outlet, "staff"))

    # --- State -------------------------------------------------------------------------------------------------------

    def unit(self, outlet: int) -> OutletUnit:
        return next(unit for unit in self.guard.units if unit.number == outlet)

    def outlet(self, number: int) -> OutletState:
        return self.guard.state(self.unit(number))

    def events(self, outlet: int, *kinds: EventKind) -> list[Event]:
        """Return the events of an outlet so far, in order; only `kinds` if given."""
        return [event for event in self.seen if event.outlet == outlet and (not kinds or event.kind in kinds)]

    def ended(self, outlet: int) -> bool:
        return bool(self.events(outlet, EventKind.ENDED, EventKind.TRIPPED))
