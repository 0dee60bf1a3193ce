"""MCP23017, the 16-bit expander (DS20001952C): registers in BANK = 0, sequential or byte mode.

World door: `on_outputs(driven_high, at_ns)` is called at STOP if the set of pins that are outputs and really high has
changed. After power-on every pin is an input, so no pin is driven. `on_interrupt(high, at_ns)` is the line that INTA
and INTB share: mirrored, active low.
"""

from collections.abc import Callable
from typing import ClassVar

from cabinet.errors import SimError
from cabinet.sim.chips.device import unmodelled
from cabinet.sim.chips.stuck import Stickable

IODIR, IPOL, GPINTEN, DEFVAL, INTCON, IOCON, GPPU, INTF, INTCAP, GPIO, OLAT = range(0x00, 0x16, 2)
_NAMES = ("IODIR", "IPOL", "GPINTEN", "DEFVAL", "INTCON", "IOCON", "GPPU", "INTF", "INTCAP", "GPIO", "OLAT")
_LAST = 0x15
_BYTE_MODE, _MIRROR = 0x20, 0x40  # IOCON SEQOP, MIRROR
_REFUSED = frozenset({DEFVAL, INTCON})  # interrupt on a difference from a default value
_READ_ONLY = frozenset({INTF, INTCAP})


