"""Harness for the tests of relays: two expanders on a fake bus, mock lines that can fail, and a bank over them."""

import errno
from pathlib import Path

import msgspec
from gpiozero.pins.mock import MockFactory, MockPin

import cabinet
from cabinet.clock import NS, ManualClock
from cabinet.config.check import load
from cabinet.config.keys import Config
from cabinet.hardware.bus import ChipPort
from cabinet.hardware.mcp23017 import Mcp23017
from cabinet.relays import RelayBank, RelayPin
from cabinet_testing.fake_bus import FakeBus, Registers

EXPANDER, OTHER_EXPANDER = 0x20, 0x21  # on the wire 40 and 42
CONTACTOR, HEARTBEAT, RELAY_4, RELAY_5, MUX_RESET = 17, 27, 23, 24, 22
# Outlets 1 and 2 on the first expander, 3 on the second, 4 and 5 on GPIO.
PLACES = [
    RelayPin(1, EXPANDER, 0),
    RelayPin(2, EXPANDER, 9),
    RelayPin(3, OTHER_EXPANDER, 7),
    RelayPin(4, None, RELAY_4),
    RelayPin(5, None, RELAY_5),
]
POWER_ON = {"00": "FF FF", "02": "00 00", "0A": "00 00", "12": "00 00", "14": "00 00"}
ALL = [1, 2, 3, 4, 5]


class FailingPin(MockPin):  # type: ignore[misc]  # gpiozero has no types
    """Line with an output that fails on request."""

    failing = False

    def _set_state(self, value: bool) -> None:
        if self.failing:
            raise OSError(errno.EIO, "line is gone")
        super()._set_state(value)


class Expander(Registers):
    """Cells, and pins that show what the latch drives; those of `held_low` do not."""

    def __init__(self) -> None:
        super().__init__(1, dict(POWER_ON))
        self.held_low = 0

    def read(self, count: int) -> bytes:
        directions, latch = self._word("00"), self._word("14")
        self.cells["12"] = (latch & ~directions & ~self.held_low).to_bytes(2, "little").hex(" ").upper()
        return super().read(count)

    def _word(self, register: str) -> int:
        cell = self.cells[register]
        return int.from_bytes(bytes.fromhex(cell), "little") if isinstance(cell, str) else 0


class RelayHarness:
    """Two expanders on a fake bus, mock lines, and a bank over them."""

    def __init__(self) -> None:
        self.first, self.second = Expander(), Expander()
        self.bus = FakeBus({EXPANDER: self.first, OTHER_EXPANDER: self.second})
        self.pins = MockFactory(pin_class=FailingPin)
        self.clock = ManualClock()
        self.bank = RelayBank(
            PLACES,
            {address: Mcp23017(ChipPort(self.bus, "MCP23017", address)) for address in (EXPANDER, OTHER_EXPANDER)},
            self.pins,
            CONTACTOR,
            HEARTBEAT,
            self.clock,
        )

    def line(self, number: int) -> FailingPin:
        pin: FailingPin = self.pins.pin(number)
        return pin

    def lines(self) -> dict[str, bool]:
        return {
            "contactor": self.line(CONTACTOR).state,
            "relay 4": self.line(RELAY_4).state,
            "relay 5": self.line(RELAY_5).state,
        }

    def hold_all(self, for_ns: int = NS) -> None:
        for outlet in ALL:
            self.bank.hold(outlet, self.clock.monotonic_ns() + for_ns)

    def told(self) -> list[int]:
        return [outlet for outlet in ALL if self.bank.is_closed(outlet)]

    def hardware(self) -> tuple[str | list[str], str | list[str], dict[str, bool]]:
        """Latch of the first expander, of the second, and the lines."""
        return self.first.cells["14"], self.second.cells["14"], self.lines()


ALL_OPEN = ("00 00", "00 00", {"contactor": False, "relay 4": False, "relay 5": False})
ALL_CLOSED = ("01 02", "80 00", {"contactor": True, "relay 4": True, "relay 5": True})


def mixed_config() -> Config:
    """The example, with outlet 4 on GPIO and a second, unused expander."""
    config = load(Path(cabinet.__file__).parent / "examples" / "demo.toml")
    outlets = list(config.outlet)
    outlets[3] = msgspec.structs.replace(outlets[3], relay=f"gpio:{RELAY_4}")
    hardware = msgspec.structs.replace(config.hardware, expanders=(EXPANDER, OTHER_EXPANDER))
    return msgspec.structs.replace(config, outlet=tuple(outlets), hardware=hardware)
