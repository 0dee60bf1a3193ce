"""TMP102 thermometer. Page numbers are those of Texas Instruments' data sheet."""

import msgspec

from cabinet.chips.bus import Port
from cabinet.errors import ChipError, ChipReset

NAME = "TMP102"

TEMPERATURE = b"\x00"  # pointer values, p. 7
CONFIG = b"\x01"
T_LOW = b"\x02"
T_HIGH = b"\x03"

CONFIG_RESOLUTION = 0x6000  # R1 R0, read-only, always 11: the only bits that identify the chip
CONFIG_SHUTDOWN = 0x0100  # SD: no conversions, the register keeps its last value
CONFIG_ALERT = 0x0020  # AL, read-only, with POL = 0: 0 from a conversion at T_HIGH or above until one below T_LOW
# 12 bits, comparator mode, one conversion is enough for the alert, eight conversions a second. At power-on it is four
# (0x60A0): a chip that lost its supply for a moment is known by that.
CONFIG_WANTED = 0x60E0
CONFIG_SETTINGS = 0x7FD0  # what must read back: all but OS and AL

# In 12-bit mode the value is left-justified: the low four bits are 0. Bit 0 tells extended (13-bit) mode, which is
# never set here, so anything but 0 there is not an answer of this chip (a bus that floats high reads 0xFFFF).
LOW_BITS = 0x000F
MC_NUMERATOR, MC_DENOMINATOR = 125, 2  # 0.0625 degree Celsius a step, p. 9
STEP_MC = 62
ALERT_HYSTERESIS_MC = 5_000
FIRST_CONVERSION_NS = 35_000_000  # 26 ms typically; what is read before is older than the settings


class Setting(msgspec.Struct, frozen=True):
    """A register that must hold a value; `mask` are the bits that read back as written."""

    name: str
    register: bytes
    value: int
    mask: int


class Tmp102:
    """Measures by itself eight times a second once it is set up; before its first conversion (35 ms) it reads 0 °C."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.above_limit = False  # the chip's own comparison, as last read: not by the temperature register
        self._settings: tuple[Setting, ...] = ()
        self._next_check = 0

    def initialise(self, limit_mc: int) -> bool:
        """Write all settings and read them back; the chip's own alert at `limit_mc`. Wakes a chip that is shut down.

        Returns whether it was asleep. Raises BusError, and ChipError where something else answers or it does not keep
        its settings.
        """
        found = self._read(CONFIG)
        if found & CONFIG_RESOLUTION != CONFIG_RESOLUTION:
            raise ChipError(NAME, str(self.port), f"no such chip: configuration reads 0x{found:04x}")
        self._settings = (
            Setting("T_LOW", T_LOW, _register(limit_mc - ALERT_HYSTERESIS_MC), 0xFFFF),
            Setting("T_HIGH", T_HIGH, _register(limit_mc), 0xFFFF),
            Setting("CONFIG", CONFIG, CONFIG_WANTED, CONFIG_SETTINGS),
        )
        for setting in self._settings:
            self.port.write(setting.register + setting.value.to_bytes(2, "big"), setting.register[0])
        for setting in self._settings:
            self._check(setting)
        return found & CONFIG_SHUTDOWN != 0

    def verify_next(self) -> None:
        """Re-read one setting a call, in turn. Raises ChipReset where it is not as written."""
        if not self._settings:
            raise ChipReset(NAME, str(self.port), "was never set up")
        self._next_check = (self._next_check + 1) % len(self._settings)
        self._check(self._settings[self._next_check])

    def temperature_mc(self) -> int:
        """Temperature in thousandths of a degree Celsius, rounded down to them; -128 000 to 127 937.

        Raises BusError, and ChipError for an answer that no TMP102 gives.
        """
        word = int.from_bytes(self.port.write_read(TEMPERATURE, 2, TEMPERATURE[0]), "big", signed=True)
        if word & LOW_BITS:
            raise ChipError(NAME, str(self.port), f"impossible temperature register 0x{word & 0xFFFF:04x}")
        return (word >> 4) * MC_NUMERATOR // MC_DENOMINATOR

    def raw(self) -> dict[str, int]:
        """The temperature register as last read, for people; no transfer."""
        word = self.port.last_read(TEMPERATURE, 2)
        return {} if word is None else {"TEMPERATURE": int.from_bytes(word, "big")}

    def _check(self, setting: Setting) -> None:
        found = self._read(setting.register)
        if (found ^ setting.value) & setting.mask:
            problem = f"{setting.name} reads 0x{found:04x} instead of 0x{setting.value:04x}"
            raise ChipReset(NAME, str(self.port), problem)
        if setting.register == CONFIG:
            self.above_limit = not found & CONFIG_ALERT

    def _read(self, register: bytes) -> int:
        return int.from_bytes(self.port.write_read(register, 2, register[0]), "big")


def _register(temperature_mc: int) -> int:
    """The limit registers hold steps as the temperature does."""
    return temperature_mc * MC_DENOMINATOR // MC_NUMERATOR << 4 & 0xFFF0
