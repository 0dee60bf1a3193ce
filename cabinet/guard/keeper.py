"""Parent process of the guard: opens every relay and the contactor at once if the guard is dead or silent.

It forks the guard instead of starting a new interpreter: both then share their memory, and a new guard is ready in a
moment. It waits only for the beat, never for an action of the guard. Hardware access is forked off as well
(`_open_all`): a bus that hangs does not block the keeper, and a pin library loaded here would lack its threads in every
later guard. Its real-time priority is one above the guard's: a spinning guard cannot keep the keeper from its turn. A
log line may block: the keeper writes one only after it has done all it can.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

from cabinet.clock import MS, NS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard.counters import Counters
from cabinet.guard.log import LogThread
from cabinet.guard.loop import OPENED, PIPE_BEATS, SWITCH_INTERVAL_S, become_realtime, run_guard
from cabinet.hardware.failsafe import OpenBus, OpenPins, open_everything
from cabinet.sections import nanoseconds
from cabinet.system.sd_notify import Notifier

log = logging.getLogger(__name__)

START_NS = 10 * NS  # a guard may take so long until its first beat: everything is open meanwhile
LAST_WORDS_NS = 3 * NS  # time for a guard that has opened everything to write its state down
MAX_OPENING_NS = NS  # longest time for opening everything; a hung bus costs 20 ms a try
LIVED_NS = 10 * NS  # a guard that lived so long did not fail at its start
FIRST_WAIT_NS = NS // 5
MAX_WAIT_NS = NS  # systemd's watchdog waits 2 s
FEED_NS = NS // 2
REFUSED_TO_START = 2  # exit status of a guard that reports its error in one line
_ENDING = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
}  # SIGHUP: the terminal of the start is gone
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Keeper:
    """Runner of the guards, one after the other until SIGTERM."""

    def __init__(
        self,
        config: Config,
        open_bus: OpenBus,
        open_pins: OpenPins,
        clock: Clock,
        idle_period_ns: int = 0,
    ) -> None:
        """Set up the keeper. `idle_period_ns`, of a demonstration: no real time, see also `Loop.period_ns`."""
        self._idle_period_ns = idle_period_ns
        self._config = config
        self._open_bus = open_bus
        self._open_pins = open_pins
        self._clock = clock
        self._counters = Counters(len(config.outlet))
        self._timeout_ns = nanoseconds(config.guard.keeper_timeout_s)
        self._notifier = Notifier()
        # Plain values and a pipe, async-signal-safe: a handler must not wait for the code that it interrupted.
        self._stop_asked = False
        self._wake_up, self._wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._guard: int | None = None  # pidfd: unlike a pid, it can never refer to another process
        self._beaten = False  # whether the present guard, or the last one, reached its first beat
        self._unfinished_openers: list[int] = []
        self._realtime = False

    def run(self) -> int:
        """Return the keeper's exit status: 0 after SIGTERM, 2 if the first guard refused to start.

        A later guard may fail for a passing reason, such as a disk under repair, and there is no person at the cabinet
        to restart it.
        """
        _set_process_name(b"cabinet-keeper")
        for number in _ENDING:
            signal.signal(number, self._stop)
        if not self._idle_period_ns:
            priority = self._config.guard.realtime_priority
            self._realtime = become_realtime(priority + 1 if priority else 0)
        else:
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        wait_ns = FIRST_WAIT_NS
        first = True
        while not self._stopping():
            started_ns = self._clock.monotonic_ns()
            status = self._run_one_guard()
            if self._stopping():
                break
            if status == REFUSED_TO_START and first and not self._beaten:
                return REFUSED_TO_START
            first = False
            if self._clock.monotonic_ns() - started_ns > LIVED_NS:
                wait_ns = FIRST_WAIT_NS
            log.warning("a new guard starts in %.1f s", wait_ns / NS)
            self._notifier.alive()
            _readable(self._wake_up, wait_ns)
            wait_ns = min(2 * wait_ns, MAX_WAIT_NS)
        return 0

    def _run_one_guard(self) -> int:
        """Run one guard from start to death. Return its exit status, or -signal; everything is open then."""
        beats, beat_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(beat_fd, fcntl.F_SETPIPE_SZ, PIPE_BEATS)  # when the pipe is full, the guard detects a hung keeper
        with _signals_blocked():
            guard = -1 if self._stopping() else os.fork()
            if guard == 0:
                os.close(beats)
                self._become_guard(beat_fd)
            os.close(beat_fd)
            if guard == -1:
                os.close(beats)
                return 0
            self._guard = os.pidfd_open(guard)
        why = self._watch(beats)
        os.close(beats)
        if why == "silent":
            self._signal(signal.SIGKILL)
        self._open_all()
        while not _readable(self._guard, MAX_OPENING_NS):  # hanging in its last lines, or in a driver
            self._signal(signal.SIGKILL)
            self._open_all()
        status = self._reap(guard)
        opened = self._open_all()  # lines that the dying guard still held are free now
        if not opened:
            opened = self._open_all()
        if not opened or not self._stopping():
            result = "everything opened" if opened else "NOT everything could be opened: cut the cabinet's supply"
            log.error("guard %s (exit status %d); %s", why, status, result)
        return status

    def _watch(self, beats: int) -> str:
        """Return "dead" when the guard's end of the pipe has closed, "silent" when no beat came in time."""
        deadline_ns = self._clock.monotonic_ns() + START_NS
        self._beaten, all_open = False, True
        while True:
            left_ns = deadline_ns - self._clock.monotonic_ns()
            if all_open:
                self._notifier.alive()  # between its first and its last beat only the guard does that
                left_ns = min(left_ns, FEED_NS)
            if _readable(beats, left_ns):
                beat = os.read(beats, 65_536)
                if not beat:
                    return "dead"
                self._beaten, all_open = True, beat.endswith(OPENED)
                deadline_ns = self._clock.monotonic_ns() + (LAST_WORDS_NS if all_open else self._timeout_ns)
            elif self._clock.monotonic_ns() >= deadline_ns:
                return "silent"

    def _reap(self, guard: int) -> int:
        assert self._guard is not None  # set by `_run_one_guard`
        with _signals_blocked():
            os.close(self._guard)
            self._guard = None
            _, status = os.waitpid(guard, 0)
        return os.waitstatus_to_exitcode(status)

    def _open_all(self) -> bool:
        """Open everything in a separate process; return whether all of it worked.

        A process that is still busy after `MAX_OPENING_NS` is killed and left behind.
        """
        self._notifier.alive()  # whatever the result, the keeper is acting
        self._unfinished_openers = [
            opener for opener in self._unfinished_openers if os.waitpid(opener, os.WNOHANG) == (0, 0)
        ]
        try:
            opener = os.fork()
        except OSError as error:
            opened = self._open_here()
            log.error("keeper: cannot fork (%s); opened by itself", error)
            return opened
        if opener == 0:
            _never_return(self._become_opener)
        over = os.pidfd_open(opener)
        done = _readable(over, MAX_OPENING_NS)
        os.close(over)
        if done:
            return os.waitpid(opener, 0)[1] == 0
        os.kill(opener, signal.SIGKILL)
        self._unfinished_openers.append(opener)
        return False

    def _open_here(self) -> bool:
        errors = open_everything(self._config, self._open_bus, self._open_pins)
        for error in errors:
            log.error("keeper: opening met %s", error)
        return not errors

    def _become_opener(self) -> None:
        _set_process_name(b"cabinet-opener")
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)  # it ends in a moment
        if not self._open_here():
            raise SystemExit(1)

    def _stopping(self) -> bool:
        return self._stop_asked

    def _stop(self, *_: object) -> None:
        """Let the guard end by itself: it opens everything, and the keeper does so again."""
        self._stop_asked = True
        self._signal(signal.SIGTERM)
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the keeper as well
            os.write(self._wake_fd, b".")

    def _signal(self, number: signal.Signals) -> None:
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                signal.pidfd_send_signal(self._guard, number)

    def _become_guard(self, beat_fd: int) -> None:
        _set_process_name(b"cabinet-guard")
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)  # Ctrl-C goes to the keeper, which ends the guard in order
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # if the keeper dies: open everything and exit
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        lines = LogThread()
        parts = self._config, self._open_bus, self._open_pins, self._clock, self._counters
        _never_return(lambda: run_guard(*parts, beat_fd, self._realtime, self._idle_period_ns), lines.close)


def _never_return(life: Callable[[], None], last_words: Callable[[], None] = lambda: None) -> None:
    """End the forked process with `life`: none of the keeper's own clean-up may run in it."""
    status = 1
    try:
        life()
        status = 0
    except CabinetError as error:
        log.error("%s", error)
        status = REFUSED_TO_START
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        log.critical("%s", traceback.format_exc())
    finally:
        last_words()
        sys.stderr.flush()
        os._exit(status)


def _set_process_name(name: bytes) -> None:
    """Set the name that `top` and `ps` show; all three processes began as one command."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name)


def _readable(descriptor: int, within_ns: int) -> bool:
    """Return whether there is data to read or, for a pidfd, whether the process has ended; wait at most this long."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0, -(-within_ns // MS))))


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Hold back the signals that end the keeper: they arrive before or after the block, not within it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
