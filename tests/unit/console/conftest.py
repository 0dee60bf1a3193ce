"""A console over a fake guard, for tests that do not make their own."""

import pytest

from cabinet.clock import ManualClock
from cabinet_testing.console_harness import made_accounts
from cabinet_testing.console_line import IT_IS_A_TERMINAL, LOGIN, OF_24_BY_80, ConsoleLine
from cabinet_testing.console_snapshots import BLIND, CHARGING, SHORTED, FakeGuardClient, snapshot
from cabinet_testing.fake_guard_console import Terminal


@pytest.fixture(scope="module")
def staff_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("staff") / "console-staff.json"
    made_accounts(path, ManualClock())
    return path.read_bytes()


@pytest.fixture
def guard():
    return FakeGuardClient(snapshot(CHARGING, SHORTED, BLIND))


@pytest.fixture
def terminal(tmp_path, staff_file, guard):
    path = tmp_path / "console-staff.json"
    path.write_bytes(staff_file)
    return Terminal(path, guard)


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
