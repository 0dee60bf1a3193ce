"""The guard's process: real time if permitted, one loop, and a beat to the keeper with every turn."""

import ctypes
import gc
import logging
import os
import select
import signal
import sys
from pathlib import Path

from cabinet.clock import NS, Clock
from cabinet.config.keys import Config
from cabinet.guard.alerts import AlertLines
from cabinet.guard.build import build_guard
from cabinet.guard.counters import Counters
from cabinet.guard.guard import Guard
from cabinet.guard.recorder import Recorder
from cabinet.guard.state_files import StateWriter
from cabinet.guard.trip_writer import TripWriter
from cabinet.hardware.failsafe import OpenBus, OpenPins
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import Welcome
from cabinet.link.peer_roles import PeerRoles
from cabinet.link.server import LinkServer
from cabinet.sections import nanoseconds
from cabinet.system import run_folder
from cabinet.system.sd_notify import Notifier, watchdog_interval_s
from cabinet.trips.folder import FOLDER

log = logging.getLogger(__name__)

# mlockall(2): lock present and future pages, but do not load pages that are never touched
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
SWITCH_INTERVAL_S = 0.0005  # between Python threads: the edge reader and the state writer soon release the interpreter
COLLECT_NS = 10 * NS

# beats to the keeper
PIPE_BEATS = 4096  # in a pipe of one page, the smallest size: 12 s of them at the default scan
TURN = b"."  # a turn of the loop is complete
OPENED = b"o"  # everything is open; the rest may take its time


def run_guard(
    config: Config,
    open_bus: OpenBus,
    open_pins: OpenPins,
    clock: Clock,
    counters: Counters,
    beat_fd: int,
    realtime: bool,
    idle_period_ns: int = 0,
) -> None:
    """Run the guard until SIGTERM; everything is then open. The keeper handles every exception that escapes.

    `idle_period_ns`: see `Loop.period_ns`; 0 on every real cabinet.
    """
    if realtime:
        become_realtime(
            config.guard.realtime_priority
        )  # below the keeper, which must get its turn if this process spins
    state = Path(config.paths.state)
    run = Path(config.paths.run)
    state_writer = StateWriter(state, run_folder.guard_folder(run), counters)
    trip_writer = TripWriter(state / FOLDER, clock)
    recorder = Recorder(config, trip_writer.put)
    pins = open_pins()
    parts = clock, counters, state_writer, recorder, realtime, idle_period_ns
    guard, alerts = build_guard(config, open_bus(), pins, *parts)
    guard.measure_bus()
    welcome = Welcome(guard_protocol.VERSION, guard.guard_run, guard.epoch, [unit.number for unit in guard.units])
    path = run_folder.guard_socket(run)
    peer_roles = PeerRoles.of_this_machine()
    calls = guard.handle, guard.snapshot, guard.bus_view, clock, guard.maintenance_state
    server = LinkServer(path, welcome, guard.events, *calls, peer_roles)
    loop = Loop(config, guard, alerts, server, clock, beat_fd, idle_period_ns)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    try:
        loop.run()
    finally:
        if guard.stop():
            beat(beat_fd, OPENED)
        server.close()
        state_writer.close()
        recorder.finish()
        trip_writer.close()


