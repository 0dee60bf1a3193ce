"""ADE7953, the two-channel mains meter (data sheet Rev. B), at register level.

Bus door: 16-bit register pointer, then 1 to 4 data bytes, most significant first (p. 53-54). World door: `follow` sets
the current of an input, `mains` the voltage. The two interrupt outputs, IRQ and the ZX pin, report through `on_pin`.
"""

import math
import random
import zlib
from collections.abc import Callable

from cabinet.errors import SimError
from cabinet.sim.chips import ade7953_registers as r
from cabinet.sim.chips.ade7953_interrupts import CHANNEL_B_IRQ, Interrupts, OnPin
from cabinet.sim.chips.ade7953_interrupts import PIN_IRQ as PIN_IRQ
from cabinet.sim.chips.ade7953_interrupts import PIN_ZX as PIN_ZX
from cabinet.sim.chips.device import Schedule, unmodelled
from cabinet.sim.chips.metering import FULL_POWER, FULL_RMS, UNITY, CurrentChannel, VoltageChannel
from cabinet.sim.chips.stuck import Stickable
from cabinet.sim.waveform import Mains, Wave

ADDRESS = 0x38  # fixed, p. 53
WAKE_NS = 66_000_000  # p. 18: 26 ms and about 40 ms after supply; no ACK until then is an assumption
_PGA = {0: 1, 1: 2, 2: 4, 3: 8, 4: 16, 5: 22}
_PHASE_PER_LSB = math.radians(0.02)  # p. 34, at 50 Hz


