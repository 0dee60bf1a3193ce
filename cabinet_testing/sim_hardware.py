"""Hardware of a simulated cabinet on a manual clock, with its chips addressed in bytes."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from gpiozero import OutputDevice
from smbus2 import i2c_msg

from cabinet.clock import MS, ManualClock
from cabinet.config import load
from cabinet.config.keys import Config, MeterSection
from cabinet.sim.build import build_world
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.timeline import Timeline
from cabinet.sim.waveform import Mains
from cabinet_testing.sim_adapters import SimBus, SimPinFactory

DEMO = Path(__file__).parents[1] / "cabinet" / "examples" / "demo.toml"
EXPANDER, MUX, METER, THERMOMETER, INSIDE = 0x20, 0x70, 0x38, 0x48, 0x49
SMOKE, WATER, RESIDUAL, RESIDUAL_TEST, SIREN, FEED_CHANNEL = 23, 24, 25, 26, 7, 5
FULL_A, FULL_V = 200.0, 500.0


def demo_config() -> Config:
    return load(DEMO)


def fitted_config() -> Config:
    """The demo cabinet with every sensor and output that a cabinet may have."""
    config = demo_config()
    hardware = msgspec.structs.replace(
        config.hardware, smoke_pin=SMOKE, water_pin=WATER, residual_pin=RESIDUAL, residual_test_pin=RESIDUAL_TEST,
        siren_pin=SIREN, feed_meter=MeterSection(mux=MUX, channel=FEED_CHANNEL, input="A"),
    )  # fmt: skip
    return msgspec.structs.replace(config, hardware=hardware)


class SimHardware:
    """The demo cabinet, all fitted, in this process: its bus and its pins; noise only if requested."""

    def __init__(self, *, noise: bool = False, awake: bool = True, seed: int = 1) -> None:
        self.config = fitted_config()
        self.clock = ManualClock()
        self.world = build_world(self.config, self.clock, seed, noise=noise, awake=awake)
        self.bus = SimBus(self.world.bus, self.world.timeline, self.clock)
        self.pins = SimPinFactory(self.world)
        self._heartbeat = OutputDevice(27, pin_factory=self.pins)
        self._contactor = OutputDevice(17, pin_factory=self.pins)
        self._coils = 0

    def wait_ms(self, ms: float) -> None:
        """Let time pass without a heartbeat."""
        self.clock.advance_ns(round(ms * MS))
        self.world.sync()

    def live_ms(self, ms: float) -> None:
        """Let time pass with the heartbeat toggling every 20 ms."""
        left_ns = round(ms * MS)
        while left_ns > 0:
            self._heartbeat.toggle()
            step_ns = min(left_ns, 20 * MS)
            self.clock.advance_ns(step_ns)
            left_ns -= step_ns
        self.world.sync()

    def contactor(self, on: bool) -> None:
        self._contactor.value = on

    def coils(self, *outlets: int) -> None:
        """Command exactly these outlets to close: one word to the expander."""
        if not self._coils:
            self.bus.write_word_data(EXPANDER, 0x14, 0)
            self.bus.write_word_data(EXPANDER, 0x00, 0xFC00)
        self._coils = sum(1 << (outlet - 1) for outlet in outlets)
        self.bus.write_word_data(EXPANDER, 0x14, self._coils)

    def close(self, *outlets: int) -> None:
        """Start heartbeat, contactor and these outlets, and wait until all have closed."""
        self.live_ms(20)
        self.contactor(True)
        self.coils(*outlets)
        self.live_ms(60)

    def always_supplied(self) -> None:
        """Hold the coil supply up without a heartbeat, for tests of hours."""
        self.world.coil_supply.hold(self.world.sync())

    def level(self, line: int) -> bool:
        """Return the level of a line at an input with a pull-up."""
        self.world.lines.pull(line, True, self.world.sync())
        return self.world.lines.level(line)

    def drive(self, line: int, high: bool) -> None:
        self.world.lines.drive(line, high, self.world.sync())

    def read(self, register: int, channel: int, count: int = 3) -> int:
        """Read a register of the meter chip behind a mux channel, as bytes on the bus; signed ones included."""
        self.select(channel)
        answer = i2c_msg.read(METER, count)
        self.bus.i2c_rdwr(i2c_msg.write(METER, list(register.to_bytes(2, "big"))), answer)
        return int.from_bytes(bytes(answer), "big")

    def celsius(self, address: int = THERMOMETER) -> float:
        word = self.bus.read_word_data(address, 0)
        return int.from_bytes(word.to_bytes(2, "little"), "big", signed=True) / 256

    def select(self, channel: int) -> None:
        self.bus.write_byte(MUX, 1 << channel)

    def kinds(self, outlet: int | None = None) -> list[str]:
        """Kinds of everything in the journal, of one outlet if given."""
        return [record.kind for record in self.world.journal.after(0, outlet)]

    def when(self, kind: str, outlet: int | None = None) -> int:
        """Return the time of the last record of that kind, in ns."""
        return [record.at_ns for record in self.world.journal.after(0, outlet) if record.kind == kind][-1]


class MeterChip:
    """One ADE7953 on a timeline of its own, spoken to in bytes at `now_ns`."""

    def __init__(self, *, seed: int | None = None, awake: bool = True) -> None:
        self.timeline = Timeline(1_000_000_000)
        self.pins: list[tuple[str, bool, int]] = []
        self.chip = Ade7953(
            FULL_A, FULL_V, self.timeline.at, lambda pin, high, at_ns: self.pins.append((pin, high, at_ns)),
            self.timeline.now_ns, seed,
        )  # fmt: skip
        self.mains = Mains(220 * 2**0.5, self.timeline.now_ns, 10e6)
        self.chip.mains(self.mains, self.timeline.now_ns)
        if awake:
            self.pass_ms(100)

    @property
    def now_ns(self) -> int:
        return self.timeline.now_ns

    def pass_ms(self, ms: float) -> None:
        self.timeline.advance_to(self.now_ns + round(ms * MS))

    def read(self, register: int, count: int) -> int:
        self.chip.receive(register.to_bytes(2, "big"), self.now_ns)
        return int.from_bytes(self.chip.send(count, self.now_ns), "big")

    def signed(self, register: int) -> int:
        value = self.read(register, 3)
        return value - 0x1000000 if value & 0x800000 else value

    def write(self, register: int, value: int, count: int) -> None:
        self.chip.receive(register.to_bytes(2, "big") + value.to_bytes(count, "big"), self.now_ns)


@pytest.fixture
def cabinet() -> Iterator[SimHardware]:
    cabinet = SimHardware()
    yield cabinet
    cabinet.pins.close()


@pytest.fixture
def meter() -> MeterChip:
    return MeterChip()
