"""TMP102 thermometer: pointer register, four 16-bit registers, periodic conversions.

World door: `temperature_c`, a function of time. A conversion holds its value until the next one.
"""

import random
from collections.abc import Callable
from typing import ClassVar

from cabinet.errors import SimError
from cabinet.sim.chips.device import unmodelled
from cabinet.sim.chips.stuck import Stickable

CONVERSION_NS = 26_000_000  # typical
# A resolution of 0.0625 degrees with noise of the same size: a steady temperature flickers between two codes. The data
# sheet gives the resolution but no noise; the flicker of the last bit is taken from experience with this type of
# converter.
FLICKER_C = 0.0625
PERIODS_NS = (4_000_000_000, 1_000_000_000, 250_000_000, 125_000_000)  # CR = 0.25, 1, 4, 8 Hz

TEMPERATURE, CONFIG, T_LOW, T_HIGH = range(4)
_DEFAULTS = {CONFIG: 0x60A0, T_LOW: 0x4B00, T_HIGH: 0x5000}  # 12 bit, 4 Hz; 75 and 80 degrees
_ONE_SHOT, _RESOLUTION, _INTERRUPT, _SHUTDOWN, _ALERT, _EXTENDED = 0x8000, 0x6000, 0x0200, 0x0100, 0x0020, 0x0010


class Tmp102(Stickable):
    """One thermometer."""

    name = "TMP102"
    register_names: ClassVar = {
        "temperature": (TEMPERATURE,), "config": (CONFIG,), "t_low": (T_LOW,), "t_high": (T_HIGH,),
    }  # fmt: skip

    def __init__(self, temperature_c: Callable[[int], float], at_ns: int, noise: random.Random | None = None) -> None:
        """Power up at `at_ns`. If `noise` is None, a conversion gives the temperature exactly."""
        super().__init__()
        self.temperature_c = temperature_c
        self._noise = noise
        self.present = True
        self.frozen = False
        self.offset_c = 0.0  # error added to the reading, not heat
        self.power_up(at_ns)

    def power_up(self, at_ns: int) -> None:
        self._registers = dict(_DEFAULTS)
        self._registers.update({at: value for at, value in self._stuck.items() if at != TEMPERATURE})
        self._pointer = TEMPERATURE
        self._started_ns = at_ns
        self._converted = 0  # conversions done since `_started_ns`
        self._reading_c = 0.0  # reads 0 until the first conversion is done
        self._above = 0  # successive conversions beyond the limit that applies now
        self._alert = False

    def answers(self, at_ns: int) -> bool:
        return self.present

    def receive(self, data: bytes, at_ns: int) -> None:
        if not data:
            return  # a probe for the presence of the chip
        if data[0] > T_HIGH:
            raise SimError(f"{self.name}: no register {data[0]}")
        self._pointer = data[0]
        if len(data) == 1:
            return
        if len(data) != 3:
            raise SimError(f"{self.name}: {len(data) - 1} bytes written to register {self._pointer}")
        if self._pointer == TEMPERATURE:
            raise SimError(f"{self.name}: the temperature cannot be written")
        self._convert(at_ns)
        self._write(int.from_bytes(data[1:], "big"), at_ns)

    def send(self, count: int, at_ns: int) -> bytes:
        if not 1 <= count <= 2:
            raise SimError(f"{self.name}: {count} bytes read from a 16-bit register")
        self._convert(at_ns)
        value = self._temperature_code() if self._pointer == TEMPERATURE else self._read(at_ns)
        if self._pointer == TEMPERATURE and self._stuck:
            value = self._stuck.get(TEMPERATURE, value)
        return (value & 0xFFFF).to_bytes(2, "big")[:count]

    def stop(self, at_ns: int) -> None:
        """Do nothing: no register waits for STOP."""

    def _bits(self, address: int) -> int:
        return 16

    def _is_stored(self, address: int) -> bool:
        return address != TEMPERATURE

    def _present(self, address: int, at_ns: int) -> int:
        self._convert(at_ns)
        if address == TEMPERATURE:
            return self._stuck.get(TEMPERATURE, self._temperature_code() & 0xFFFF)
        return self._registers[address]

    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        self._convert(at_ns)
        if address == CONFIG:
            self._configure(value, at_ns)
        else:
            self._registers[address] = value & 0xFFF0

    def _read(self, at_ns: int) -> int:
        value = self._registers[self._pointer]
        if self._pointer == CONFIG:
            active_high = bool(value & 0x0400)
            value = value & ~_ALERT | (_ALERT if self._alert == active_high else 0)
            if value & _SHUTDOWN:
                done = self._converted > 0 or at_ns - self._started_ns >= CONVERSION_NS
                value |= _ONE_SHOT if done else 0
        return value

    def _write(self, value: int, at_ns: int) -> None:
        if self._pointer in self._stuck:
            return  # acknowledged, but the cell keeps its value
        if self._pointer != CONFIG:
            self._registers[self._pointer] = value & 0xFFF0
            return
        if value & 0x000F:
            raise unmodelled(self.name, f"bits 0x{value & 0xF:x} of the configuration")
        if value & _INTERRUPT:
            raise unmodelled(self.name, "interrupt mode")
        self._configure(value, at_ns)

    def _configure(self, value: int, at_ns: int) -> None:
        """Set the configuration register: conversions stop, start or change their rate."""
        old = self._registers[CONFIG]
        self._registers[CONFIG] = value & ~(_ONE_SHOT | _ALERT) | _RESOLUTION
        restart = (old ^ value) & 0x00C0 or (old & _SHUTDOWN and not value & _SHUTDOWN)
        if restart or (value & _SHUTDOWN and value & _ONE_SHOT):
            self._started_ns = at_ns
            self._converted = 0

    def _convert(self, at_ns: int) -> None:
        """Process the conversions finished by `at_ns`."""
        if self.frozen:
            return
        config = self._registers[CONFIG]
        since_ns = at_ns - self._started_ns - CONVERSION_NS
        if since_ns < 0:
            return
        done = 1 if config & _SHUTDOWN else 1 + since_ns // PERIODS_NS[(config >> 6) & 3]
        if done <= self._converted:
            return
        self._reading_c = self.temperature_c(at_ns) + self.offset_c
        if self._noise is not None:
            self._reading_c += FLICKER_C * (self._noise.random() - 0.5)
        self._compare(min(done - self._converted, 6))
        self._converted = done

    def _compare(self, conversions: int) -> None:
        """Update the alert: on after the fault queue's conversions at T_HIGH, off after as many under T_LOW."""
        high = _degrees(self._registers[T_HIGH])
        low = _degrees(self._registers[T_LOW])
        beyond = self._reading_c < low if self._alert else self._reading_c >= high
        self._above = self._above + conversions if beyond else 0
        if self._above >= (1, 2, 4, 6)[(self._registers[CONFIG] >> 11) & 3]:
            self._alert = not self._alert
            self._above = 0

    def _temperature_code(self) -> int:
        """Return sixteenths of a degree, left-justified in 12 bits, or 13 if EM is set, which bit 0 indicates."""
        sixteenths = int(self._reading_c // 0.0625)
        if self._registers[CONFIG] & _EXTENDED:
            return (max(-0x1000, min(0xFFF, sixteenths)) << 3) | 1
        return max(-0x800, min(0x7FF, sixteenths)) << 4


def _degrees(register: int) -> float:
    value = register >> 4
    return (value - 0x1000 if value & 0x800 else value) * 0.0625
