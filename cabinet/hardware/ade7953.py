"""ADE7953 energy meter: one voltage and two current inputs, A and B, so one chip serves two outlets.

Page numbers are those of Analog Devices' data sheet, revision B. A register's address gives its width (p. 60): 0x0xx
are 8 bits, 0x1xx 16, 0x2xx 24; bytes are sent most significant first. Each read is one transaction: the 16-bit address,
repeated START, data (p. 53-54).

The RMS registers take about 200 ms to settle (p. 23): short-circuit detection must not use them.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import ChipError, ChipReset
from cabinet.hardware.bus import ChipPort

NAME = "ADE7953"
ADDRESS = 0x38  # fixed, no address pins (p. 53)

# Registers, p. 60-62. Shared by both inputs:
DISNOLOAD = 0x001
LCYCMODE = 0x004
PGA_V, PGA_IA, PGA_IB = 0x007, 0x008, 0x009
WRITE_PROTECT = 0x040
UNLOCK = 0x0FE
CONFIG = 0x102
PERIOD = 0x10E
ALT_OUTPUT = 0x110
RESERVED = 0x120  # "must be 0x0030", and is lost at every reset
ACCMODE = 0x201
VOLTAGE_SAMPLE = 0x218
VRMS = 0x21C
OILVL = 0x225  # one level for both current inputs
IRQSTATA = 0x22D  # is not cleared by reading; RSTIRQSTATA is
# one per input:
PGA_I = {"A": PGA_IA, "B": PGA_IB}
WATT = {"A": 0x212, "B": 0x213}
IRMS = {"A": 0x21A, "B": 0x21B}
AENERGY = {"A": 0x21E, "B": 0x21F}  # cleared by reading
RST_IPEAK = {"A": 0x229, "B": 0x22B}  # largest absolute current since the last read
IRQEN = {"A": 0x22C, "B": 0x22F}
RST_IRQSTAT = {"A": 0x22E, "B": 0x231}  # returns the flags, clears them and releases the pin (p. 50)

# Calibration inside the chip (p. 34-35), which is not used: this driver calibrates. If one of these registers has lost
# its neutral value, every reading of an input is wrong in the same way and none contradicts another.
NEUTRAL_GAIN = 0x400000
CALIBRATION = {
    "AIGAIN": (0x280, NEUTRAL_GAIN), "AVGAIN": (0x281, NEUTRAL_GAIN), "AWGAIN": (0x282, NEUTRAL_GAIN),
    "BIGAIN": (0x28C, NEUTRAL_GAIN), "BVGAIN": (0x28D, NEUTRAL_GAIN), "BWGAIN": (0x28E, NEUTRAL_GAIN),
    "AIRMSOS": (0x286, 0), "VRMSOS": (0x288, 0), "AWATTOS": (0x289, 0), "BIRMSOS": (0x292, 0), "BWATTOS": (0x295, 0),
    "PHCALA": (0x108, 0), "PHCALB": (0x109, 0),
}  # fmt: skip

# Registers for display, by the data sheet's names.
SHOWN = {
    "IPEAKA": RST_IPEAK["A"], "IPEAKB": RST_IPEAK["B"], "IRMSA": IRMS["A"], "IRMSB": IRMS["B"], "VRMS": VRMS,
    "AWATT": WATT["A"], "BWATT": WATT["B"], "AENERGYA": AENERGY["A"], "AENERGYB": AENERGY["B"], "V": VOLTAGE_SAMPLE,
    "PERIOD": PERIOD,
}  # fmt: skip
_SIGNED = frozenset({*WATT.values(), *AENERGY.values(), VOLTAGE_SAMPLE})

# Register values.
DISNOLOAD_ALL = 0x07  # p. 40: without it a small standby load is metered as nothing
LCYCMODE_RSTREAD = 0x40  # read-with-reset registers do reset, no line-cycle mode; also the power-on value
PGA_GAIN_1 = 0x00
WRITE_PROTECT_NONE, WRITE_PROTECT_ALL = 0x00, 0x07  # a protected write is acknowledged but ignored
UNLOCK_KEY = 0xAD  # valid for the next write only
CONFIG_POWER_ON = 0x8004  # p. 62-63
CONFIG_LOCKED = 0x0004  # bit 15 cleared: I2C stays the interface until reset; HPFEN as at power-on
RESERVED_REQUIRED = 0x0030
ALT_OUTPUT_ZX_IS_IRQ_B = 0x000A  # p. 64: input B has no interrupt pin of its own, so pin 1 (ZX) becomes it
ACCMODE_SIGNED = 0x000000
ACCMODE_SETTINGS = 0x0003FF  # the bits above are read-only signs and no-load flags (p. 65)
IRQ_OVERCURRENT = 1 << 13  # p. 66-67
IRQ_RESET = 1 << 20  # in A's registers only; set after every reset, cannot be disabled

# Scale. Full scale is 500 mV peak at the input, gain 1.
PEAK_FULL_SCALE = 6_500_000  # waveform, peak registers and OILVL, p. 21; differs by up to 3 % from part to part (p. 4)
RMS_FULL_SCALE = 9_032_007  # of a full-scale sine, p. 23
POWER_FULL_SCALE = 4_862_401  # p. 24
ENERGY_COUNTS_PER_S = 206_900  # at full-scale power, p. 25
ENERGY_WRAP_NS = 40 * NS  # a full-scale load takes 40.5 s to overflow the signed 24-bit register, p. 26
PERIOD_CLOCK_MHZ = 223_750_000  # 223.75 kHz in millihertz: T = (PERIOD + 1) / 223.75 kHz, p. 36

# If a part's full scale is 3 % low, it never reaches a level above this, and the alert would never come.
MAX_OILVL = PEAK_FULL_SCALE * 95 // 100
# A signed 24-bit absolute value cannot be larger, and its RMS does not reach all ones either: such an answer comes from
# an undriven bus.
MAX_PEAK = 0x800000
MAX_RMS = 0xFFFFFE
_24_BIT_TURN = 1 << 24
_PPM = 1_000_000
_PLAUSIBLE_MHZ = range(20_000, 100_000)  # PERIOD is 0 or stale if there is no zero crossing to time

_ONE_FOR_BOTH = "A"


class Scale(msgspec.Struct, frozen=True):
    """Inputs of the board that drive the chip to full scale (500 mV peak): peak mA at IA and IB, peak mV at V."""

    current_full_scale_ma: int
    voltage_full_scale_mv: int


class Gain(msgspec.Struct, frozen=True):
    """Calibration of one current input: true over raw value; `power` also applies to energy."""

    current: float = 1.0
    power: float = 1.0


class Alerts(msgspec.Struct, frozen=True, gc=False):
    """Flags latched in the chip: a current above the alert level; a reset (reported by input A's register only)."""

    overcurrent: bool
    reset: bool


class Ade7953Setting(msgspec.Struct, frozen=True):
    """A register that must hold a value; `mask` selects the bits that read back as written."""

    name: str
    register: int
    value: int
    mask: int


class Ade7953:
    """Driver of one chip. `gains` holds a `Gain` by input; a missing one is uncalibrated. Inputs are "A" and "B".

    Every call reads the chip. Raises BusError if the read fails, ChipError if the answer is impossible for an ADE7953
    in use; a caller that loses readings to either has lost the sensor.
    """

    def __init__(self, port: ChipPort, scale: Scale, gains: Mapping[str, Gain], clock: Clock) -> None:
        self.port = port
        self._clock = clock
        self._scale = scale
        self._gains = {input: gains.get(input, Gain()) for input in ("A", "B")}
        self._settings: tuple[Ade7953Setting, ...] = ()
        self._next_check = self._next_neutral = self._checks = 0
        self._work_out_steps()
        # Energy is exact: counts times numerator over denominator, with the remainder of the division kept. mA times mV
        # is microwatt, hence microjoule a second.
        self._energy_denominator = 2 * ENERGY_COUNTS_PER_S * _PPM
        self._energy_left = {"A": 0, "B": 0}
        self._energy_read_ns: dict[str, int | None] = {"A": None, "B": None}
        self._peak_reads = {
            input: port.prepared(*_FRAMES[register], register).read for input, register in RST_IPEAK.items()
        }
        self._last_raw: dict[int, int] = {}
        self._unmoved: dict[int, int] = {}

    def set_gain(self, input: str, gain: Gain) -> None:
        """Calibrate `input`. Its alert level in the chip stays as it was until `initialise`, which must follow."""
        self._gains[input] = gain
        self._work_out_steps()

    def _work_out_steps(self) -> None:
        """Calculate the value of one count of each register."""
        scale = self._scale
        current_ma, voltage_mv = scale.current_full_scale_ma, scale.voltage_full_scale_mv
        power_mw = current_ma * voltage_mv / 2 / 1000  # of two full-scale sines in phase: RMS times RMS
        self._voltage_step = voltage_mv / PEAK_FULL_SCALE
        self._vrms_step = voltage_mv / math.sqrt(2) / RMS_FULL_SCALE
        self._peak_step = {i: current_ma * gain.current / PEAK_FULL_SCALE for i, gain in self._gains.items()}
        self._irms_step = {
            i: current_ma / math.sqrt(2) * gain.current / RMS_FULL_SCALE for i, gain in self._gains.items()
        }
        self._power_step = {i: power_mw * gain.power / POWER_FULL_SCALE for i, gain in self._gains.items()}
        self._energy_numerator = {
            i: current_ma * voltage_mv * round(gain.power * _PPM) for i, gain in self._gains.items()
        }

    def initialise(self, alert_peak_ma: int) -> None:
        """Set the chip up (p. 18, 50, 57) and read everything back; over-current alerts above `alert_peak_ma`.

        Both inputs share one level; it is lowered if calibration or the chip's range would otherwise delay the alert or
        prevent it. Earlier flags and peaks are discarded; energy is kept. Call no earlier than 100 ms after power-on
        (p. 18). Raises BusError, ChipError; the chip must then not be trusted, and the call may be repeated.
        """
        self._settings = self._wanted(alert_peak_ma)
        for input in ("A", "B"):
            self._read(RST_IRQSTAT[input])
        self._write(WRITE_PROTECT, WRITE_PROTECT_NONE)
        for setting in (*self._settings[:-1], *NEUTRAL, self._settings[-1]):  # write protection comes last
            if setting.register == RESERVED:
                self._write(UNLOCK, UNLOCK_KEY)
            self._write(setting.register, setting.value)
        for setting in (*self._settings, *NEUTRAL):
            self._check(setting)
        for input in ("A", "B"):
            self._read(RST_IPEAK[input])

    def peak_ma(self, input: str) -> int:
        """Return the largest instantaneous current since the last call, either direction. One 24-bit read."""
        raw = int.from_bytes(self._peak_reads[input]())  # by the loop for every outlet: without a detour
        if raw > MAX_PEAK:
            raise self._impossible("peak", raw)
        return int(raw * self._peak_step[input] + 0.5)

    def voltage_sample_mv(self) -> int:
        """Return the instantaneous mains voltage, with its sign."""
        return round(self._read_signed(VOLTAGE_SAMPLE) * self._voltage_step)

    def unmoved(self, register: int) -> int:
        """Return how many readings in a row had an identical raw value of VRMS, or of one of IRMS or WATT.

        Their last bits are noise: a register that repeats itself under load is frozen.
        """
        return self._unmoved.get(register, 0)

    def current_ma(self, input: str) -> int:
        """Return the RMS current, which lags by about 200 ms."""
        raw = self._moving(IRMS[input], self._read(IRMS[input]))
        if raw > MAX_RMS:
            raise self._impossible("RMS current", raw)
        return int(raw * self._irms_step[input] + 0.5)

    def voltage_mv(self) -> int:
        """Return the RMS mains voltage, which lags by about 200 ms."""
        raw = self._moving(VRMS, self._read(VRMS))
        if raw > MAX_RMS:
            raise self._impossible("RMS voltage", raw)
        return int(raw * self._vrms_step + 0.5)

    def power_mw(self, input: str) -> int:
        """Return the active power; negative if the current transformer is wired in reverse."""
        raw = self._moving(WATT[input], self._read_signed(WATT[input]))
        return round(raw * self._power_step[input])

    def energy_uj(self, input: str) -> int:
        """Return the microjoules since the last successful call, signed as the power; at first, since the chip's clear.

        Fractions of a microjoule are carried to the next call, so the sum stays exact to one. Reading clears the chip's
        register: if this call raises, that energy may be lost (in the resident's favour), and none is ever counted
        twice.

        After 40 s unread the 24-bit register may have overflowed; the present power then gives the number of overflows.
        """
        last_ns, now_ns = self._energy_read_ns[input], self._clock.monotonic_ns()
        expected = 0
        unread_ns = 0 if last_ns is None else now_ns - last_ns
        if unread_ns > ENERGY_WRAP_NS:
            power = self._read_signed(WATT[input])
            expected = power * ENERGY_COUNTS_PER_S * unread_ns // (POWER_FULL_SCALE * NS)
        counts = self._read_signed(AENERGY[input])
        self._energy_read_ns[input] = now_ns
        if unread_ns > ENERGY_WRAP_NS:
            counts += (expected - counts + _24_BIT_TURN // 2) // _24_BIT_TURN * _24_BIT_TURN
        energy_uj, self._energy_left[input] = divmod(
            counts * self._energy_numerator[input] + self._energy_left[input], self._energy_denominator
        )
        return energy_uj

    def frequency_mhz(self) -> int | None:
        """Return the mains frequency in millihertz; None if the chip timed no plausible mains cycle."""
        frequency_mhz = PERIOD_CLOCK_MHZ // (self._read(PERIOD) + 1)
        return frequency_mhz if frequency_mhz in _PLAUSIBLE_MHZ else None

    def take_alerts(self, input: str) -> Alerts:
        """Return the alerts of `input` latched since the last call; clear them and release the alert line.

        The chip sets the flag on every current above the level, even if its line is not connected.
        """
        flags = self._read(RST_IRQSTAT[input])
        return Alerts(flags & IRQ_OVERCURRENT != 0, input == _ONE_FOR_BOTH and flags & IRQ_RESET != 0)

    def verify(self) -> None:
        """Raise ChipError if the chip is back at its power-on values. Four reads; alerts stay for `take_alerts`."""
        self._check_not_reset()
        for setting in self._settings:
            if setting.register in (CONFIG, RESERVED, OILVL):
                self._check(setting)

    def verify_next(self) -> None:
        """Check the registers set by `initialise` in turn, one read a call, which fits into a scan's spare time.

        Every third call checks the calibration inside the chip; more would double the interval between the other
        checks.
        """
        self._checks += 1
        if self._settings and self._checks % 3 == 0:
            self._next_neutral = (self._next_neutral + 1) % len(NEUTRAL)
            self._check(NEUTRAL[self._next_neutral])
            return
        self._next_check = (self._next_check + 1) % (len(self._settings) + 1)
        if self._next_check == 0:
            self._check_not_reset()
        else:
            self._check(self._settings[self._next_check - 1])

    def raw(self) -> dict[str, int]:
        """Return the last raw values of the measuring registers, without a transfer; unread ones are left out."""
        found = {}
        for name, register in SHOWN.items():
            data = self.port.last_read(*_FRAMES[register])
            if data is not None:
                found[name] = int.from_bytes(data, "big", signed=register in _SIGNED)
        return found

    def scale_checks(self, input: str) -> list[Callable[[], None]]:
        """Return one check per setting that scales the current of `input`: if one is lost, all readings are wrong."""
        registers = (CONFIG, PGA_I[input], CALIBRATION[f"{input}IGAIN"][0])
        return [partial(self._check, each) for each in (*self._settings, *NEUTRAL) if each.register in registers]

    def _wanted(self, alert_peak_ma: int) -> tuple[Ade7953Setting, ...]:
        """Return the settings in the order of writing; write protection comes last."""
        level = min(*(int(alert_peak_ma / step) for step in self._peak_step.values()), MAX_OILVL)
        return (
            Ade7953Setting("CONFIG", CONFIG, CONFIG_LOCKED, 0xFFFF),
            Ade7953Setting("RESERVED", RESERVED, RESERVED_REQUIRED, 0xFFFF),
            Ade7953Setting("PGA_V", PGA_V, PGA_GAIN_1, 0xFF),
            Ade7953Setting("PGA_IA", PGA_IA, PGA_GAIN_1, 0xFF),
            Ade7953Setting("PGA_IB", PGA_IB, PGA_GAIN_1, 0xFF),
            Ade7953Setting("LCYCMODE", LCYCMODE, LCYCMODE_RSTREAD, 0xFF),
            Ade7953Setting("ACCMODE", ACCMODE, ACCMODE_SIGNED, ACCMODE_SETTINGS),
            Ade7953Setting("DISNOLOAD", DISNOLOAD, DISNOLOAD_ALL, 0xFF),
            Ade7953Setting("OILVL", OILVL, level, 0xFFFFFF),
            Ade7953Setting("ALT_OUTPUT", ALT_OUTPUT, ALT_OUTPUT_ZX_IS_IRQ_B, 0xFFFF),
            Ade7953Setting("IRQENA", IRQEN["A"], IRQ_OVERCURRENT | IRQ_RESET, IRQ_OVERCURRENT),
            Ade7953Setting("IRQENB", IRQEN["B"], IRQ_OVERCURRENT, IRQ_OVERCURRENT),
            Ade7953Setting("WRITE_PROTECT", WRITE_PROTECT, WRITE_PROTECT_ALL, 0xFF),
        )

    def _check_not_reset(self) -> None:
        if not self._settings:
            raise ChipReset(NAME, str(self.port), "was never set up")
        if self._read(IRQSTATA) & IRQ_RESET:
            raise ChipReset(NAME, str(self.port), "was reset: its set-up is lost")

    def _check(self, setting: Ade7953Setting) -> None:
        found = self._read(setting.register)
        if (found ^ setting.value) & setting.mask:
            problem = f"{setting.name} reads 0x{found:x} instead of 0x{setting.value:x}"
            raise ChipReset(NAME, str(self.port), problem)

    def _moving(self, register: int, raw: int) -> int:
        """Return `raw` after counting whether it repeats the previous value."""
        same = self._last_raw.get(register) == raw
        self._last_raw[register] = raw
        self._unmoved[register] = self._unmoved.get(register, 0) + 1 if same else 0
        return raw

    def _read(self, register: int) -> int:
        prefix, width = _FRAMES[register]
        return int.from_bytes(self.port.write_read(prefix, width, register), "big")

    def _read_signed(self, register: int) -> int:
        prefix, width = _FRAMES[register]
        return int.from_bytes(self.port.write_read(prefix, width, register), "big", signed=True)

    def _write(self, register: int, value: int) -> None:
        prefix, width = _FRAMES[register]
        self.port.write(prefix + value.to_bytes(width, "big"), register)

    def _impossible(self, what: str, raw: int) -> ChipError:
        return ChipError(NAME, str(self.port), f"impossible {what} 0x{raw:06x}: nobody drives the bus")


NEUTRAL = tuple(
    Ade7953Setting(name, register, value, 0xFFFF if register < 0x200 else 0xFFFFFF)
    for name, (register, value) in CALIBRATION.items()
)


def _frame(register: int) -> tuple[bytes, int]:
    """Return the address bytes of a register, and its width in bytes."""
    return register.to_bytes(2, "big"), (register >> 8) + 1


_FRAMES = {
    register: _frame(register)
    for register in (
        DISNOLOAD, LCYCMODE, PGA_V, PGA_IA, PGA_IB, WRITE_PROTECT, UNLOCK, CONFIG, PERIOD, ALT_OUTPUT, RESERVED,
        ACCMODE, VOLTAGE_SAMPLE, VRMS, OILVL, IRQSTATA, *WATT.values(), *IRMS.values(), *AENERGY.values(),
        *RST_IPEAK.values(), *IRQEN.values(), *RST_IRQSTAT.values(), *(setting.register for setting in NEUTRAL),
    )
}  # fmt: skip
