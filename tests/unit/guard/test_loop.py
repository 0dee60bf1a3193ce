"""The loop's turn: what clients are told, and when."""

import fcntl
import gc
import os
import selectors
from types import SimpleNamespace
from typing import Any

import pytest

from cabinet.clock import MS, ManualClock
from cabinet.guard.loop import PIPE_BEATS, TURN, Loop, beat
from cabinet.link.server import EventLog
from cabinet.model import Event, EventKind
from cabinet_testing.sim_cabinet import demo_config


class Guard:
    """Ten ticks of ten milliseconds; something happens in the seventh."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.events, self.ticks = clock, EventLog("run"), 0
        self.units: list[object] = []
        self.loop: Loop | None = None

    def tick(self, late_ns: int) -> None:
        self.ticks += 1
        self.clock.advance_ns(10 * MS)
        if self.ticks == 7:
            self.events.add(Event("", 0, self.clock.monotonic_ns(), EventKind.TRIPPED))
        if self.ticks == 10:
            assert self.loop is not None
            self.loop.stop()

    watching = False

    def note_turn(self, used_ns: int, now_ns: int) -> None:
        self.used_ns = used_ns

    def snapshot(self) -> str:
        return f"snapshot of tick {self.ticks}"


class Server:
    descriptors: tuple[int, ...] = ()

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.said: list[str] = []

    def push_events(self) -> None:
        self.said += [f"event in tick {self.guard.ticks}" for _ in self.guard.events.kept]
        self.guard.events.kept.clear()

    def publish(self, snapshot: str) -> None:
        self.said.append(snapshot)

    def serve(self, ready: list[int]) -> None:
        assert not ready


@pytest.fixture
def collector():
    """The loop freezes it for its process; these tests go on in theirs."""
    yield
    gc.unfreeze()
    gc.enable()


def test_keeper_that_reads_no_beats_for_twelve_seconds_hangs():
    beats, beat_fd = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(beat_fd, fcntl.F_SETPIPE_SZ, PIPE_BEATS)
    assert all(beat(beat_fd, TURN) for _ in range(PIPE_BEATS))
    assert not beat(beat_fd, TURN)
    os.read(beats, PIPE_BEATS)
    assert beat(beat_fd, TURN)
    os.close(beats)
    assert not beat(beat_fd, TURN), "and one that is gone reads none either"
    os.close(beat_fd)


def test_event_is_followed_by_a_snapshot_at_once(collector):
    clock = ManualClock()
    guard = Guard(clock)
    server = Server(guard)
    with open(os.devnull, "wb") as beats, selectors.DefaultSelector() as nothing:
        fakes: dict[str, Any] = {"guard": guard, "alerts": SimpleNamespace(wake_fd=nothing.fileno()), "server": server}
        guard.loop = Loop(demo_config(), clock=clock, beat_fd=beats.fileno(), **fakes)
        guard.loop.run()
    assert server.said == ["snapshot of tick 1", "event in tick 7", "snapshot of tick 7"]


class IdleGuard(Guard):
    """A guard in a demonstration: idle until a command comes, here together with an alert."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.at_ms: list[int] = []
        self.maintenance_control = SimpleNamespace(testing=False)
        self.contactor = SimpleNamespace(busy=False)

    def tick(self, late_ns: int) -> None:
        self.at_ms.append(self.clock.monotonic_ns() // MS)
        if len(self.at_ms) == 4 and self.loop is not None:
            self.loop.stop()

    def answer_alerts(self) -> None:
        self.clock.advance_ns(MS)
        if len(self.at_ms) == 2:
            self.units.append(SimpleNamespace(charge="of the command"))


def test_command_ends_the_idling_of_a_demonstration(collector):
    clock = ManualClock(0)
    guard = IdleGuard(clock)
    server: Any = Server(guard)
    server.serve = lambda ready: None
    woken, wake = os.pipe()
    os.write(wake, b"x")
    with open(os.devnull, "wb") as beats:
        fakes: dict[str, Any] = {"guard": guard, "alerts": SimpleNamespace(wake_fd=woken), "server": server}
        guard.loop = Loop(demo_config(), clock=clock, beat_fd=beats.fileno(), idle_period_ns=40 * MS, **fakes)
        guard.loop.run()
    os.close(woken)
    os.close(wake)
    assert [at - guard.at_ms[0] for at in guard.at_ms] == [0, 2, 6, 9], "one millisecond to the command, then scans"
