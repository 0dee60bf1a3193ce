"""Fixtures and settings shared by all tests."""

import pytest
from hypothesis import settings

settings.register_profile("cabinet", deadline=None)  # a busy build machine is no failure
settings.load_profile("cabinet")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test that prints has measured something: shown also when it passed."""
    measured = [report for report in terminalreporter.getreports("passed") if report.capstdout]
    if measured:
        terminalreporter.section("measured")
    for report in measured:
        terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}: {report.capstdout.strip()}")