class Ade7953(Stickable):
    """One meter chip. `on_pin(pin, high, at_ns)` is called when IRQ or ZX changes; both idle high."""

    name = "ADE7953"
    register_names = r.NAMES

    def __init__(
        self, full_a: float, full_v: float, schedule: Schedule, on_pin: OnPin, at_ns: int, seed: int | None = None
    ) -> None:
        """Power up at `at_ns`. Full scale (500 mV) is `full_a` and `full_v` peak; no noise if `seed` is None."""
        super().__init__()
        noise = [None if seed is None else random.Random(seed + i) for i in range(3)]
        self.channels = {name: CurrentChannel(full_a, full_v, noise[i]) for i, name in enumerate("AB")}
        self.channels["A"].other, self.channels["B"].other = self.channels["B"], self.channels["A"]
        self.implausible = False  # peaks and RMS read as all ones, like an undriven bus
        self.present = True  # False: no acknowledge, as without supply
        self._volts = VoltageChannel(full_v, noise[2])
        self._schedule = schedule
        self._frozen: dict[int, int] | None = None
        self._energy_frozen: dict[str, float] = {}
        self._cells: dict[int, int] = r.reset_values()
        self._interrupts = Interrupts(self._cells, self.channels, self._volts, schedule, on_pin)
        self._live = self._live_registers()
        for channel in self.channels.values():
            channel.no_load_when(self._is_no_load)
        self.power_up(at_ns)

    # ---- World door

    def power_up(self, at_ns: int) -> None:
        """Apply the supply: no answer for 66 ms, then the RESET interrupt, all registers at their defaults."""
        self._defaults(at_ns)
        self._ready_ns = at_ns + WAKE_NS
        self._schedule(self._ready_ns, self._announce_reset)

    def reset(self, at_ns: int) -> None:
        """Reset by pin or CONFIG bit 7: registers take their defaults at once, and the RESET interrupt is raised."""
        self._defaults(at_ns)
        self._announce_reset(at_ns)

    def follow(self, channel: str, wave: Wave, at_ns: int) -> None:
        """Set the current of input `channel` to `wave` from `at_ns` on."""
        for each in self.channels.values():
            each.settle(at_ns)  # also the other input, which carried a share of the old wave
        here = self.channels[channel]
        here.follow(wave, at_ns)
        if here.leak_share and here.other is not None:
            here.other.follow(here.other.wave, at_ns)
        self._interrupts.arm(channel, at_ns)

    def set_crosstalk(self, share: float, at_ns: int, everywhere: bool = False) -> None:
        """Add this share of the other input's current to each input's peaks; if `everywhere`, also to RMS and power."""
        for channel in self.channels.values():
            channel.settle(at_ns)
        for channel in self.channels.values():
            channel.crosstalk_share = share
            channel.sense(leak_share=share if everywhere else 0.0)
            channel.follow(channel.wave, at_ns)

    def saturate(self, name: str, level_a: float, at_ns: int) -> None:
        """Set the instantaneous current at which the sensor of input `name` saturates; infinite: never."""
        channel = self.channels[name]
        channel.settle(at_ns)
        channel.sense(saturates_a=level_a)
        channel.follow(channel.wave, at_ns)
        self._interrupts.arm(name, at_ns)

    def mains(self, mains: Mains | None, at_ns: int) -> None:
        """Set the voltage from `at_ns` on; None: no voltage."""
        self._volts.follow(mains, at_ns)
        if mains is not None:  # without mains the last period stays
            self._cells[r.PERIOD] = max(0, min(0xFFFF, round(223_750 * 2 * mains.half_ns * 1e-9) - 1))
        self._interrupts.watch_mains(at_ns)

    def freeze(self, at_ns: int) -> None:
        """Stop the signal processing: all measured values keep their present state; the bus still answers."""
        if self._frozen is not None:
            return
        for channel in self.channels.values():
            channel.settle(at_ns)
        # Read the peaks without reset first, because reading those with reset clears them.
        order = sorted(self._live, key=lambda address: address in r.READ_AWAY)
        self._frozen = {address: self._live[address](at_ns) for address in order if address not in r.NOT_MEASURED}
        self._frozen[r.AENERGYA] = self._frozen[r.AENERGYB] = 0  # no energy is added after the last read
        self._frozen[r.PERIOD] = self._cells[r.PERIOD]
        self._energy_frozen = {name: channel.energy_counts for name, channel in self.channels.items()}
        self._interrupts.stopped = True
        self._interrupts.disarm()

    def thaw(self, at_ns: int) -> None:
        """Restart the signal processing; the time since `freeze` is not measured."""
        if self._frozen is None:
            return
        self._frozen = None
        for name, channel in self.channels.items():
            channel.settle(at_ns)
            channel.peak_code(at_ns, True)
            channel.energy_counts = self._energy_frozen[name]
        self._interrupts.stopped = False
        for name in self.channels:
            self._interrupts.arm(name, at_ns)

    def cell(self, address: int) -> int:
        """Return the content of a stored register, for the state display and tests."""
        return self._cells[r.cell(address)]

    # ---- Stuck registers

    def _bits(self, address: int) -> int:
        return 8 * r.width(address)

    def _is_stored(self, address: int) -> bool:
        return address in self._cells and address not in self._live and address != r.PERIOD

    def _present(self, address: int, at_ns: int) -> int:
        counts = {}
        for name, channel in self.channels.items():
            channel.settle(at_ns)
            counts[name] = channel.energy_counts
        value = self._read(address, at_ns)
        for name, channel in self.channels.items():
            channel.energy_counts = counts[name]
        return value

    # ---- Bus door

    def answers(self, at_ns: int) -> bool:
        return self.present and at_ns >= self._ready_ns

    def receive(self, data: bytes, at_ns: int) -> None:
        """Take a pointer, or a pointer with register data. Raises SimError on another length, a fault of the driver."""
        if not data:
            return  # a probe for the presence of the chip
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
        if address not in r.LAST:
            self._unlocked = False
            self._last = (r.OP_READ, pointer, value, count)
        if self.implausible and address in r.GARBLED:
            return b"\xff" * count
        return value.to_bytes(count, "big")

    def stop(self, at_ns: int) -> None:
        """Do nothing on STOP: registers take effect as soon as they are written."""

    # ---- Registers

    def _defaults(self, at_ns: int) -> None:
        self._cells.update(r.reset_values())
        self._cells.update({address: value for address, value in self._stuck.items() if address in self._cells})
        self._pointer = 0
        self._unlocked = False
        self._last = (0, 0, 0, 1)  # operation, address, data, width
        self._crc_seen = self._checksum()
        self._ready_ns = at_ns
        self._frozen = None
        self._volts.reset(at_ns)
        for channel in self.channels.values():
            channel.reset(at_ns)
        self._rescale()
        self._interrupts.clear(at_ns)
        self.mains(self._volts.mains, at_ns)

    def _announce_reset(self, at_ns: int) -> None:
        self._interrupts.raise_status("A", r.RESET_BIT, at_ns)

    def _read(self, address: int, at_ns: int) -> int:
        if self._frozen is not None and address in self._frozen:
            value = self._frozen[address]
        elif (live := self._live.get(address)) is not None:
            value = live(at_ns)
        elif address in self._cells:
            value = self._cells[address]
        else:
            raise unmodelled(self.name, f"reading 0x{address:03x}")
        return self._stuck.get(address, value) if self._stuck else value

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
        elif address in self._stuck:
            pass  # acknowledged, but the cell keeps its value
        elif self._protected(pointer) or (address == r.REQUIRED and not unlocked):
            return  # acknowledged on the bus, but ignored, p. 57
        else:
            self._check(address, register, value)
            self._store(address, value, at_ns)
        self._last = (r.OP_WRITE, pointer, value, r.width(pointer))

    def _protected(self, pointer: int) -> bool:
        if pointer == r.WRITE_PROTECT:
            return False
        bit = {1: 1, 2: 2, 3: 4, 4: 4}[r.width(pointer)]
        return bool(self._cells[r.WRITE_PROTECT] & bit)

    def _check(self, address: int, register: r.Register, value: int) -> None:
        """Raise SimError if the value needs a function that is not modelled."""
        changed = value ^ register.reset
        if register.writable is not None and changed & ~register.writable:
            raise unmodelled(self.name, f"bits 0x{changed & ~register.writable:x} of {register.name}")
        if address in r.GAINS and not r.MIN_GAIN <= value <= r.MAX_GAIN:
            raise unmodelled(self.name, f"{register.name} = 0x{value:06x}, outside x0.5 to x1.5,")
        if address in (r.PGA_V, r.PGA_IA, r.PGA_IB) and (value not in _PGA or (value == 5 and address != r.PGA_IA)):
            raise unmodelled(self.name, f"gain code {value} of {register.name}")
        if address == r.CONFIG and not value & 0x4:
            raise unmodelled(self.name, "CONFIG with the high-pass filter off")
        if address == r.ALT_OUTPUT and value not in (0, CHANNEL_B_IRQ):
            raise unmodelled(self.name, f"ALT_OUTPUT 0x{value:03x}")

    def _store(self, address: int, value: int, at_ns: int) -> None:
        if address == r.CONFIG and value & 0x80:
            self.reset(at_ns)
            return
        self._set_cell(address, value, at_ns)

    def _set_cell(self, address: int, value: int, at_ns: int) -> None:
        """Store a value, from a write or a fault, and update everything that depends on it."""
        if address in r.SCALING:
            for channel in self.channels.values():
                channel.settle(at_ns)
        self._cells[address] = value
        if address in r.SCALING:
            self._rescale()
        if address in r.SCALING or address == r.OILVL:
            for name in self.channels:
                self._interrupts.arm(name, at_ns)
        if address in (r.OVLVL, r.SAGLVL, r.SAGCYC, r.ZXTOUT):
            self._interrupts.watch_mains(at_ns)
        self._check_crc(at_ns)
        self._interrupts.update_pins(at_ns)

    def _rescale(self) -> None:
        """Recompute gains and offsets from their registers."""
        cells = self._cells
        self._volts.pga = _PGA.get(cells[r.PGA_V], 1)  # a code reserved in the data sheet gives gain 1
        self._volts.rms_offset = r.signed24(cells[0x288])
        for name, pga, base in (("A", r.PGA_IA, 0x280), ("B", r.PGA_IB, 0x28C)):
            channel = self.channels[name]
            channel.gains.current = cells[base] / UNITY
            channel.gains.pga = _PGA.get(cells[pga], 1)
            channel.gains.voltage = cells[base + 1] / UNITY * self._volts.pga
            channel.gains.power = cells[base + 2] / UNITY
            channel.gains.rms_offset = r.signed24(cells[0x286 if name == "A" else 0x292])
            channel.gains.power_offset = r.signed24(cells[0x289 if name == "A" else 0x295])
            phase = cells[r.PHCALA if name == "A" else r.PHCALB]
            channel.gains.shift = (phase & 0x1FF) * _PHASE_PER_LSB * (1 if phase & 0x200 else -1)
            channel.scale_changed()

    # ---- Measured registers

    def _live_registers(self) -> dict[int, Callable[[int], int]]:
        a, b, volts, status = self.channels["A"], self.channels["B"], self._volts, self._interrupts.take
        live: dict[int, Callable[[int], int]] = {
            r.RSTIAPEAK: lambda t: a.peak_code(t, True) & 0xFFFFFF,
            r.RSTIBPEAK: lambda t: b.peak_code(t, True) & 0xFFFFFF,
            r.IAPEAK: lambda t: a.peak_code(t, False) & 0xFFFFFF,
            r.IBPEAK: lambda t: b.peak_code(t, False) & 0xFFFFFF,
            r.V: lambda t: volts.sample_code(t) & 0xFFFFFF,
            r.VRMS: volts.rms_code,
            r.VPEAK: lambda t: volts.peak_code(False),
            r.RSTVPEAK: lambda t: volts.peak_code(True),
            r.IRQSTATA: lambda t: status("A", t, False),
            r.RSTIRQSTATA: lambda t: status("A", t, True),
            r.IRQSTATB: lambda t: status("B", t, False),
            r.RSTIRQSTATB: lambda t: status("B", t, True),
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
            live[rms] = lambda t, c=channel: c.rms_code(t, volts.ripple(t))  # type: ignore[misc]
            live[watt] = lambda t, c=channel: c.watt_code(t, volts.ripple(t)) & 0xFFFFFF  # type: ignore[misc]
            live[var] = lambda t, c=channel: c.var_code(t) & 0xFFFFFF  # type: ignore[misc]
            live[va] = lambda t, c=channel: self._volt_amps(c, t) & 0xFFFFFF  # type: ignore[misc]
            live[energy] = lambda t, c=channel: self._energy(c, t) & 0xFFFFFF  # type: ignore[misc]
            live[factor] = lambda t, c=channel: self._power_factor(c, t) & 0xFFFF  # type: ignore[misc]
            live[angle] = lambda t, c=channel: self._angle(c, t) & 0xFFFF  # type: ignore[misc]
        return live

    def _volt_amps(self, channel: CurrentChannel, at_ns: int) -> int:
        share = self._volts.rms_code(at_ns) / FULL_RMS * (channel.rms_code(at_ns, 0.0) / FULL_RMS)
        return round(share * FULL_POWER)

    def _power_factor(self, channel: CurrentChannel, at_ns: int) -> int:
        """Return power over apparent power, with the sign of the reactive power (p. 38)."""
        apparent = self._volt_amps(channel, at_ns)
        if apparent <= 0:
            return 0x7FFF
        factor = min(0x7FFF, round(abs(channel.watt_code(at_ns, 0.0)) / apparent * 0x8000))
        return -factor if channel.var_code(at_ns) < 0 else factor

    def _angle(self, channel: CurrentChannel, at_ns: int) -> int:
        """Return the delay of the fundamental against the voltage, in steps of 4.47 us (p. 39)."""
        watts, var = channel.watt_code(at_ns, 0.0), channel.var_code(at_ns)
        mains = self._volts.mains
        if mains is None or (watts == 0 and var == 0):
            return 0
        return round(math.atan2(var, watts) / math.pi * mains.half_ns / 4470)

    def _energy(self, channel: CurrentChannel, at_ns: int) -> int:
        channel.settle(at_ns)
        counts = math.floor(channel.energy_counts)
        if self._cells[r.LCYCMODE] & 0x40:
            channel.energy_counts -= counts
        return r.signed24(counts & 0xFFFFFF)

    def _is_no_load(self, share: float) -> bool:
        """Return whether `share` is below the no-load level.

        Data sheet p. 40: level = 65,536 - Y / 1.4, no load if below 1/Y of full scale, unless disabled.
        """
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

    # ---- Checksum

    def _checksum(self) -> int:
        """Return a hash over the covered cells, any that gives the published value at the defaults (p. 58-59)."""
        return _hash(self._cells) ^ _HASH_AT_DEFAULTS ^ r.CRC_AT_DEFAULTS

    def _check_crc(self, at_ns: int) -> None:
        seen = self._checksum()
        if self._cells[r.CONFIG] & 0x100 and seen != self._crc_seen:
            self._interrupts.raise_status("A", r.CRC_CHANGED, at_ns)
        self._crc_seen = seen


def _hash(cells: dict[int, int]) -> int:
    return zlib.crc32(b"".join(cells.get(address, 0).to_bytes(4, "big") for address in r.CRC_CELLS))


_HASH_AT_DEFAULTS = _hash(r.reset_values())
