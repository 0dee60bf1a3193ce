"""TMP102 thermometer. Page numbers are those of Texas Instruments' data sheet."""

import msgspec

from cabinet.errors import ChipError, ChipReset
from cabinet.hardware.bus import ChipPort

NAME = "TMP102"

TEMPERATURE = b"\x00"  # pointer values, p. 7
CONFIG = b"\x01"
T_LOW = b"\x02"
T_HIGH = b"\x03"

CONFIG_RESOLUTION = 0x6000  # R1 R0, read-only, always 11: the only bits that identify the chip
CONFIG_SHUTDOWN = 0x0100  # SD: no conversions, the register keeps its last value
CONFIG_ALERT = 0x0020  # AL, read-only, with POL = 0: 0 from a conversion at T_HIGH or above until one below T_LOW
# 12 bits, comparator mode, alert after one conversion, eight conversions a second. The power-on value is four a second
# (0x60A0), which reveals a chip that lost its supply for a moment.
CONFIG_WANTED = 0x60E0
CONFIG_SETTINGS = 0x7FD0  # bits that must read back: all except OS and AL

# In 12-bit mode the value is left-justified: the low four bits are 0. Bit 0 indicates extended (13-bit) mode, which is
# never set here, so if these bits are not 0, the answer is not from this chip (a bus that floats high reads 0xFFFF).
LOW_BITS = 0x000F
MC_NUMERATOR, MC_DENOMINATOR = 125, 2  # 0.0625 degree Celsius a step, p. 9
STEP_MC = 62
ALERT_HYSTERESIS_MC = 5_000
FIRST_CONVERSION_NS = 35_000_000  # 26 ms typically; earlier reads predate the settings


class Tmp102Setting(msgspec.Struct, frozen=True):
    """A register that must hold a value; `mask` selects the bits that read back as written."""

    name: str
    register: bytes
    value: int
    mask: int


class Tmp102:
    """Thermometer. After set-up it measures eight times a second; before its first value (35 ms) it reads 0 °C."""

    def __init__(self, port: ChipPort) -> None:
        self.port = port
        self.above_limit = False  # the chip's own comparison as last read, independent of the temperature register
        self._settings: tuple[Tmp102Setting, ...] = ()
        self._next_check = 0

    def initialise(self, limit_mc: int) -> bool:
        """Write all settings and read them back; set the chip's own alert to `limit_mc`. Wakes it if it is shut down.

        Returns whether it was shut down. Raises BusError, and ChipError if another device answers or the chip does not
        keep its settings.
        """
        found = self._read(CONFIG)
        if found & CONFIG_RESOLUTION != CONFIG_RESOLUTION:
            raise ChipError(NAME, str(self.port), f"no such chip: configuration reads 0x{found:04x}")
        self._settings = (
            Tmp102Setting("T_LOW", T_LOW, _register(limit_mc - ALERT_HYSTERESIS_MC), 0xFFFF),
            Tmp102Setting("T_HIGH", T_HIGH, _register(limit_mc), 0xFFFF),
            Tmp102Setting("CONFIG", CONFIG, CONFIG_WANTED, CONFIG_SETTINGS),
        )
        for setting in self._settings:
            self.port.write(setting.register + setting.value.to_bytes(2, "big"), setting.register[0])
        for setting in self._settings:
            self._check(setting)
        return found & CONFIG_SHUTDOWN != 0

    def verify_next(self) -> None:
        """Re-read one setting a call, in turn. Raises ChipReset if it differs from the written value."""
        if not self._settings:
            raise ChipReset(NAME, str(self.port), "was never set up")
        self._next_check = (self._next_check + 1) % len(self._settings)
        self._check(self._settings[self._next_check])

    def temperature_mc(self) -> int:
        """Return the temperature in thousandths of a degree Celsius, rounded down to them; -128 000 to 127 937.

        Raises BusError, and ChipError if the answer is impossible for a TMP102.
        """
        word = int.from_bytes(self.port.write_read(TEMPERATURE, 2, TEMPERATURE[0]), "big", signed=True)
        if word & LOW_BITS:
            raise ChipError(NAME, str(self.port), f"impossible temperature register 0x{word & 0xFFFF:04x}")
        return (word >> 4) * MC_NUMERATOR // MC_DENOMINATOR

    def raw(self) -> dict[str, int]:
        """Return the temperature register as last read, for display; no transfer."""
        word = self.port.last_read(TEMPERATURE, 2)
        return {} if word is None else {"TEMPERATURE": int.from_bytes(word, "big")}

    def _check(self, setting: Tmp102Setting) -> None:
        found = self._read(setting.register)
        if (found ^ setting.value) & setting.mask:
            problem = f"{setting.name} reads 0x{found:04x} instead of 0x{setting.value:04x}"
            raise ChipReset(NAME, str(self.port), problem)
        if setting.register == CONFIG:
            self.above_limit = not found & CONFIG_ALERT

    def _read(self, register: bytes) -> int:
        return int.from_bytes(self.port.write_read(register, 2, register[0]), "big")


def _register(temperature_mc: int) -> int:
    """Return the limit register's value, in the same steps as the temperature."""
    return temperature_mc * MC_DENOMINATOR // MC_NUMERATOR << 4 & 0xFFF0
