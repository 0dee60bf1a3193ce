"""MCP23017 port expander: sixteen lines, pins 0-7 are GPA, 8-15 GPB.

Words hold pin n in bit n. Registers come in pairs A, B and the address increments by itself, so a word is one
transaction, low byte first. Page numbers are those of Microchip's data sheet DS20001952.
"""

from cabinet.errors import ChipError
from cabinet.hardware.bus import ChipPort

NAME = "MCP23017"

# Addresses of the A half with IOCON.BANK = 0, the power-on value (p. 18); B is the next one.
IODIR = 0x00  # 1 = input
IPOL = 0x02  # 1 = GPIO reads the pin inverted
GPINTEN = 0x04  # 1 = a level change at the pin raises the interrupt
INTCON = 0x08  # 0 = change against the previous level, not against DEFVAL
IOCON = 0x0A
GPIO = 0x12  # levels at the pins
OLAT = 0x14  # output latch

ALL_INPUTS = 0xFFFF  # IODIR at power-on, which reveals a brown-out
ALL_LOW = 0x0000

MIRROR = 0x4040  # IOCON, one register at two addresses: INTA and INTB both report both halves; active low, driven

_READ = {register: bytes([register]) for register in (IODIR, IPOL, GPINTEN, INTCON, IOCON, GPIO, OLAT)}


class Mcp23017:
    """Register-level driver; the wiring of the pins is the caller's concern. Every method raises BusError."""

    def __init__(self, port: ChipPort) -> None:
        self._port = port
        self._next_check = IOCON

    @property
    def address(self) -> int:
        return self._port.address

    def initialise(self, output_mask: int) -> None:
        """Drive every output low and make the pins of `output_mask` outputs; the others stay inputs, not inverted.

        The latch is written first, so a pin that becomes an output is never high. Raises ChipError if the chip reads
        back different values.
        """
        directions = ALL_INPUTS & ~output_mask
        self._write_word(OLAT, ALL_LOW)
        self._write_word(IODIR, directions)
        self._write_word(IPOL, 0)
        if self._read_word(IOCON) & ~MIRROR:
            self._write_word(IOCON, 0)  # the interrupts' owner detects the loss and sets them up again
        for name, register, wanted in (("OLAT", OLAT, ALL_LOW), ("IODIR", IODIR, directions), ("IPOL", IPOL, 0)):
            found = self._read_word(register)
            if found != wanted:
                raise ChipError(NAME, str(self._port), f"{name} reads 0x{found:04x} after 0x{wanted:04x} was written")

    def restore_next_setting(self) -> bool:
        """Re-read one setting a call, in turn, that the output read-back does not cover. Return whether it was wrong.

        If so, it is written again, which changes no output.
        """
        self._next_check = IPOL if self._next_check == IOCON else IOCON
        allowed = MIRROR if self._next_check == IOCON else 0
        wrong = self._read_word(self._next_check) & ~allowed
        if wrong:
            self._write_word(self._next_check, 0)
        return wrong != 0

    def write_outputs(self, word: int) -> None:
        """Drive all outputs at once."""
        self._write_word(OLAT, word)

    def latch(self) -> int:
        """Return the output latch as stored in the chip."""
        return self._read_word(OLAT)

    def directions(self) -> int:
        """Return the directions, 1 = input; `ALL_INPUTS` after a power-on or reset, when no pin is driven."""
        return self._read_word(IODIR)

    def levels(self) -> int:
        """Return the levels at the pins. Clears the interrupt (p. 26): the next level change raises a new one."""
        return self._read_word(GPIO)

    def initialise_interrupts(self, mask: int) -> None:
        """Make INTA and INTB fall when a pin of `mask` changes level, either way.

        Raises ChipError if the chip reads back different values, or if such a pin is an output.
        """
        self._write_word(IPOL, 0)
        self._write_word(IOCON, MIRROR)
        self._write_word(INTCON, 0)
        self._write_word(GPINTEN, mask)
        if not self.interrupts_on(mask):
            raise ChipError(NAME, str(self._port), "does not keep the setting of its interrupts")

    def interrupts_on(self, mask: int) -> bool:
        """Return whether the set-up of `initialise_interrupts` is intact. Leaves a pending interrupt alone."""
        if self._read_word(IODIR) & mask != mask or self._read_word(IPOL) & mask:
            return False
        return (self._read_word(GPINTEN), self._read_word(INTCON), self._read_word(IOCON)) == (mask, 0, MIRROR)

    def _write_word(self, register: int, word: int) -> None:
        self._port.write(bytes((register, word & 0xFF, word >> 8)), register)

    def _read_word(self, register: int) -> int:
        return int.from_bytes(self._port.write_read(_READ[register], 2, register), "little")
