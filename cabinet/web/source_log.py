"""Log lines caused by requests: at most one per second and source, to keep a flood from filling the log.

Each entry is one line: request data in it is made printable. The traceback of a bug follows its line at most once a
minute per source; otherwise the line has only the exception's name and message.
"""

import logging
from collections import OrderedDict
from typing import Any, NamedTuple

from cabinet.clock import NS, Clock

GAP_NS = NS  # between two lines of one source
TRACEBACK_GAP_NS = 60 * NS  # between two tracebacks of one source
MAX_LINES_A_SECOND = 10  # of all sources together
MAX_SOURCES = 1000
MAX_LENGTH = 500


class SourceLog:
    """Rate limiter with one logger per source; lines within 1 s of the source's last line are dropped and counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Said] = OrderedDict()
        self._second = 0
        self._lines = 0  # written in the current second

    def logger(self, name: str, source: str) -> "SourceLogger":
        return SourceLogger(logging.getLogger(name), self, source)

    def permit(self, source: str, with_traceback: bool) -> "LogPermit | None":
        """Return permission for one line now, or None: the line is dropped and counted."""
        now_ns = self._clock.monotonic_ns()
        said = self._sources.pop(source, None) or _Said(now_ns - GAP_NS, now_ns - TRACEBACK_GAP_NS)
        self._sources[source] = said
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if now_ns // NS != self._second:
            self._second, self._lines = now_ns // NS, 0
        if now_ns - said.at_ns < GAP_NS or self._lines >= MAX_LINES_A_SECOND:
            said.left_out += 1
            return None
        self._lines += 1
        permit = LogPermit(said.left_out, with_traceback and now_ns - said.traceback_at_ns >= TRACEBACK_GAP_NS)
        said.left_out, said.at_ns = 0, now_ns
        if permit.traceback:
            said.traceback_at_ns = now_ns
        return permit


class LogPermit(NamedTuple):
    """Permission for one line. `left_out`: dropped lines since the last one; `traceback`: a traceback may follow."""

    left_out: int
    traceback: bool


class _Said:
    def __init__(self, at_ns: int, traceback_at_ns: int) -> None:
        self.at_ns = at_ns
        self.traceback_at_ns = traceback_at_ns
        self.left_out = 0


class SourceLogger(logging.LoggerAdapter[logging.Logger]):
    """Logger of one source, used like any other logger."""

    def __init__(self, logger: logging.Logger, log: SourceLog, source: str) -> None:
        super().__init__(logger, {})
        self._of_all = log
        self._source = source

    @property
    def level(self) -> int:
        """Return the effective level, which uvicorn reads."""
        return self.logger.getEffectiveLevel()

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if not self.isEnabledFor(level):
            return
        error = kwargs.pop("exc_info", None)
        permit = self._of_all.permit(self._source, error is not None)
        if permit is None:
            return
        words = _printable(str(msg) % args if args else str(msg))
        if isinstance(error, BaseException) and not permit.traceback:
            words += _printable(f": {type(error).__name__}: {error}")
        if permit.left_out:
            words += f" ({permit.left_out} lines like it left out)"
        self.logger.log(level, "%s: %s", self._source, words, exc_info=error if permit.traceback else None)


def _printable(text: str) -> str:
    """Return the text on one line, without terminal control characters, cut to MAX_LENGTH."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text.strip()[:MAX_LENGTH])
