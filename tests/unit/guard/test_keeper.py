"""Promises of the keeper that need no cabinet; whole lives and deaths of guards are in tests/e2e/test_killed.py."""

import functools
import os
import signal
from importlib import resources

import pytest

from cabinet.clock import MS, SystemClock
from cabinet.config import parse
from cabinet.errors import HardwareError
from cabinet.guard import keeper as keeping
from cabinet.guard.keeper import Keeper


@pytest.fixture
def keeper() -> Keeper:
    config = parse(resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8"))
    return Keeper(config, no_hardware, no_hardware, SystemClock())


def no_hardware():
    raise HardwareError("no hardware here")


def test_bus_that_hangs_does_not_hold_the_keeper(keeper, monkeypatch):
    reader, writer = os.pipe()

    def hang() -> None:
        os.close(reader)
        signal.pause()

    monkeypatch.setattr(keeping, "MAX_OPENING_NS", 50 * MS)
    monkeypatch.setattr(keeper, "_open_here", hang)
    assert not keeper._open_all()
    os.close(writer)
    assert os.read(reader, 1) == b"", "the hanging process is gone, and with it the last writer"
    os.close(reader)


def _note(opened: list[bool]) -> bool:
    opened.append(True)
    return True


def test_keeper_that_cannot_fork_opens_by_itself(keeper, monkeypatch):
    opened: list[bool] = []
    monkeypatch.setattr(keeper, "_open_here", functools.partial(_note, opened))
    monkeypatch.setattr(os, "fork", no_more_processes)
    assert keeper._open_all()
    assert opened == [True]


@pytest.mark.parametrize("opened", [True, False])
def test_keeper_knows_whether_everything_was_opened(keeper, monkeypatch, opened):
    monkeypatch.setattr(keeper, "_open_here", lambda: opened)
    assert keeper._open_all() is opened


def test_hands_left_behind_are_not_kept_as_zombies(keeper, monkeypatch):
    monkeypatch.setattr(keeping, "MAX_OPENING_NS", 20 * MS)
    monkeypatch.setattr(keeper, "_open_here", signal.pause)
    for _ in range(3):
        assert not keeper._open_all()
    for hand in keeper._unfinished_openers:
        os.waitid(os.P_PID, hand, os.WEXITED | os.WNOWAIT)  # dead, however long that takes, and nobody has looked yet
    assert not keeper._open_all()
    (last,) = keeper._unfinished_openers
    os.waitpid(last, 0)


def no_more_processes() -> int:
    raise BlockingIOError("no more processes")


def test_stop_between_two_guards_is_not_waited_for(keeper):
    """The handler finds no guard, and the next life does not begin."""
    keeper._stop()
    assert keeper._run_one_guard() == 0
    assert keeper._guard is None
