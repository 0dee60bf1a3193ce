"""Log lines of the guard, written by a thread: a full pipe or a stopped journal never delays a tick.

Lines that are not read in time are kept up to a bound; lines beyond it are only counted, and the count is logged.
"""

import logging
import logging.handlers
import queue
import threading

MAX_LINES = 1000
LAST_WORDS_S = 0.5  # time for the last lines when the guard ends


class LogThread:
    """Log thread that takes over the root logger's handlers and runs them."""

    def __init__(self) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(MAX_LINES)
        root = logging.getLogger()
        handlers = list(root.handlers)
        root.handlers = [_Bounded(self._lines)]
        self._thread = threading.Thread(target=self._write_all, args=(handlers,), name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Return when all lines are written, or give up after `LAST_WORDS_S`."""
        try:
            self._lines.put(None, timeout=LAST_WORDS_S)
        except queue.Full:
            return  # the lines are not read
        self._thread.join(LAST_WORDS_S)

    def _write_all(self, handlers: list[logging.Handler]) -> None:
        while (record := self._lines.get()) is not None:
            for handler in handlers:
                handler.handle(record)


class _Bounded(logging.handlers.QueueHandler):
    """Queue handler that never waits for room."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]") -> None:
        super().__init__(lines)
        self._lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                self.queue.put_nowait(
                    logging.makeLogRecord(
                        {
                            "name": __name__,
                            "levelno": logging.ERROR,
                            "levelname": "ERROR",
                            "msg": f"{self._lost} log lines are missing here: nobody read them in time",
                        }
                    )
                )
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1
