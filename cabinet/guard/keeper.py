"""The guard's parent: when the guard is dead or silent, every relay and the contactor open at once.

It forks the guard instead of starting a new interpreter, so that both share their memory and a new guard is there
in a moment. It waits only for the beat, never for anything that the guard would have to do.
"""

import ctypes
import logging
import os
import select
import signal
import sys
import threading
import traceback

from cabinet.clock import NS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard.counters import Counters
from cabinet.guard.limits import nanoseconds
from cabinet.guard.loop import OpenBus, OpenPins, run_guard
from cabinet.relays import open_everything

log = logging.getLogger(__name__)

START_NS = 10 * NS  # a guard may take so long until its first beat: everything is open meanwhile
LIVED_NS = 10 * NS  # a guard that lived so long did not fail at its start
FIRST_WAIT_NS = NS // 5
LONGEST_WAIT_NS = 5 * NS
REFUSED_TO_START = 2  # exit status of a guard that says in one line what is wrong
_PR_SET_PDEATHSIG = 1


class Keeper:
    """Runs guards one after the other until SIGTERM."""

    def __init__(self, config: Config, open_bus: OpenBus, open_pins: OpenPins, clock: Clock) -> None:
        self._config = config
        self._open_bus = open_bus
        self._open_pins = open_pins
        self._clock = clock
        self._counters = Counters(len(config.outlet))
        self._timeout_ns = nanoseconds(config.guard.keeper_timeout_s)
        self._stop_asked = threading.Event()
        self._child: int | None = None

    def run(self) -> int:
        """The keeper's exit status: 0 after SIGTERM, 2 where the guard refused to start."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        wait_ns = FIRST_WAIT_NS
        while not self._stop_asked.is_set():
            started_ns = self._clock.monotonic_ns()
            status = self._one_life()
            if self._stop_asked.is_set():
                break
            if status == REFUSED_TO_START:
                return REFUSED_TO_START
            if self._clock.monotonic_ns() - started_ns > LIVED_NS:
                wait_ns = FIRST_WAIT_NS
            log.warning("a new guard starts in %.1f s", wait_ns / NS)
            self._clock.sleep_until(self._clock.monotonic_ns() + wait_ns)
            wait_ns = min(2 * wait_ns, LONGEST_WAIT_NS)
        return 0

    def _one_life(self) -> int:
        """One guard from birth to death; everything is open when it returns. Its exit status, or -signal."""
        beats, beat_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            os.close(beats)
            self._be_the_guard(beat_fd)
        self._child = child
        os.close(beat_fd)
        try:
            why = self._watch(beats)
        finally:
            os.close(beats)
        if why == "silent":
            os.kill(child, signal.SIGKILL)
        opened = self._open_all()
        _, status = os.waitpid(child, 0)
        if not opened:
            self._open_all()  # lines that a dying guard still held are free now
        self._child = None
        code = os.waitstatus_to_exitcode(status)
        if not self._stop_asked.is_set():
            log.error("guard %s (exit status %d); everything opened", why, code)
        return code

    def _watch(self, beats: int) -> str:
        """Returns "dead" when the guard's end of the pipe closed, "silent" when no beat came in time."""
        deadline_ns = self._clock.monotonic_ns() + START_NS
        poll = select.poll()
        poll.register(beats, select.POLLIN)
        while True:
            left_ms = max(0, (deadline_ns - self._clock.monotonic_ns() + 999_999) // 1_000_000)
            if not poll.poll(left_ms):
                return "silent"
            if not os.read(beats, 65_536):
                return "dead"
            deadline_ns = self._clock.monotonic_ns() + self._timeout_ns

    def _open_all(self) -> bool:
        errors = open_everything(self._config, self._open_bus, self._open_pins)
        for error in errors:
            log.error("keeper: opening met %s", error)
        return not errors

    def _stop(self, *_: object) -> None:
        """Let the guard end by itself: it opens everything, and the keeper does so again."""
        self._stop_asked.set()
        if self._child is not None:
            os.kill(self._child, signal.SIGTERM)

    def _be_the_guard(self, beat_fd: int) -> None:
        """Never returns: the guard's life in the child process."""
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the keeper, which ends the guard in order
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # without a keeper: open everything and go
            run_guard(self._config, self._open_bus, self._open_pins, self._clock, self._counters, beat_fd)
            status = 0
        except CabinetError as error:
            log.error("%s", error)
            status = REFUSED_TO_START
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
