"""TMP102 thermometer. Page numbers are those of Texas Instruments' data sheet."""

from cabinet.chips.bus import Port
from cabinet.errors import ChipError

NAME = "TMP102"

TEMPERATURE = b"\x00"  # pointer values, p. 7
CONFIG = b"\x01"

CONFIG_RESOLUTION = 0x6000  # R1 R0, read-only, always 11: the only bits that identify the chip
CONFIG_SHUTDOWN = 0x0100  # SD: no conversions, the register keeps its last value

# In 12-bit mode the value is left-justified: the low four bits are 0. Bit 0 tells extended (13-bit) mode, which is
# never set here, so anything but 0 there is not an answer of this chip (a bus that floats high reads 0xFFFF).
LOW_BITS = 0x000F
MC_NUMERATOR, MC_DENOMINATOR = 125, 2  # 0.0625 degree Celsius a step, p. 9


class Tmp102:
    """Measures by itself four times a second from power-on; before its first conversion (35 ms) it reads 0 °C."""

    def __init__(self, port: Port) -> None:
        self.port = port

    def validate(self) -> None:
        """Make sure that the chip is a TMP102 and is measuring. Raises BusError, ChipError."""
        config = int.from_bytes(self.port.write_read(CONFIG, 2, CONFIG[0]), "big")
        if config & CONFIG_RESOLUTION != CONFIG_RESOLUTION:
            raise ChipError(NAME, str(self.port), f"no such chip: configuration reads 0x{config:04x}")
        if config & CONFIG_SHUTDOWN:
            raise ChipError(NAME, str(self.port), f"is shut down: configuration reads 0x{config:04x}")

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
