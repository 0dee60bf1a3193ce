"""Measurement of the computer with the cabinet's own chips: the real guard and loop, which can switch nothing.

Every line of the computer and every expander of the relays is a variable here, so no coil has a supply and no relay or
contactor is driven. Meters, thermometers and muxes are read over the real bus.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from msgspec import structs
from smbus2 import i2c_msg

from cabinet.clock import MS, NS, SystemClock
from cabinet.config import Config
from cabinet.errors import HardwareError
from cabinet.guard.build import build_guard
from cabinet.guard.counters import Counters
from cabinet.guard.guard import Guard
from cabinet.guard.loop import Loop, become_realtime
from cabinet.guard.recorder import Recorder
from cabinet.guard.state_files import StateWriter
from cabinet.hardware.bus import Bus
from cabinet.hardware.mcp23017 import GPIO, OLAT
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import Welcome
from cabinet.link.server import LinkServer
from cabinet.sim.pins import LineFactory, OnEdge

_ALL_INPUTS = 0xFFFF
_LEFT_OUT_NS = 1000 * MS  # the guard's start: self-tests, chips set up


class Measurement(msgspec.Struct, frozen=True):
    """Result of one run; times in ascending order."""

    realtime: bool
    turns_ns: list[int]  # work of each turn
    lates_ns: list[int]  # lateness of each turn's begin
    bus_hz: int
    transfer_us: int  # median read of four bytes


class _IdleDoor:
    """Lines that lead nowhere: inputs are high, outputs keep their level."""

    def __init__(self) -> None:
        self._driven: dict[int, bool] = {}

    def read_line(self, number: int) -> bool:
        return self._driven.get(number, True)

    def is_output(self, number: int) -> bool:
        return number in self._driven

    def drive_line(self, number: int, high: bool) -> None:
        self._driven[number] = high

    def release_line(self, number: int) -> None:
        self._driven.pop(number, None)

    def pull_line(self, number: int, up: bool | None) -> None:
        """Do nothing."""

    def watch_line(self, number: int, on_edge: OnEdge) -> None:
        """Do nothing: no line moves."""

    def unwatch_line(self, number: int) -> None:
        """Do nothing."""

    def close_door(self) -> None:
        """Do nothing."""


class _SafeBus:
    """The bus without the expanders of the relays, which are registers in memory.

    Only what is named here reaches the chips: a call that a driver may use one day must not drive a relay.
    """

    def __init__(self, bus: Bus, expanders: tuple[int, ...]) -> None:
        self._bus = bus
        self._words = {address: {0: _ALL_INPUTS} for address in expanders}

    def prepare(self, *messages: i2c_msg) -> Callable[[], object]:
        if messages[0].addr in self._words:
            return partial(self.i2c_rdwr, *messages)
        return self._bus.prepare(*messages)

    def read_byte(self, address: int) -> int:
        return self._bus.read_byte(address)

    def i2c_rdwr(self, *messages: i2c_msg) -> None:
        words = self._words.get(messages[0].addr)
        if words is None:
            self._bus.i2c_rdwr(*messages)
            return
        register, *data = bytes(messages[0])
        if data:
            words[register] = data[0] | data[1] << 8
        elif len(messages) > 1:
            word = words.get(OLAT if register == GPIO else register, 0)
            for place, byte in enumerate(word.to_bytes(2, "little")):
                messages[1].buf[place] = byte


def measure(config: Config, open_bus: Callable[[], Bus], seconds: float) -> Measurement:
    """Run the guard's loop for `seconds` after its start. Raises HardwareError if no meter answers."""
    realtime = become_realtime(config.guard.realtime_priority)
    with contextlib.ExitStack() as ends:
        # All in memory or in a folder of this run: latches, counters and sockets of the cabinet are not touched.
        folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="cabinet-bench-"))
        here = structs.replace(config, paths=structs.replace(config.paths, state=folder, run=folder))
        bus = open_bus()
        ends.callback(bus.close)
        counters, clock = Counters(len(here.outlet)), SystemClock()
        state_writer = StateWriter(Path(folder), Path(folder), counters)
        ends.callback(state_writer.close)
        recorder = Recorder(here, lambda recorded: True)
        ends.callback(recorder.finish)
        safe = cast(Bus, _SafeBus(bus, tuple(here.hardware.expanders)))
        pins = LineFactory(_IdleDoor())
        guard, alerts = build_guard(here, safe, pins, clock, counters, state_writer, recorder, realtime)
        ends.callback(guard.stop)
        guard.measure_bus()
        health = guard.snapshot().health
        if health.bus_hz is None or health.transfer_us is None:
            raise HardwareError("no meter answers on the bus: nothing can be measured")
        turns_ns, lates_ns = _timed(guard, clock)
        welcome = Welcome(guard_protocol.VERSION, guard.guard_run, guard.epoch, [unit.number for unit in guard.units])
        calls = guard.handle, guard.snapshot, guard.bus_view, clock, guard.maintenance_state
        server = LinkServer(Path(folder) / "guard.sock", welcome, guard.events, *calls)
        ends.callback(server.close)
        beats = os.open(os.devnull, os.O_WRONLY)
        ends.callback(os.close, beats)
        loop = Loop(here, guard, alerts, server, clock, beats)
        end = threading.Timer(seconds + _LEFT_OUT_NS / NS, loop.stop)
        ends.callback(end.cancel)
        end.start()
        loop.run()
    return Measurement(realtime, sorted(turns_ns), sorted(lates_ns), health.bus_hz, health.transfer_us)


def _timed(guard: Guard, clock: SystemClock) -> tuple[list[int], list[int]]:
    """Return two lists that the loop of `guard` fills after its start: work of each turn, lateness of its begin."""
    turns_ns: list[int] = []
    lates_ns: list[int] = []
    tick, begin_ns = guard.tick, clock.monotonic_ns() + _LEFT_OUT_NS

    def timed_tick(late_ns: int = 0, full_scan: bool = False) -> None:
        if clock.monotonic_ns() >= begin_ns:
            lates_ns.append(late_ns)
        tick(late_ns, full_scan)

    def note_turn(used_ns: int, now_ns: int) -> None:
        if now_ns - used_ns >= begin_ns:
            turns_ns.append(used_ns)

    guard.tick, guard.note_turn = timed_tick, note_turn  # type: ignore[method-assign]
    return turns_ns, lates_ns
