"""The computers that a cabinet is promised for: their speed, and the scan period that each can hold.

A turn of the guard takes the time of its bits on the wire, the kernel's time for each transfer, and the interpreter's
own time. The latter is counted in instructions; the time of an instruction on each computer and its sources are in
docs/reports/computers.md. No figure here was measured on a Raspberry Pi: each is the slower end of its range, so that a
promise made by it is kept by the real one. `cabinet bench` measures the real one.
"""

import math
import tomllib
from pathlib import Path

import msgspec
from msgspec import structs

from cabinet.clock import MS, NS
from cabinet.config.check import parse, read
from cabinet.config.keys import Config
from cabinet.errors import ConfigError
from cabinet.sections import nanoseconds

INSTRUCTIONS_A_TURN = 500_000  # of ten outlets with alert lines and one client: the bar of bench.instructions
_COUNTED_OUTLETS = 10

# A register of a meter: START, address and 2 bytes of its number, repeated START, address and 3 bytes, STOP. A mux: 2.
READ_BITS, SELECT_BITS = 66, 20
_SLOW_READS = 2  # a turn: one voltage sample and one value of the round robin

MODEL_FILE = Path("proc/device-tree/model")
MAX_PERIOD_NS = 5 * MS  # the longest of the configuration, a quarter cycle; larger cabinets are scanned without a pause
# The longest time between two peaks of an outlet for which polling alone is proven (docs/reports/trip.md): a current
# over the hard ceiling waits for the next peak, and its bar is 3 ms.
MAX_POLLED_TURN_NS = 3_000_000
# With alert lines an outlet is read within three transfers of its edge, however many outlets a turn has: a Pi 4 takes
# 270 us for four bytes. One with its bus at 200 kHz takes 460, and was at the bars (20.3 and 3.0 ms in 1000 shorts).
MAX_TRANSFER_US = 350
MARGIN = 1.05  # of the period over the turn: a median turn of just the period would be late half of the time


class ComputerModel(msgspec.Struct, frozen=True):
    """One kind of computer at one setting of its clocks."""

    name: str
    boards: tuple[str, ...]  # beginnings of the device tree's model; none: a setting for the bench only
    ns_per_instruction: float  # of CPython
    kernel_ns: int  # a transfer: system call, driver, interrupt and wake-up
    wake_ns: int  # from an edge of a line to the sleeping loop: interrupt, the library's thread, interpreter, select
    bus_share: float = 1.0  # true speed of the bus to the configured one

    def own_ns(self, outlets: int) -> int:
        """Return the interpreter's time of a turn. It grows with the outlets; fewer than ten count as ten."""
        return round(self.ns_per_instruction * INSTRUCTIONS_A_TURN * max(1.0, outlets / _COUNTED_OUTLETS))

    def turn_ns(self, config: Config) -> int:
        """Return the time of an ordinary turn: wire, kernel and interpreter."""
        kernel_ns = transfers(config) * self.kernel_ns
        return round(wire_ns(config) / self.bus_share) + kernel_ns + self.own_ns(len(config.outlet))

    def period_ns(self, config: Config) -> int:
        """Return the shortest scan period that this computer holds, in tenths of a millisecond; at most the longest."""
        needed_ns = math.ceil(MARGIN * self.turn_ns(config) / 100_000) * 100_000
        return min(needed_ns, MAX_PERIOD_NS)


# The bench's machine needs 0.49 ns for an instruction, a Pi 5 up to 1.45 times that, a Pi 4 3.7 times (1.5 GHz: 4.4).
# 1.8 GHz with arm_boost=1 from revision 1.4 on (raspberrypi/documentation, config_txt/overclocking.adoc).
_PI4_OF_1800_MHZ = ("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 4 Model B Rev 1.5", "Raspberry Pi 400")
_PI4_OF_1500_MHZ = ("Raspberry Pi 4 Model B", "Raspberry Pi Compute Module 4")
COMPUTERS = {  # the first that fits is taken
    "pi5": ComputerModel("Raspberry Pi 5", ("Raspberry Pi 5", "Raspberry Pi Compute Module 5"), 0.71, 30_000, 80_000),
    "pi4": ComputerModel("Raspberry Pi 4", _PI4_OF_1800_MHZ, 1.81, 35_000, 150_000),
    "pi4-1500": ComputerModel("Raspberry Pi 4 of 1.5 GHz", _PI4_OF_1500_MHZ, 2.16, 42_000, 180_000),
    "pi4-200khz": ComputerModel("Pi 4, bus in truth at 200 kHz", (), 1.81, 35_000, 150_000, 0.5),
    "pi4-600": ComputerModel("Pi 4 left at 600 MHz, bus at 200 kHz", (), 5.43, 105_000, 450_000, 0.5),
}
HERE = "here"  # the bench's own machine under the manual clock: only the wire takes time


def this_computer(root: Path = Path("/")) -> ComputerModel | None:
    """Return the computer that this program runs on; None if it is none of those promised."""
    try:
        model = (root / MODEL_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((each for each in COMPUTERS.values() if model.startswith(each.boards)), None)


def with_period(config: Config, content: str, computer: ComputerModel | None) -> Config:
    """Return the configuration with the scan period that this computer holds, if its file, `content`, gives none."""
    if computer is None or "scan_period_s" in tomllib.loads(content).get("guard", {}):
        return config
    period_s = max(config.guard.scan_period_s, computer.period_ns(config) / NS)
    return structs.replace(config, guard=structs.replace(config.guard, scan_period_s=period_s))


def load_here(path: Path, root: Path = Path("/")) -> Config:
    """Return the checked configuration in `path` as it is on this computer. Raises ConfigErrors."""
    content = read(path)
    config = parse(content, str(path))
    return config if config.simulated else with_period(config, content, this_computer(root))


def period_problems(config: Config, computer: ComputerModel) -> list[ConfigError]:
    """Return the reasons why this computer does not protect this cabinet in time."""
    turn_ns, period_ns = computer.turn_ns(config), nanoseconds(config.guard.scan_period_s)
    takes = f"{computer.name}, {len(config.outlet)} outlets: a turn takes about {turn_ns / MS:.1f} ms"
    problems = []
    if period_ns < (least_ns := computer.period_ns(config)):
        longest = ", the longest; it is then scanned without a pause" if turn_ns > MAX_PERIOD_NS else ""
        problems.append(ConfigError("guard.scan_period_s", f"{takes}: at least {least_ns / NS:.4g}{longest}"))
    polled = [outlet.number for outlet in config.outlet if outlet.alert is None]
    if polled and max(turn_ns, period_ns) > MAX_POLLED_TURN_NS:
        numbers = ", ".join(map(str, polled))
        problems.append(
            ConfigError(
                "outlet.alert",
                f"{takes}, and polling alone finds a short in time up to {MAX_POLLED_TURN_NS / MS:.1f} ms: "
                f"an alert line is needed at outlet {numbers}",
            )
        )
    return problems


def transfers(config: Config) -> int:
    """Return the transfers of an ordinary turn: a channel's selection, a peak per outlet, and the slow values."""
    return _channels(config) + len(config.outlet) + _SLOW_READS


def wire_ns(config: Config) -> int:
    """Return the time of an ordinary turn's bits at the configured speed."""
    bits = SELECT_BITS * _channels(config) + READ_BITS * (len(config.outlet) + _SLOW_READS)
    return bits * NS // config.hardware.bus_speed_hz


def _channels(config: Config) -> int:
    feed = config.hardware.feed_meter
    meters = [outlet.meter for outlet in config.outlet] + ([] if feed is None else [feed])
    return len({(meter.mux, meter.channel) for meter in meters})