class Mcp23017(Stickable):
    """One expander. `set_level` applies the external level of a pin, `hold` forces a pin.

    `stick` takes both ports of a register as one word, port B in the upper half.
    """

    name = "MCP23017"
    register_names: ClassVar = {name.lower(): (2 * number,) for number, name in enumerate(_NAMES)}

    def __init__(
        self,
        on_outputs: Callable[[int, int], None] = lambda word, at_ns: None,
        on_interrupt: Callable[[bool, int], None] = lambda high, at_ns: None,
    ) -> None:
        super().__init__()
        self._on_outputs = on_outputs
        self._on_interrupt = on_interrupt
        self._interrupt_high = True
        self._driven = 0
        self._held_low = self._held_high = 0
        self._levels = 0
        self._before = 0  # levels when the interrupt was last cleared
        self.present = True
        self._defaults()

    def _defaults(self) -> None:
        self._registers = bytearray(_LAST + 1)
        self._registers[IODIR] = self._registers[IODIR + 1] = 0xFF
        for register, word in self._stuck.items():
            if self._is_stored(register):
                self._registers[register : register + 2] = word.to_bytes(2, "little")
        self._pointer = 0

    def power_up(self, at_ns: int) -> None:
        """Apply supply or RESET: every pin becomes an input."""
        self._defaults()
        self.stop(at_ns)
        self._drive_interrupt_pin(at_ns)

    def hold(self, pin: int, level: bool | None, at_ns: int) -> None:
        """Force a pin to a level by a defect that overrides any driver; None: release it."""
        self._held_low = self._held_low & ~(1 << pin) | (level is False) << pin
        self._held_high = self._held_high & ~(1 << pin) | (level is True) << pin
        self.stop(at_ns)
        self._update_interrupt(at_ns)

    def set_level(self, pin: int, high: bool, at_ns: int) -> None:
        """Set the external level of a pin; it takes effect if the pin is an input."""
        self._levels = self._levels | 1 << pin if high else self._levels & ~(1 << pin)
        self._update_interrupt(at_ns)

    def answers(self, at_ns: int) -> bool:
        return self.present

    def receive(self, data: bytes, at_ns: int) -> None:
        if not data:
            return
        if data[0] > _LAST:
            raise SimError(f"{self.name}: no register 0x{data[0]:02x} with BANK = 0")
        self._pointer = data[0]
        for value in data[1:]:
            self._write(self._pointer, value, at_ns)
            self._advance()

    def send(self, count: int, at_ns: int) -> bytes:
        values = bytearray()
        for _ in range(count):
            values.append(self._read(self._pointer, at_ns))
            self._advance()
        return bytes(values)

    def stop(self, at_ns: int) -> None:
        driven = (self._word(OLAT) & ~self._word(IODIR) | self._held_high) & ~self._held_low
        if driven != self._driven:
            self._driven = driven
            self._on_outputs(driven, at_ns)

    def latch(self) -> int:
        return self._word(OLAT)

    def directions(self) -> int:
        return self._word(IODIR)

    def _word(self, register: int) -> int:
        return self._registers[register] | self._registers[register + 1] << 8

    def _bits(self, address: int) -> int:
        return 16

    def _is_stored(self, address: int) -> bool:
        return address not in (INTF, INTCAP, GPIO)

    def _present(self, address: int, at_ns: int) -> int:
        if address == GPIO:
            return self._stuck.get(GPIO, self._level(0) | self._level(1) << 8)
        return self._stuck.get(address, self._word(address))

    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        if address == IOCON and value & ~0x0101 * (_BYTE_MODE | _MIRROR) & 0xFFFF:
            raise unmodelled(self.name, f"0x{value:04x} in IOCON")
        self._registers[address : address + 2] = value.to_bytes(2, "little")
        self.stop(at_ns)
        self._update_interrupt(at_ns)

    def _advance(self) -> None:
        if self._registers[IOCON] & _BYTE_MODE:
            self._pointer ^= 1  # toggles within the A/B pair
        else:
            self._pointer = self._pointer + 1 if self._pointer < _LAST else 0

    def _update_interrupt(self, at_ns: int) -> None:
        """Raise the interrupt if pins changed since it was cleared; the levels of the first change are kept (p. 25)."""
        for port in (0, 1):
            enabled = self._registers[GPINTEN + port] & self._registers[IODIR + port]
            moved = (self._level(port) ^ self._before >> 8 * port) & enabled
            if moved and not self._registers[INTF + port]:
                self._registers[INTF + port] = moved
                self._registers[INTCAP + port] = self._level(port)
        self._drive_interrupt_pin(at_ns)

    def _take_back(self, port: int, at_ns: int) -> None:
        self._before = self._before & ~(0xFF << 8 * port) | self._level(port) << 8 * port
        self._registers[INTF + port] = 0
        self._drive_interrupt_pin(at_ns)

    def _drive_interrupt_pin(self, at_ns: int) -> None:
        high = not self._word(INTF)
        if high != self._interrupt_high:
            self._interrupt_high = high
            self._on_interrupt(high, at_ns)

    def _write(self, address: int, value: int, at_ns: int) -> None:
        register = address & ~1
        name = _NAMES[register // 2]
        if self._stuck and (OLAT if register == GPIO else register) in self._stuck:
            return  # acknowledged, but the cell keeps its value
        if register in _READ_ONLY:
            raise SimError(f"{self.name}: {name} cannot be written")
        if register in _REFUSED and value:
            raise unmodelled(self.name, f"0x{value:02x} in {name}")
        if register == IOCON:
            if unknown := value & ~(_BYTE_MODE | _MIRROR):
                raise unmodelled(self.name, f"bits 0x{unknown:02x} of IOCON")
            self._registers[IOCON] = self._registers[IOCON + 1] = value  # one register at two addresses
            return
        if register == GPINTEN and value and not self._registers[IOCON] & _MIRROR:
            raise unmodelled(self.name, "INTA and INTB apart (IOCON.MIRROR = 0)")
        self._registers[OLAT + (address & 1) if register == GPIO else address] = value
        if register == GPINTEN:
            self._take_back(address & 1, at_ns)

    def _read(self, address: int, at_ns: int) -> int:
        port, register = address & 1, address & ~1
        value = self._level(port) if register == GPIO else self._registers[address]
        if register in (GPIO, INTCAP):
            self._take_back(port, at_ns)
        if self._stuck and register in self._stuck:
            return self._stuck[register] >> 8 * port & 0xFF
        return value

    def _level(self, port: int) -> int:
        """Return the levels as a read of GPIO gives them."""
        inputs = self._registers[IODIR + port]
        outside = self._levels >> (8 * port) & 0xFF | self._registers[GPPU + port]
        level = self._registers[OLAT + port] & ~inputs | outside & inputs
        level = (level | self._held_high >> 8 * port & 0xFF) & ~(self._held_low >> 8 * port)
        return level ^ (self._registers[IPOL + port] & inputs)
