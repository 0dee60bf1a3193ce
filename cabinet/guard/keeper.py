"""The guard's parent: when the guard is dead or silent, every relay and the contactor open at once.

It forks the guard instead of starting a new interpreter, so that both share their memory and a new guard is there
in a moment. It waits only for the beat, never for anything that the guard would have to do. What touches hardware is
forked off as well (`_open_all`): a bus that hangs does not hold the keeper, and a pin library that was loaded here
would leave its threads out of every later guard. The keeper writes log lines only while everything is open.
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

from cabinet.clock import MS, NS, Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError
from cabinet.guard.counters import Counters
from cabinet.guard.limits import nanoseconds
from cabinet.guard.log import LogThread
from cabinet.guard.loop import OPENED, OpenBus, OpenPins, become_realtime, run_guard
from cabinet.notify import Notifier
from cabinet.relays import open_everything

log = logging.getLogger(__name__)

START_NS = 10 * NS  # a guard may take so long until its first beat: everything is open meanwhile
LAST_WORDS_NS = 3 * NS  # what a guard that has opened everything may take to write down what it knows
HAND_NS = NS  # opening everything takes so long at most; a hung bus costs 20 ms a try
LIVED_NS = 10 * NS  # a guard that lived so long did not fail at its start
FIRST_WAIT_NS = NS // 5
LONGEST_WAIT_NS = NS  # systemd's watchdog waits 2 s
FEED_NS = NS // 2
REFUSED_TO_START = 2  # exit status of a guard that says in one line what is wrong
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Keeper:
    """Runs guards one after the other until SIGTERM."""

    def __init__(self, config: Config, open_bus: OpenBus, open_pins: OpenPins, clock: Clock) -> None:
        self._config = config
        self._open_bus = open_bus
        self._open_pins = open_pins
        self._clock = clock
        self._counters = Counters(len(config.outlet))
        self._timeout_ns = nanoseconds(config.guard.keeper_timeout_s)
        self._notifier = Notifier()
        self._stop_asked = threading.Event()
        self._guard: int | None = None  # pidfd: unlike a pid it can never be somebody else's
        self._realtime = False

    def run(self) -> int:
        """The keeper's exit status: 0 after SIGTERM, 2 where the first guard refused to start.

        A later one may find what passes, a disk that is being repaired: nobody stands beside the cabinet to start it.
        """
        _be_called(b"cabinet-keeper")
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        self._realtime = become_realtime(self._config.guard.realtime_priority)
        wait_ns = FIRST_WAIT_NS
        first = True
        while not self._stop_asked.is_set():
            started_ns = self._clock.monotonic_ns()
            status = self._one_life()
            if self._stop_asked.is_set():
                break
            if status == REFUSED_TO_START and first:
                return REFUSED_TO_START
            first = False
            if self._clock.monotonic_ns() - started_ns > LIVED_NS:
                wait_ns = FIRST_WAIT_NS
            log.warning("a new guard starts in %.1f s", wait_ns / NS)
            self._notifier.alive()
            self._stop_asked.wait(wait_ns / NS)
            wait_ns = min(2 * wait_ns, LONGEST_WAIT_NS)
        return 0

    def _one_life(self) -> int:
        """One guard from birth to death; everything is open when it returns. Its exit status, or -signal."""
        beats, beat_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with _signals_wait():
            guard = -1 if self._stop_asked.is_set() else os.fork()
            if guard == 0:
                os.close(beats)
                self._be_the_guard(beat_fd)
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
        while not _over(self._guard, HAND_NS):  # hanging in its last lines, or in a driver
            self._signal(signal.SIGKILL)
            self._open_all()
        status = self._reap(guard)
        self._open_all()  # lines that the dying guard still held are free now
        if not self._stop_asked.is_set():
            log.error("guard %s (exit status %d); everything opened", why, status)
        return status

    def _watch(self, beats: int) -> str:
        """Returns "dead" when the guard's end of the pipe closed, "silent" when no beat came in time."""
        deadline_ns = self._clock.monotonic_ns() + START_NS
        starting = True
        poll = select.poll()
        poll.register(beats, select.POLLIN)
        while True:
            left_ns = deadline_ns - self._clock.monotonic_ns()
            if starting:
                self._notifier.alive()  # from its first beat on the guard does that, and nobody else
                left_ns = min(left_ns, FEED_NS)
            if poll.poll(max(0, -(-left_ns // MS))):
                beat = os.read(beats, 65_536)
                if not beat:
                    return "dead"
                starting = False
                allowed_ns = LAST_WORDS_NS if beat.endswith(OPENED) else self._timeout_ns
                deadline_ns = self._clock.monotonic_ns() + allowed_ns
            elif self._clock.monotonic_ns() >= deadline_ns:
                return "silent"

    def _reap(self, guard: int) -> int:
        assert self._guard is not None  # the life that ends here
        with _signals_wait():
            os.close(self._guard)
            self._guard = None
            _, status = os.waitpid(guard, 0)
        return os.waitstatus_to_exitcode(status)

    def _open_all(self) -> None:
        """In a process of its own; one that is still busy after `HAND_NS` is left behind."""
        try:
            hand = os.fork()
        except OSError as error:
            log.error("keeper: cannot fork (%s); opening by itself", error)
            self._open_here()
            return
        if hand == 0:
            _never_return(self._be_the_hand)
        over = os.pidfd_open(hand)
        if _over(over, HAND_NS):
            os.waitpid(hand, 0)
        else:
            os.kill(hand, signal.SIGKILL)
            log.error("keeper: opening everything is still not done after %d ms", HAND_NS // MS)
        os.close(over)

    def _open_here(self) -> None:
        for error in open_everything(self._config, self._open_bus, self._open_pins):
            log.error("keeper: opening met %s", error)

    def _be_the_hand(self) -> None:
        _be_called(b"cabinet-hand")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is over in a moment
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._open_here()

    def _stop(self, *_: object) -> None:
        """Let the guard end by itself: it opens everything, and the keeper does so again."""
        self._stop_asked.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                signal.pidfd_send_signal(self._guard, number)

    def _be_the_guard(self, beat_fd: int) -> None:
        _be_called(b"cabinet-guard")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the keeper, which ends the guard in order
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # without a keeper: open everything and go
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        lines = LogThread()
        parts = self._config, self._open_bus, self._open_pins, self._clock, self._counters
        _never_return(lambda: run_guard(*parts, beat_fd, self._realtime), lines.close)


def _never_return(life: Callable[[], None], last_words: Callable[[], None] = lambda: None) -> None:
    """Ends the forked process with `life`: nothing of the keeper's own clean-up may happen in it."""
    status = 1
    try:
        life()
        status = 0
    except CabinetError as error:
        log.error("%s", error)
        status = REFUSED_TO_START
    except BaseException:
        log.critical("%s", traceback.format_exc())
    finally:
        last_words()
        sys.stderr.flush()
        os._exit(status)


def _be_called(name: bytes) -> None:
    """What `top` and `ps` show; all three began as one command."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name)


def _over(pidfd: int, within_ns: int) -> bool:
    """Whether the process has ended, waiting for that at most `within_ns`."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within_ns // MS))


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGTERM and SIGINT come before or after this, not between the lines of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
