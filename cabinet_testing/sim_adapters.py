"""Bus and pins of a simulated cabinet in the same process; edge callbacks run while the timeline advances."""

import errno
from collections.abc import Sequence

from cabinet.clock import Clock
from cabinet.sim.bus import I2cBus
from cabinet.sim.lines import OnLevel
from cabinet.sim.pins import LineFactory, OnEdge
from cabinet.sim.smbus import Message, SmbusCalls
from cabinet.sim.timeline import Timeline
from cabinet.sim.world import World


class SimBus(SmbusCalls):
    """Bus for a driver in this process: each transfer waits on the clock, which may be a manual one."""

    def __init__(self, bus: I2cBus, timeline: Timeline, clock: Clock) -> None:
        self._bus = bus
        self._timeline = timeline
        self._clock = clock

    def transfer(self, messages: Sequence[Message]) -> bytes:
        timeline, bus = self._timeline, self._bus
        start_ns = self._clock.monotonic_ns()
        if start_ns < bus.free_ns:
            start_ns = bus.free_ns
        timeline.advance_to(start_ns)
        done_ns, failed, data = bus.transfer(messages, start_ns)
        self._clock.sleep_until(done_ns)
        timeline.advance_to(done_ns)
        if failed:
            raise OSError(failed, f"simulated bus: {errno.errorcode[failed]}")
        return data


class _WorldDoor:
    def __init__(self, world: World) -> None:
        self._world = world
        self._watched: dict[int, OnLevel] = {}

    def read_line(self, number: int) -> bool:
        self._world.sync()
        return self._world.lines.level(number)

    def is_output(self, number: int) -> bool:
        return self._world.lines.is_output(number)

    def drive_line(self, number: int, high: bool) -> None:
        self._world.lines.drive(number, high, self._world.sync())

    def release_line(self, number: int) -> None:
        self._world.lines.release(number, self._world.sync())

    def pull_line(self, number: int, up: bool | None) -> None:
        self._world.lines.pull(number, up, self._world.sync())

    def watch_line(self, number: int, on_edge: OnEdge) -> None:
        self._watched[number] = on_edge
        self._world.lines.watch(number, on_edge)

    def unwatch_line(self, number: int) -> None:
        on_edge = self._watched.pop(number, None)
        if on_edge is not None:
            self._world.lines.unwatch(number, on_edge)

    def close_door(self) -> None:
        for number in list(self._watched):
            self.unwatch_line(number)


class SimPinFactory(LineFactory):
    """A gpiozero pin factory over the lines of `world`."""

    def __init__(self, world: World) -> None:
        super().__init__(_WorldDoor(world))
        self._clock = world.clock

    def ticks(self) -> float:
        """Return the seconds of the world's clock."""
        return self._clock.monotonic_ns() * 1e-9
