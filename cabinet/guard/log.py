"""Log lines of the guard, written by a thread: a full pipe or a stopped journal never holds up a tick.

What the loop says while nobody reads is kept up to a bound; beyond it lines are counted, and the count is told.
"""

import logging
import logging.handlers
import queue
import threading

MOST_LINES = 1000
LAST_WORDS_S = 0.5  # a guard that ends gives its lines so long to get out


class LogThread:
    """Takes over the root logger's handlers; they do their work in a thread from then on."""

    def __init__(self) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(MOST_LINES)
        root = logging.getLogger()
        handlers = list(root.handlers)
        root.handlers = [_Bounded(self._lines)]
        self._thread = threading.Thread(target=self._write_all, args=(handlers,), name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when everything is written, or is given up after `LAST_WORDS_S`."""
        try:
            self._lines.put(None, timeout=LAST_WORDS_S)
        except queue.Full:
            return  # nobody reads
        self._thread.join(LAST_WORDS_S)

    def _write_all(self, handlers: list[logging.Handler]) -> None:
        while (record := self._lines.get()) is not None:
            for handler in handlers:
                handler.handle(record)


class _Bounded(logging.handlers.QueueHandler):
    """Never waits for room."""

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
