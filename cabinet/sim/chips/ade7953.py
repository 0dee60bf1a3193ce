"""ADE7953, the two-channel mains meter (data sheet Rev. B), at register level.

Bus door: 16-bit register pointer, then 1 to 4 data bytes, most significant first (p. 53-54). World door: `follow` the
current of an input, `mains` the voltage. Its two interrupt outputs, IRQ and the ZX pin, report through `on_pin`.
"""

import math
import random
import zlib
from collections.abc import Callable

from cabinet.errors import SimError
from cabinet.sim.chips import ade7953_registers as r
from cabinet.sim.chips.device import Cancellable, Schedule, unmodelled
from cabinet.sim.chips.metering import FULL_POWER, FULL_RMS, FULL_WAVE, NOISE_CODE, SAMPLE_NS, UNITY, CurrentChannel, Settling
from cabinet.sim.waveform import Mains, Wave

ADDRESS = 0x38  # fixed, p. 53
WAKE_NS = 66_000_000  # p. 18: 26 ms and about 40 ms after the supply; that it gives no ACK until then is assumed
PIN_IRQ, PIN_ZX = "IRQ", "ZX"
_CHANNEL_B_IRQ = 0xA  # of ALT_OUTPUT, p. 64
_PGA = {0: 1, 1: 2, 2: 4, 3: 8, 4: 16, 5: 22}
_PHASE_PER_LSB = math.radians(0.02)  # p. 34, at 50 Hz

OnPin = Callable[[str, bool, int], None]


