"""Log lines of the guard never hold up its loop, and missing ones are counted."""

import logging
import threading

import pytest

from cabinet.guard import log as guard_log
from cabinet.guard.log import LogThread


class Stopped(logging.Handler):
    """A pipe that nobody reads, until `reads` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.reads = threading.Event(), threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self.reads.wait()
        self.lines.append(record.getMessage())


@pytest.fixture
def stopped(monkeypatch):
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers = [Stopped()]
    monkeypatch.setattr(guard_log, "MAX_LINES", 10)
    monkeypatch.setattr(guard_log, "LAST_WORDS_S", 0.05)
    yield root.handlers[0]
    root.handlers[0].close()
    root.handlers = before


def test_loop_goes_on_while_nobody_reads_and_missing_lines_are_told(stopped, monkeypatch):
    lines = LogThread()
    logging.getLogger("guard").warning("line 0")
    stopped.entered.wait()
    for number in range(1, 100):
        logging.getLogger("guard").warning("line %d", number)
    lines.close()  # returns too, with nothing written
    assert stopped.lines == []
    stopped.reads.set()
    monkeypatch.setattr(guard_log, "LAST_WORDS_S", 10)
    while not lines._lines.empty():
        threading.Event().wait(0.001)
    logging.getLogger("guard").warning("the last one")
    lines.close()
    assert stopped.lines[0] == "line 0"
    assert stopped.lines[-1] == "the last one"
    written = [line for line in stopped.lines if line.startswith("line")]
    told = [line for line in stopped.lines if "missing" in line]
    assert told == [f"{100 - len(written)} log lines are missing here: nobody read them in time"]


def test_everything_said_is_written_before_the_end(stopped):
    stopped.reads.set()
    lines = LogThread()
    for number in range(5):
        logging.getLogger("guard").warning("line %d", number)
    lines.close()
    assert stopped.lines == [f"line {number}" for number in range(5)]
