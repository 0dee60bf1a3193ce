"""Log lines of requests: one per second from one source, and a bug's traceback once a minute."""

import logging

import pytest

from cabinet.clock import NS, ManualClock
from cabinet.web import source_log
from cabinet.web.source_log import SourceLog

NAME = "cabinet.web"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_source_writes_a_line_a_second_and_the_next_says_how_many_were_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    log = SourceLog(clock).logger(NAME, "192.0.2.1")
    for _ in range(1000):
        log.warning("nonsense")
    clock.advance_ns(NS)
    log.warning("nonsense")
    assert lines(caplog) == ["192.0.2.1: nonsense", "192.0.2.1: nonsense (999 lines like it left out)"]


def test_one_source_does_not_silence_another(caplog: pytest.LogCaptureFixture) -> None:
    log = SourceLog(ManualClock())
    log.logger(NAME, "192.0.2.1").warning("one")
    log.logger(NAME, "192.0.2.2").warning("two")
    assert lines(caplog) == ["192.0.2.1: one", "192.0.2.2: two"]


def test_a_thousand_sources_write_ten_lines_a_second_together(caplog: pytest.LogCaptureFixture) -> None:
    log = SourceLog(ManualClock())
    for number in range(3 * source_log.MAX_SOURCES):
        log.logger(NAME, f"source {number}").warning("nonsense")
    assert len(lines(caplog)) == source_log.MAX_LINES_A_SECOND
    assert len(log._sources) == source_log.MAX_SOURCES


def test_a_bug_has_its_traceback_once_a_minute_and_its_words_every_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    log = SourceLog(clock).logger(NAME, "192.0.2.1")
    for _ in range(61):
        log.error("GET / failed", exc_info=ValueError("the\nwords"))
        clock.advance_ns(NS)
    assert [record.exc_info is not None for record in caplog.records] == [True, *[False] * 59, True]
    assert lines(caplog)[1] == r"192.0.2.1: GET / failed: ValueError: the\nwords"


def test_nothing_of_a_request_breaks_the_line_or_reaches_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    log = SourceLog(ManualClock()).logger(NAME, "192.0.2.1")
    log.warning("%s failed", "/a\r\nERROR forged\x1b[2J\u202e" + "x" * 10_000)
    (line,) = lines(caplog)
    assert line.startswith(r"192.0.2.1: /a\r\nERROR forged\x1b[2J\u202exxx")
    assert len(line) < 600


def test_what_is_below_the_level_uses_up_no_line(caplog: pytest.LogCaptureFixture) -> None:
    log = SourceLog(ManualClock()).logger(NAME, "192.0.2.1")
    with caplog.at_level(logging.WARNING, NAME):
        log.info("made")
        log.warning("nonsense")
    assert lines(caplog) == ["192.0.2.1: nonsense"]