class Loop:
    """Loop that waits for a tick, an alert edge or a command, until the first of them comes."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        alerts: AlertLines,
        server: LinkServer,
        clock: Clock,
        beat_fd: int,
        idle_period_ns: int = 0,
    ) -> None:
        self._guard = guard
        self._alerts = alerts
        self._server = server
        self._clock = clock
        self._beat_fd = beat_fd
        self._period_ns = nanoseconds(config.guard.scan_period_s)
        self._idle_period_ns = idle_period_ns
        self._odd_tick = False
        self._publish_ns = NS // config.guard.snapshot_hz
        self._notifier = Notifier()
        interval_s = watchdog_interval_s()
        self._watchdog_ns = None if interval_s is None else nanoseconds(interval_s)
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    @property
    def period_ns(self) -> int:
        """Time from one tick to the next: the scan period.

        In a demonstration every second one is longer while no outlet is in use: voltage samples that are all farther
        apart than a scan period would lose the phase of the mains.
        """
        guard = self._guard
        if self._odd_tick or not self._idle_period_ns or guard.contactor.busy or guard.maintenance_control.testing:
            return self._period_ns
        return self._idle_period_ns if all(unit.charge is None for unit in guard.units) else self._period_ns

    def run(self) -> None:
        """Run until `stop`. A late tick receives its lateness; periods that passed meanwhile are not made up for."""
        clock, guard = self._clock, self._guard
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection at the wrong moment makes a tick late; see the end of the loop
        now_ns = clock.monotonic_ns()
        next_tick_ns = next_publish_ns = next_watchdog_ns = now_ns
        next_collect_ns = now_ns + COLLECT_NS
        published_seq = 0
        self._notifier.ready(f"protecting {len(guard.units)} outlets")
        log.info("protecting %d outlets", len(guard.units))
        while not self._stopping:
            self._wait_until(next_tick_ns)
            now_ns = clock.monotonic_ns()
            if now_ns < next_tick_ns:
                next_tick_ns = min(next_tick_ns, now_ns + self.period_ns)  # a command may end a demonstration's idling
                continue
            started_ns = now_ns
            guard.tick(now_ns - next_tick_ns)
            if not beat(self._beat_fd, TURN):
                log.error("the keeper is gone or hangs: opening everything")
                return
            self._odd_tick = not self._odd_tick
            next_tick_ns += self.period_ns
            now_ns = clock.monotonic_ns()
            if next_tick_ns < now_ns:
                next_tick_ns = now_ns
            self._server.push_events()
            if now_ns >= next_publish_ns or guard.events.last_seq != published_seq:
                # at once after an event: a client that reads of a trip must not still find its outlet in use
                published_seq = guard.events.last_seq
                self._server.publish(guard.snapshot())
                next_publish_ns = now_ns + self._publish_ns
            if self._watchdog_ns is not None and now_ns >= next_watchdog_ns:
                self._notifier.alive()
                next_watchdog_ns = now_ns + self._watchdog_ns
            if now_ns >= next_collect_ns:
                gc.collect(0)  # young objects only: a fraction of a millisecond, as all others are frozen
                next_collect_ns = now_ns + COLLECT_NS
            now_ns = clock.monotonic_ns()
            guard.note_turn(now_ns - started_ns, now_ns)

    def _wait_until(self, deadline_ns: int) -> None:
        """Return at the deadline, or after serving an alert or a client, or watching an outlet."""
        left_s = 0.0 if self._guard.watching else max(0.0, (deadline_ns - self._clock.monotonic_ns()) / NS)
        ready, _, _ = select.select([self._alerts.wake_fd, *self._server.descriptors], [], [], left_s)
        if self._alerts.wake_fd in ready:
            self._guard.answer_alerts()
        if self._guard.watching:
            self._guard.watch()
        self._server.serve(ready)


def beat(beat_fd: int, what: bytes) -> bool:
    """Send a beat to the keeper. Return False if it is gone or hangs: a full pipe is `PIPE_BEATS` unread beats."""
    try:
        os.write(beat_fd, what)
    except (BlockingIOError, BrokenPipeError):
        return False
    return True


def become_realtime(priority: int) -> bool:
    """Set SCHED_FIFO for this process and its children. Return False, with a warning, if that is not permitted."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if priority == 0:
        log.warning("real time switched off by guard.realtime_priority = 0: reaction times are not guaranteed")
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        log.warning(
            "real-time scheduling is not permitted: reaction times are not guaranteed "
            "(run by the systemd unit, or allow it with: ulimit -r %d)",
            priority,
        )
        return False
    lock_memory()
    return True


def lock_memory() -> None:
    """Lock the pages of this process in memory; log a warning if that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        log.warning("memory cannot be locked (%s): a page fault may delay the guard", os.strerror(ctypes.get_errno()))
