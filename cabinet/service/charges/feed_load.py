"""The cabinet's load in means of five minutes, from the guard's snapshots to the next checkpoint."""

from cabinet.clock import NS
from cabinet.records import LoadSample
from cabinet.store.load import STEP_S
from cabinet.store.moment import Moment

MAX_GAP_NS = 3 * NS  # between two snapshots; if it is longer, the load meanwhile is unknown
MIN_KNOWN_S = 30  # least part of a step with a known load, for a meaningful mean
IDLE_MW = 1_000
IDLE_STEPS = 12  # written together: if no outlet charges, the disk is written to once an hour


class LoadMeans:
    def __init__(self) -> None:
        self._step = 0  # number of the step since 1970
        self._seen_ns = 0
        self._sum_mw_ns = 0
        self._peak_mw = 0
        self._limit_mw: int | None = None
        self._last: tuple[int, int] | None = None  # time and load of the last snapshot
        self._waiting: list[LoadSample] = []

    @property
    def waiting(self) -> list[LoadSample]:
        """Return steps that are over and not written yet."""
        return list(self._waiting)

    def add(self, feed_mw: int, limit_mw: int | None, now: Moment) -> None:
        """Take a snapshot; its load counts for the time since the one before."""
        step = now.unix_ms // 1000 // STEP_S
        if step != self._step:
            self._close()
            self._step = step
        if self._last is not None:
            past_ns = now.monotonic_ns - self._last[0]
            if 0 < past_ns <= MAX_GAP_NS:
                self._seen_ns += past_ns
                self._sum_mw_ns += past_ns * feed_mw
        self._peak_mw = max(self._peak_mw, feed_mw)
        self._limit_mw = limit_mw
        self._last = (now.monotonic_ns, feed_mw)

    def take(self, *, at_once: bool) -> list[LoadSample]:
        """Return the steps to write now; without `at_once`, idle steps wait until there are `IDLE_STEPS`."""
        busy = any(sample.peak_mw >= IDLE_MW for sample in self._waiting)
        if not (at_once or busy or len(self._waiting) >= IDLE_STEPS):
            return []
        taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, samples: list[LoadSample]) -> None:
        """Put back steps after a failed write. If the disk stays full, the oldest are dropped after a day."""
        self._waiting = (samples + self._waiting)[-86_400 // STEP_S :]

    def _close(self) -> None:
        if self._seen_ns >= MIN_KNOWN_S * NS:
            mean_mw = self._sum_mw_ns // self._seen_ns
            self._waiting.append(LoadSample(self._step * STEP_S, mean_mw, self._peak_mw, self._limit_mw))
        self._seen_ns = self._sum_mw_ns = self._peak_mw = 0
