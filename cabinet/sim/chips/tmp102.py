"""TMP102 thermometer: pointer register, four 16-bit registers, conversions in their own time.

World door: `temperature_c`, a function of time. A conversion holds its value until the next one.
"""

from collections.abc import Callable
from typing import ClassVar

from cabinet.errors import SimError
from cabinet.sim.chips.device import unmodelled
from cabinet.sim.chips.stuck import Stickable

CONVERSION_NS = 26_000_000  # typical
PERIODS_NS = (4_000_000_000, 1_000_000_000, 250_000_000, 125_000_000)  # CR = 0.25, 1, 4, 8 Hz

TEMPERATURE, CONFIG, T_LOW, T_HIGH = range(4)
_DEFAULTS = {CONFIG: 0x60A0, T_LOW: 0x4B00, T_HIGH: 0x5000}  # 12 bit, 4 Hz; 75 and 80 degrees
_ONE_SHOT, _RESOLUTION, _INTERRUPT, _SHUTDOWN, _ALERT, _EXTENDED = 0x8000, 0x6000, 0x0200, 0x0100, 0x0020, 0x0010


class Tmp102(Stickable):
    """One thermometer, supplied since `at_ns`."""

    name = "TMP102"
    register_names: ClassVar = {
        "temperature": (TEMPERATURE,), "config": (CONFIG,), "t_low": (T_LOW,), "t_high": (T_HIGH,),
    }  # fmt: skip

    def __init__(self, temperature_c: Callable[[int], float], at_ns: int) -> None:
        super().__init__()
        self.temperature_c = temperature_c
        self.present = True
        self.frozen = False
        self.offset_c = 0.0  # what it shows too much: a lie of the sensor, not heat
        self.power_up(at_ns)

    def power_up(self, at_ns: int) -> None:
        self._registers = dict(_DEFAULTS)
        self._registers.update({at: value for at, value in self._stuck.items() if at != TEMPERATURE})
        self._pointer = TEMPERATURE
        self._started_ns = at_ns
        self._converted = 0  # conversions done since `_started_ns`
        self._reading_c = 0.0  # reads 0 until the first is done
        self._above = 0  # conversions in a row beyond the limit that counts now
        self._alert = False

    def answers(self, at_ns: int) -> bool:
        return self.present

    def receive(self, data: bytes, at_ns: int) -> None:
        if not data:
            return  # somebody looks whether there is a chip
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
        """Nothing waits for STOP."""

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
            return  # acknowledged, and the cell stays as it is
        if self._pointer != CONFIG:
            self._registers[self._pointer] = value & 0xFFF0
            return
        if value & 0x000F:
            raise unmodelled(self.name, f"bits 0x{value & 0xF:x} of the configuration")
        if value & _INTERRUPT:
            raise unmodelled(self.name, "interrupt mode")
        self._configure(value, at_ns)

    def _configure(self, value: int, at_ns: int) -> None:
        """The configuration's cell takes a value: conversions stop, start or change their pace."""
        old = self._registers[CONFIG]
        self._registers[CONFIG] = value & ~(_ONE_SHOT | _ALERT) | _RESOLUTION
        restart = (old ^ value) & 0x00C0 or (old & _SHUTDOWN and not value & _SHUTDOWN)
        if restart or (value & _SHUTDOWN and value & _ONE_SHOT):
            self._started_ns = at_ns
            self._converted = 0

    def _convert(self, at_ns: int) -> None:
        """Take over the conversions that have finished by `at_ns`."""
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
        self._compare(min(done - self._converted, 6))
        self._converted = done

    def _compare(self, conversions: int) -> None:
        """Thermostat: active at T_HIGH for the fault queue's number of conversions, until below T_LOW as often."""
        high = _degrees(self._registers[T_HIGH])
        low = _degrees(self._registers[T_LOW])
        beyond = self._reading_c < low if self._alert else self._reading_c >= high
        self._above = self._above + conversions if beyond else 0
        if self._above >= (1, 2, 4, 6)[(self._registers[CONFIG] >> 11) & 3]:
            self._alert = not self._alert
            self._above = 0

    def _temperature_code(self) -> int:
        """Sixteenths of a degree, left-justified in 12 bits, or 13 with EM; bit 0 says which."""
        sixteenths = int(self._reading_c // 0.0625)
        if self._registers[CONFIG] & _EXTENDED:
            return (max(-0x1000, min(0xFFF, sixteenths)) << 3) | 1
        return max(-0x800, min(0x7FF, sixteenths)) << 4


def _degrees(register: int) -> float:
    value = register >> 4
    return (value - 0x1000 if value & 0x800 else value) * 0.0625
