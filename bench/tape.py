"""A recorded cabinet: the answers of the simulated chips are played back, to measure only the guard's own work.

First the guard runs over the simulator under a manual clock, and every transfer is recorded with its answer. Then the
clock becomes real, and the same guard continues over the tape: a transfer takes exactly the time of its bits on the
wire, as a busy wait, and its answer is the next recorded one for that chip, register and mux channel. Lines keep the
level that was last read; outputs have no effect.
"""

import os
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

from cabinet.clock import NS, ManualClock, WallTime
from cabinet.config.keys import Config
from cabinet.guard.alerts import AlertLines
from cabinet.link.guard_protocol import Done
from cabinet.sim.pins import LineFactory
from cabinet.sim.smbus import Message, SmbusCalls, wire_bits
from cabinet_testing.sim_cabinet import SimCabinet

_VOLTAGES = 20  # readings per chip
_KEPT_ANSWERS = 400  # per register: enough to make no value look stuck


class TurningClock(ManualClock):
    """A manual clock until `turn`, then the kernel's, continuing from the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._offset_ns: int | None = None

    def turn(self) -> None:
        """Continue in real time."""
        self._offset_ns = self._now_ns - time.monotonic_ns()

    def monotonic_ns(self) -> int:
        return self._now_ns if self._offset_ns is None else time.monotonic_ns() + self._offset_ns

    def wall(self) -> WallTime:
        self._now_ns = self.monotonic_ns()
        return super().wall()


class Tape(SmbusCalls):
    """Recorder of the answers of `bus` until `play`. `wire_ns` is the wire time of the played transfers."""

    def __init__(self, bus: SmbusCalls, muxes: Sequence[int], bit_ns: float) -> None:
        self._bus = bus
        self._bit_ns = bit_ns
        self.joined = dict.fromkeys(muxes, b"")
        self._answers: dict[tuple[object, ...], list[bytes]] = {}
        self._played: dict[tuple[object, ...], Callable[[], bytes]] | None = None
        self.wire_ns = self.waited_ns = self.transfers = 0

    def rewind(self) -> None:
        """Discard the recording, because the start of the cabinet is not its normal operation."""
        self._answers.clear()

    def play(self) -> None:
        """Answer from the tape from now on."""
        self._played = {key: cycle(answers).__next__ for key, answers in self._answers.items()}

    def transfer(self, messages: Sequence[Message]) -> bytes:
        """Carry the messages. Raises KeyError if the tape is played and has no such transfer."""
        start_ns = time.monotonic_ns()
        for address, payload, _ in messages:
            if address in self.joined and payload is not None:
                self.joined[address] = payload
        key = (*messages, *self.joined.values())
        if self._played is None:
            answer = self._bus.transfer(messages)
            answers = self._answers.setdefault(key, [])
            answers.append(answer)
            del answers[:-_KEPT_ANSWERS]
            return answer
        answer = self._played[key]() if messages[-1][1] is None else b""
        wire_ns = round(wire_bits(messages) * self._bit_ns)
        looked_up_ns = time.monotonic_ns()
        self.wait(start_ns, wire_ns)
        self.transfers += 1
        self.wire_ns += wire_ns
        self.waited_ns += time.monotonic_ns() - looked_up_ns
        return answer

    def wait(self, start_ns: int, wire_ns: int) -> None:
        """Return when a transfer that began at `start_ns` would be over."""
        while time.monotonic_ns() < start_ns + wire_ns:
            pass


class _HeldLines:
    """Door to the simulator's lines; when closed, it returns the last levels."""

    def __init__(self, door: object) -> None:
        self._door = door
        self._levels: dict[int, bool] = {}
        self.closed = False

    def read_line(self, number: int) -> bool:
        if not self.closed:
            self._levels[number] = self._door.read_line(number)  # type: ignore[attr-defined]
        return self._levels[number]

    def drive_line(self, number: int, high: bool) -> None:
        self._levels[number] = high
        if not self.closed:
            self._door.drive_line(number, high)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._door, name)


class TapedCabinet(SimCabinet):
    """A cabinet with a guard that `play` disconnects from the simulator."""

    def __init__(self, state: Path, config: Config) -> None:
        self.turning = self.new_clock()
        super().__init__(state, config, clock=self.turning)

    def new_clock(self) -> TurningClock:
        return TurningClock()

    def open_bus(self) -> Tape:
        bus, hardware = super().open_bus(), self.config.hardware
        self.tape = self.make_tape(bus, hardware.muxes, 1e9 / hardware.bus_speed_hz)
        return self.tape

    def make_tape(self, bus: SmbusCalls, muxes: Sequence[int], bit_ns: float) -> Tape:
        return Tape(bus, muxes, bit_ns)

    def open_pins(self) -> LineFactory:
        pins = super().open_pins()
        self._held = pins.door = _HeldLines(pins.door)  # type: ignore[assignment]
        return pins

    @property
    def alerts(self) -> AlertLines:
        assert self._lines is not None
        return self._lines

    def record(self, span_ns: int) -> None:
        """Charge on every outlet, then record. Raises RuntimeError if an outlet cannot be used."""
        outlets = len(self.config.outlet)
        self.run(10 * NS, until=lambda: all(state.refusal is None for state in self.guard.snapshot().outlets))
        for number in range(1, outlets + 1):
            self.plug(number, "lead-acid-48v20ah", 30)
            if not isinstance(self.start(number), Done):
                raise RuntimeError(f"outlet {number} cannot be used: {self.outlet(number)}")
        self.run(outlets * NS // 5 + 2 * NS)  # closings are 0.2 s apart; then soft starts end
        self.tape.rewind()
        for _ in range(_VOLTAGES):
            self.run(span_ns // _VOLTAGES)
            for segment in self.guard._scanner.segments:  # because the guard may read the voltage from any chip
                segment.chip.voltage_sample_mv()

    def close_doors(self) -> None:
        """Stop the simulator: from now on the tape answers."""
        self._held.closed = True
        self.tape.play()

    def play(self) -> None:
        """Stop the simulator and make the clock real."""
        self.close_doors()
        self.turning.turn()


def sink() -> int:
    """Return a descriptor that discards the guard's heartbeats."""
    return os.open(os.devnull, os.O_WRONLY)
