"""A console over a fake guard, for tests that do not make their own."""

import pytest

from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_line import IT_IS_A_TERMINAL, LOGIN, OF_24_BY_80, ConsoleLine
from cabinet_testing.console_snapshots import BLIND, CHARGING, SHORTED, snapshot
from cabinet_testing.fake_guard import FakeGuard


@pytest.fixture
def terminal(tmp_path):
    return ConsoleHarness(FakeGuard.showing(snapshot(CHARGING, SHORTED, BLIND)), tmp_path, name="")


@pytest.fixture
def guard(terminal):
    return terminal.guard


@pytest.fixture
def line(tmp_path):
    return ConsoleLine(tmp_path)


@pytest.fixture
def full(tmp_path):
    line = ConsoleLine(tmp_path, terminal="auto")
    line.type(LOGIN)
    line.type(IT_IS_A_TERMINAL)
    line.type(OF_24_BY_80)
    return line


@pytest.fixture
def program(line):
    line.type(LOGIN)
    assert line.type(b"machine\r").endswith('{"ok":true,"data":"machine"}\r\n')
    return line