class Ade7953:
    """One chip. `on_pin(pin, high, at_ns)` is called when IRQ or ZX changes; both idle high."""

    name = "ADE7953"

    def __init__(
        self, full_a: float, full_v: float, schedule: Schedule, on_pin: OnPin, at_ns: int, seed: int | None = None
    ) -> None:
        """Supply comes up at `at_ns`. Full scale (500 mV) is `full_a` and `full_v` peak; `seed` None: no noise."""
        self._full_v = full_v
        self._full_w = full_a * full_v / 2
        self._schedule = schedule
        self._on_pin = on_pin
        self._noise = None if seed is None else random.Random(seed)
        self.channels = {
            name: CurrentChannel(full_a, full_v, None if seed is None else random.Random(seed + i + 1))
            for i, name in enumerate("AB")
        }
        self._mains: Mains | None = None
        self._volts = Settling(50e6)
        self._volts_pga = 1.0
        self._armed: dict[str, Cancellable | None] = {"A": None, "B": None}
        self._mains_watch: list[Cancellable] = []
        self._pins = {PIN_IRQ: True, PIN_ZX: True}
        self.present = True  # False: never acknowledges, as if its supply were gone
        self._frozen: dict[int, int] | None = None
        self._cells: dict[int, int] = {}
        self._live = self._live_registers()
        for channel in self.channels.values():
            channel.no_load_when(self._is_no_load)
        self.power_up(at_ns)

    # ---- world door

    def power_up(self, at_ns: int) -> None:
        """Supply on: silent for 66 ms, then the RESET interrupt, everything at its default."""
        self._defaults(at_ns)
        self._ready_ns = at_ns + WAKE_NS
        self._schedule(self._ready_ns, self._announce_reset)

    def reset(self, at_ns: int) -> None:
        """RESET pin or CONFIG bit 7: back to the defaults at once, and the RESET interrupt."""
        self._defaults(at_ns)
        self._announce_reset(at_ns)

    def follow(self, channel: str, wave: Wave, at_ns: int) -> None:
        """From `at_ns` on the current input `channel` carries `wave`."""
        self.channels[channel].follow(wave, at_ns)
        self._arm(channel, at_ns)

    def mains(self, mains: Mains | None, at_ns: int) -> None:
        """From `at_ns` on this is the voltage; None: none at all."""
        peak_v = mains.peak_v if mains else 0.0
        self._volts.aim(peak_v * peak_v / 2, at_ns)
        self._volts_peak = max(self._volts_peak, peak_v)
        self._mains = mains
        if mains is not None:
            self._cells[r.PERIOD] = max(0, min(0xFFFF, round(223_750 * 2 * mains.half_ns * 1e-9) - 1))
        self._watch_mains(at_ns)

    def freeze(self, at_ns: int) -> None:
        """The signal processing hangs: whatever is measured stays as it is now; the bus still answers."""
        for channel in self.channels.values():
            channel.settle(at_ns)
        self._frozen = {address: read(at_ns) for address, read in self._live.items() if address not in _NOT_MEASURED}
        self._frozen[r.AENERGYA] = self._frozen[r.AENERGYB] = 0  # nothing is added to what was read
        for name in self._armed:
            self._disarm(name)

    def thaw(self, at_ns: int) -> None:
        self._frozen = None
        for name in self._armed:
            self._arm(name, at_ns)

    def cell(self, address: int) -> int:
        """What a stored register holds, for the state display and tests."""
        return self._cells[r.cell(address)]

    # ---- bus door

    def answers(self, at_ns: int) -> bool:
        return self.present and at_ns >= self._ready_ns

    def receive(self, data: bytes, at_ns: int) -> None:
        """A pointer, or a pointer and a register's data; another length is a driver's mistake and raises."""
        if len(data) < 2:
            raise SimError(f"{self.name}: a write of {len(data)} byte has no 16-bit register address")
        self._pointer = data[0] << 8 | data[1]
        if len(data) == 2:
            return
        if len(data) - 2 != r.width(self._pointer):
            raise SimError(f"{self.name}: {len(data) - 2} bytes written to 0x{self._pointer:03x}")
        self._write(self._pointer, int.from_bytes(data[2:], "big"), at_ns)

    def send(self, count: int, at_ns: int) -> bytes:
        pointer = self._pointer
        if count != r.width(pointer):
            raise SimError(f"{self.name}: {count} bytes read from 0x{pointer:03x}")
        address = r.cell(pointer)
        value = self._read(address, at_ns)
        if count == 4 and address != r.CRC and r.REGISTERS[address].signed and value & 0x800000:
            value |= 0xFF000000
        if address not in _LAST:
            self._unlocked = False
            self._remember(pointer, r.OP_READ, value)
        return value.to_bytes(count, "big")

    def stop(self, at_ns: int) -> None:
        """Registers act as soon as they are written; STOP changes nothing."""

    # ---- registers

    def _defaults(self, at_ns: int) -> None:
        self._cells = {address: register.reset for address, register in r.REGISTERS.items()}
        self._pointer = 0
        self._unlocked = False
        self._last = (0, 0, 0, 1)  # operation, address, data, width
        self._status = {"A": 0, "B": 0}
        self._volts_peak = self._mains.peak_v if self._mains else 0.0
        self._crc_seen = self._checksum()
        self._ready_ns = at_ns
        self._frozen = None
        self._volts.clear(at_ns)
        for name, channel in self.channels.items():
            channel.gains.reset()
            channel.scale_changed()
            channel.accumulates = True
            channel.reset(at_ns)
            self._disarm(name)
        for address in _SCALING:
            self._rescale(address)
        self._update_pins(at_ns)
        if self._mains is not None:
            self.mains(self._mains, at_ns)

    def _announce_reset(self, at_ns: int) -> None:
        self._status["A"] |= r.RESET_BIT
        self._update_pins(at_ns)

    def _read(self, address: int, at_ns: int) -> int:
        if self._frozen is not None and address in self._frozen:
            return self._frozen[address]
        live = self._live.get(address)
        if live is not None:
            return live(at_ns)
        if address not in self._cells:
            raise unmodelled(self.name, f"reading 0x{address:03x}")
        return self._cells[address]

    def _write(self, pointer: int, value: int, at_ns: int) -> None:
        address = r.cell(pointer)
        register = r.REGISTERS.get(address)
        if register is None or register.writable is None:
            raise SimError(f"{self.name}: 0x{pointer:03x} cannot be written")
        if r.width(pointer) == 4:
            value &= 0xFFFFFF
        unlocked, self._unlocked = self._unlocked, False
        if address == r.UNLOCK:
            self._unlocked = value == r.UNLOCK_KEY
        elif self._protected(pointer) or (address == r.REQUIRED and not unlocked):
            return  # acknowledged on the bus and ignored, p. 57
        else:
            self._check(address, register, value)
            self._store(address, value, at_ns)
        self._remember(pointer, r.OP_WRITE, value)

    def _protected(self, pointer: int) -> bool:
        if pointer == r.WRITE_PROTECT:
            return False
        bit = {1: 1, 2: 2, 3: 4, 4: 4}[r.width(pointer)]
        return bool(self._cells[r.WRITE_PROTECT] & bit)

    def _check(self, address: int, register: r.Register, value: int) -> None:
        """Raise for anything this model does not do."""
        changed = value ^ register.reset
        if register.writable is not None and changed & ~register.writable:
            raise unmodelled(self.name, f"bits 0x{changed & ~register.writable:x} of {register.name}")
        if address in r.GAINS and not r.GAIN_LEAST <= value <= r.GAIN_MOST:
            raise unmodelled(self.name, f"{register.name} = 0x{value:06x}, outside x0.5 to x1.5,")
        if address in (r.PGA_V, r.PGA_IA, r.PGA_IB) and (value not in _PGA or (value == 5 and address != r.PGA_IA)):
            raise unmodelled(self.name, f"gain code {value} of {register.name}")
        if address == r.CONFIG and not value & 0x4:
            raise unmodelled(self.name, "CONFIG with the high-pass filter off")
        if address == r.ALT_OUTPUT and value not in (0, _CHANNEL_B_IRQ):
            raise unmodelled(self.name, f"ALT_OUTPUT 0x{value:03x}")

    def _store(self, address: int, value: int, at_ns: int) -> None:
        if address in _SCALING:
            for channel in self.channels.values():
                channel.settle(at_ns)
        self._cells[address] = value
        if address == r.CONFIG and value & 0x80:
            self.reset(at_ns)
            return
        if address in _SCALING:
            self._rescale(address)
        if address in _SCALING or address == r.OILVL:
            for name in self._armed:
                self._arm(name, at_ns)
        if address in (r.OVLVL, r.SAGLVL, r.SAGCYC, r.ZXTOUT):
            self._watch_mains(at_ns)
        self._check_crc()
        self._update_pins(at_ns)

    def _rescale(self, address: int) -> None:
        cells = self._cells
        self._volts_pga = _PGA[cells[r.PGA_V]]
        for name, pga, base in (("A", r.PGA_IA, 0x280), ("B", r.PGA_IB, 0x28C)):
            channel = self.channels[name]
            channel.gains.current = cells[base] / UNITY
            channel.gains.pga = _PGA[cells[pga]]
            channel.gains.voltage = cells[base + 1] / UNITY * self._volts_pga
            channel.gains.power = cells[base + 2] / UNITY
            channel.gains.rms_offset = _signed(cells[0x286 if name == "A" else 0x292])
            channel.gains.power_offset = _signed(cells[0x289 if name == "A" else 0x295])
            phase = cells[r.PHCALA if name == "A" else r.PHCALB]
            channel.gains.shift = (phase & 0x1FF) * _PHASE_PER_LSB * (1 if phase & 0x200 else -1)
            channel.scale_changed()

    def _remember(self, pointer: int, operation: int, value: int) -> None:
        self._last = (operation, pointer, value, r.width(pointer))

    # ---- measured registers

    def _live_registers(self) -> dict[int, Callable[[int], int]]:
        a, b = self.channels["A"], self.channels["B"]
        live: dict[int, Callable[[int], int]] = {
            r.RSTIAPEAK: lambda t: a.peak_code(t, True) & 0xFFFFFF,
            r.RSTIBPEAK: lambda t: b.peak_code(t, True) & 0xFFFFFF,
            r.IAPEAK: lambda t: a.peak_code(t, False) & 0xFFFFFF,
            r.IBPEAK: lambda t: b.peak_code(t, False) & 0xFFFFFF,
            r.V: self._volts_sample,
            r.VRMS: self._volts_rms,
            r.VPEAK: lambda t: self._volts_peak_code(t, False),
            r.RSTVPEAK: lambda t: self._volts_peak_code(t, True),
            r.IRQSTATA: lambda t: self._take_status("A", t, False),
            r.RSTIRQSTATA: lambda t: self._take_status("A", t, True),
            r.IRQSTATB: lambda t: self._take_status("B", t, False),
            r.RSTIRQSTATB: lambda t: self._take_status("B", t, True),
            r.LAST_OP: lambda t: self._last[0],
            r.LAST_ADD: lambda t: self._last[1],
            r.LAST_RWDATA_8: lambda t: self._last[2] & 0xFF,
            r.LAST_RWDATA_16: lambda t: self._last[2] & 0xFFFF,
            r.LAST_RWDATA_24: lambda t: self._last[2] & 0xFFFFFF,
            r.CRC: lambda t: self._checksum() if self._cells[r.CONFIG] & 0x100 else 0xFFFFFFFF,
            r.ACCMODE: self._modes,
        }
        for channel, sample, rms, watt, var, va, energy, factor, angle in (
            (a, r.IA, r.IRMSA, r.AWATT, r.AVAR, r.AVA, r.AENERGYA, r.PFA, r.ANGLE_A),
            (b, r.IB, r.IRMSB, r.BWATT, r.BVAR, r.BVA, r.AENERGYB, r.PFB, r.ANGLE_B),
        ):
            live[sample] = lambda t, c=channel: c.sample_code(t) & 0xFFFFFF  # type: ignore[misc]
            live[rms] = lambda t, c=channel: c.rms_code(t, self._ripple(t))  # type: ignore[misc]
            live[watt] = lambda t, c=channel: c.watt_code(t, self._ripple(t)) & 0xFFFFFF  # type: ignore[misc]
            live[var] = lambda t, c=channel: c.var_code(t) & 0xFFFFFF  # type: ignore[misc]
            live[va] = lambda t, c=channel: self._volt_amps(c, t) & 0xFFFFFF  # type: ignore[misc]
            live[energy] = lambda t, c=channel: self._energy(c, t) & 0xFFFFFF  # type: ignore[misc]
            live[factor] = lambda t, c=channel: self._power_factor(c, t) & 0xFFFF  # type: ignore[misc]
            live[angle] = lambda t, c=channel: self._angle(c, t) & 0xFFFF  # type: ignore[misc]
        return live

    def _ripple(self, at_ns: int) -> float:
        """What the filters let through at twice the mains frequency, -1 to 1."""
        return math.cos(2 * self._mains.angle(at_ns)) if self._mains else 0.0

    def _volts_sample(self, at_ns: int) -> int:
        if self._mains is None:
            return round(self._noise_code()) & 0xFFFFFF
        sampled_ns = int(at_ns // SAMPLE_NS * SAMPLE_NS)
        code = self._mains.value_v(sampled_ns) / self._full_v * FULL_WAVE * self._volts_pga
        return round(max(-FULL_WAVE, min(FULL_WAVE, code)) + self._noise_code()) & 0xFFFFFF

    def _noise_code(self) -> float:
        return NOISE_CODE * (2 * self._noise.random() - 1) if self._noise else 0.0

    def _volts_rms(self, at_ns: int) -> int:
        volts = math.sqrt(max(0.0, self._volts.at(at_ns)))
        code = volts * math.sqrt(2) / self._full_v * FULL_RMS * self._volts_pga * (1 + 0.001 * self._ripple(at_ns))
        offset = _signed(self._cells[0x288]) * 4096
        return round(math.sqrt(max(0.0, code * code + offset)) + abs(self._noise_code()) / 10)

    def _volts_peak_code(self, at_ns: int, reset: bool) -> int:
        peak_v, now_v = self._volts_peak, self._mains.peak_v if self._mains else 0.0
        if reset:
            self._volts_peak = now_v
        code = min(FULL_WAVE, max(peak_v, now_v) / self._full_v * FULL_WAVE * self._volts_pga)
        return round(code + abs(self._noise_code()))

    def _volt_amps(self, channel: CurrentChannel, at_ns: int) -> int:
        share = self._volts_rms(at_ns) / FULL_RMS * (channel.rms_code(at_ns, 0.0) / FULL_RMS)
        return round(share * FULL_POWER)

    def _power_factor(self, channel: CurrentChannel, at_ns: int) -> int:
        """Magnitude from power over apparent power; the sign follows the reactive power (p. 38)."""
        apparent = self._volt_amps(channel, at_ns)
        if apparent <= 0:
            return 0x7FFF
        factor = min(0x7FFF, round(abs(channel.watt_code(at_ns, 0.0)) / apparent * 0x8000))
        return -factor if channel.var_code(at_ns) < 0 else factor

    def _angle(self, channel: CurrentChannel, at_ns: int) -> int:
        """Delay of the fundamental against the voltage, 4.47 us a step (p. 39)."""
        watts, var = channel.watt_code(at_ns, 0.0), channel.var_code(at_ns)
        if self._mains is None or (watts == 0 and var == 0):
            return 0
        return round(math.atan2(var, watts) / math.pi * self._mains.half_ns / 4470)

    def _energy(self, channel: CurrentChannel, at_ns: int) -> int:
        channel.settle(at_ns)
        counts = math.floor(channel.energy_counts)
        if self._cells[r.LCYCMODE] & 0x40:
            channel.energy_counts -= counts
        return _signed(counts & 0xFFFFFF)

    def _is_no_load(self, share: float) -> bool:
        """Data sheet p. 40: level = 65,536 - Y / 1.4, no load below 1/Y of full scale, unless disabled."""
        if self._cells[r.DISNOLOAD] & 1:
            return False
        ratio = (65_536 - self._cells[r.AP_NOLOAD]) * 1.4
        return ratio > 0 and share < 1 / ratio

    def _modes(self, at_ns: int) -> int:
        flags = 0
        for name, sign, idle in (("A", 10, 16), ("B", 11, 19)):
            watts = self.channels[name].watt_code(at_ns, 0.0)
            flags |= (watts < -8) << sign
            flags |= self._is_no_load(abs(watts) / FULL_POWER) << idle
        return flags

    # ---- interrupts

    def _take_status(self, name: str, at_ns: int, reset: bool) -> int:
        """Latched whether or not enabled (p. 50); reading the RST address clears them and releases the pin."""
        status = self._status[name]
        if name == "A":
            status |= 1 << 17  # a sample has been taken since
            status |= (1 << 15) if self._mains is not None else 0
        counts = abs(self.channels[name].energy_counts)
        status |= (1 if counts > 0x400000 else 0) | (8 if counts > 0x800000 else 0)
        if reset:
            self._status[name] = 0
            self._update_pins(at_ns)
            self._arm(name, at_ns)
            if name == "A":
                self._watch_mains(at_ns)
        return status

    def _raise_status(self, name: str, bit: int, at_ns: int) -> None:
        self._status[name] |= bit
        self._update_pins(at_ns)

    def _update_pins(self, at_ns: int) -> None:
        a = self._status["A"] & (self._cells[r.IRQENA] | r.RESET_BIT)
        b = self._status["B"] & self._cells[r.IRQENB] if self._cells[r.ALT_OUTPUT] & 0xF == _CHANNEL_B_IRQ else 0
        for pin, high in ((PIN_IRQ, not a), (PIN_ZX, not b)):
            if self._pins[pin] != high:
                self._pins[pin] = high
                self._on_pin(pin, high, at_ns)

    def _disarm(self, name: str) -> None:
        armed = self._armed[name]
        if armed is not None:
            armed.cancel()
            self._armed[name] = None

    def _arm(self, name: str, at_ns: int) -> None:
        """Plan the over-current interrupt: the first sample whose magnitude exceeds OILVL (p. 48)."""
        self._disarm(name)
        if self._frozen is not None or self._status[name] & r.OVERCURRENT:
            return
        level, channel = self._cells[r.OILVL], self.channels[name]
        if level >= channel.clip:
            return
        first_ns = channel.wave.first_above_ns(level / channel.code_per_a, at_ns)
        if first_ns is not None:
            sampled_ns = math.ceil(math.ceil(first_ns / SAMPLE_NS) * SAMPLE_NS)
            self._armed[name] = self._schedule(sampled_ns, lambda t: self._raise_status(name, r.OVERCURRENT, t))

    def _watch_mains(self, at_ns: int) -> None:
        """Plan what a change of the voltage, or of its limits, will raise: OV, SAG, zero crossings missing."""
        for planned in self._mains_watch:
            planned.cancel()
        self._mains_watch = []
        code = (self._mains.peak_v if self._mains else 0.0) / self._full_v * FULL_WAVE * self._volts_pga
        half_ns = self._mains.half_ns if self._mains else 10e6
        after: list[tuple[float, int]] = []
        if code > self._cells[r.OVLVL]:
            after.append((half_ns, r.OVERVOLTAGE))
        if self._cells[r.SAGCYC] and code < self._cells[r.SAGLVL]:
            after.append((half_ns * self._cells[r.SAGCYC], r.SAG))
        if code < FULL_WAVE / 1250:  # p. 44: below this no crossing is seen
            after.append((self._cells[r.ZXTOUT] * 1e9 / 14_000, r.ZERO_CROSSING_MISSING))
        for delay_ns, bit in after:
            if not self._status["A"] & bit:
                planned = self._schedule(at_ns + round(delay_ns), lambda t, bit=bit: self._raise_status("A", bit, t))  # type: ignore[misc]
                self._mains_watch.append(planned)

    def _checksum(self) -> int:
        """Any hash over the covered cells that gives the published value at the defaults (p. 58-59)."""
        return _hash(self._cells) ^ _HASH_AT_DEFAULTS ^ r.CRC_AT_DEFAULTS

    def _check_crc(self) -> None:
        seen = self._checksum()
        if self._cells[r.CONFIG] & 0x100 and seen != self._crc_seen:
            self._status["A"] |= r.CRC_CHANGED
        self._crc_seen = seen


def _hash(cells: dict[int, int]) -> int:
    return zlib.crc32(b"".join(cells.get(address, 0).to_bytes(4, "big") for address in r.CRC_CELLS))


def _signed(value: int) -> int:
    return value - 0x1000000 if value & 0x800000 else value


_HASH_AT_DEFAULTS = _hash({address: register.reset for address, register in r.REGISTERS.items()})
_LAST = frozenset({r.LAST_OP, r.LAST_ADD, r.LAST_RWDATA_8, r.LAST_RWDATA_16, r.LAST_RWDATA_24})
_NOT_MEASURED = _LAST | {r.IRQSTATA, r.RSTIRQSTATA, r.IRQSTATB, r.RSTIRQSTATB, r.CRC}
_SCALING = frozenset({r.PGA_V, r.PGA_IA, r.PGA_IB, r.PHCALA, r.PHCALB, r.DISNOLOAD, r.AP_NOLOAD, 0x286, 0x289, 0x292, 0x295}) | r.GAINS
