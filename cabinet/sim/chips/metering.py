"""Signal processing of an ADE7953 between its inputs and its registers: physical currents in, codes out.

Scales from the data sheet (Rev. B): waveform and peak 6,500,000 at full scale (p. 21), RMS 9,032,007 (p. 23), power
4,862,401 (p. 24), energy 206.9 thousand counts a second (p. 25-26), samples at 6.99 kHz (p. 23), RMS settled after
about 200 ms (p. 23). Ripple and noise are assumptions of this model, chosen to make every reading different.
"""

import math
import random
from collections.abc import Callable

from cabinet.sim.waveform import SILENCE, Mains, Wave

FULL_WAVE = 6_500_000
FULL_RMS = 9_032_007
FULL_POWER = 4_862_401
FULL_ENERGY_PER_S = 206_900
SAMPLE_NS = 1e9 / 6_990
UNITY = 0x400000

CYCLE_NS = 20_000_000  # an RMS or a mean is taken over a cycle
_SETTLE_NS = 50e6  # time constant of the squared signal: within 1 % of the RMS after 200 ms
_POWER_SETTLE_NS = 40e6
_RIPPLE = 0.003  # of the value, at twice the mains frequency
_VOLTS_RIPPLE = 0.001
NOISE_CODE = 650  # peak of the noise of one sample: 1/10,000 of full scale
_UNSTEADY = 1e-4  # of the value, random from one reading to the next
_NOISE_RMS = 9_032_007 / 30_000
SATURATED_SHARE = 0.05  # share of further current that a saturated transformer passes: an assumption of this model


class Settling:
    """A value that follows its target with a time constant; it can be read at any time without stepping."""

    __slots__ = ("_at_ns", "_tau_ns", "_value", "target")

    def __init__(self, tau_ns: float, at_ns: int = 0) -> None:
        self.target = 0.0
        self._value = 0.0
        self._at_ns = at_ns
        self._tau_ns = tau_ns

    def at(self, at_ns: int) -> float:
        if self._value == self.target:
            return self._value
        return self.target + (self._value - self.target) * math.exp((self._at_ns - at_ns) / self._tau_ns)

    def aim(self, target: float, from_ns: int) -> None:
        """Set `target` from `from_ns` on."""
        self._value = self.at(from_ns)
        self._at_ns = from_ns
        self.target = target

    def settle(self, at_ns: int) -> None:
        if self._value != self.target:
            self._value = self.at(at_ns)
        self._at_ns = at_ns

    def clear(self, at_ns: int) -> None:
        """Restart from 0 and keep the target."""
        self._value = 0.0
        self._at_ns = at_ns


class Gains:
    """Calibration registers of one current channel as factors and offsets; 1 and 0 after reset."""

    __slots__ = (
        "current", "pga", "power", "power_offset", "rms_offset", "sensor_current", "sensor_power", "shift", "voltage",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sensor_current = 1.0  # gain of the shunt or transformer in front of the chip
        self.sensor_power = 1.0
        self.current = 1.0  # xIGAIN
        self.pga = 1
        self.power = 1.0
        self.voltage = 1.0
        self.shift = 0.0  # PHCALx, radians
        self.rms_offset = 0
        self.power_offset = 0


class CurrentChannel:
    """One current input and all values computed from it. `full_a` is the peak current at full scale."""

    def __init__(self, full_a: float, full_v: float, noise: random.Random | None) -> None:
        self.gains = Gains()
        self.wave: Wave = SILENCE
        self.other: CurrentChannel | None = None
        self.crosstalk_share = 0.0  # share of the other input's current in the peaks of this one
        self.leak_share = 0.0  # share of the other input's current in all values: RMS, power and energy too
        self.saturates_a = math.inf  # instantaneous current above which the sensor follows only weakly
        self._is_exact = True  # neither leakage nor saturation
        self.energy_counts = 0.0  # since the last read with reset; wraps when read
        self._full_a = full_a
        self._full_w = full_a * full_v / 2
        self._noise = noise
        self._since_ns = 0
        self._peak_since_ns = 0
        self._peak_code = 0.0
        self._square = Settling(_SETTLE_NS)
        self._power = Settling(_POWER_SETTLE_NS)
        self._reactive = Settling(_POWER_SETTLE_NS)
        self._no_load: Callable[[float], bool] = lambda _: False
        self.scale_changed()

    def scale_changed(self) -> None:
        """Recompute the codes per ampere and watt after a change of gain; call `settle` before the change."""
        gains = self.gains
        self.code_per_a = FULL_WAVE / self._full_a * gains.current * gains.pga * gains.sensor_current
        self.power_factor = gains.current * gains.pga * gains.voltage * gains.power * gains.sensor_power

    def no_load_when(self, test: Callable[[float], bool]) -> None:
        """Set `test(share)`: it returns whether a power, as a share of full scale, counts as no load."""
        self._no_load = test

    def reset(self, at_ns: int) -> None:
        """Discard all measured values, as at power-on."""
        self.energy_counts = 0.0
        self._peak_code = 0.0
        self._since_ns = self._peak_since_ns = at_ns
        for filtered in (self._square, self._power, self._reactive):
            filtered.clear(at_ns)

    def follow(self, wave: Wave, at_ns: int) -> None:
        """Set the current of the input to `wave` from `at_ns` on."""
        self.settle(at_ns)
        self.wave = wave
        if wave is SILENCE and (self._is_exact or self._is_silent):
            targets = (0.0, 0.0, 0.0)
        else:
            later_ns = at_ns + CYCLE_NS  # for a transient; the mean of a steady current is the same over any time
            targets = self._means(at_ns, later_ns)
        self._square.aim(targets[0], at_ns)
        self._power.aim(targets[1], at_ns)
        self._reactive.aim(targets[2], at_ns)

    def settle(self, at_ns: int) -> None:
        """Accumulate energy, peak and filters up to `at_ns`."""
        start_ns = self._since_ns
        if at_ns <= start_ns:
            return
        self._peak_code = max(self._peak_code, self._input_peak(at_ns))
        if self._is_exact:  # the frequent case, so without a further call
            wave = self.wave
            if wave is SILENCE:
                seen = None
            else:
                seen = wave.mean_square(start_ns, at_ns), wave.mean_w(start_ns, at_ns), wave.energy_j(start_ns, at_ns)
        else:
            square, mean_w, _ = self._means(start_ns, at_ns)
            seen = None if self._is_silent else (square, mean_w, self._energy_j(start_ns, at_ns))
        if seen is not None:
            square, mean_w, joule = seen
            if not self._no_load(abs(mean_w * self.power_factor) / self._full_w):
                self.energy_counts += joule * self.power_factor / self._full_w * FULL_ENERGY_PER_S
            self._square.target = square
            self._power.target = mean_w
        for filtered in (self._square, self._power, self._reactive):
            filtered.settle(at_ns)
        self._since_ns = at_ns
        self._peak_since_ns = at_ns

    def sense(self, saturates_a: float | None = None, leak_share: float | None = None) -> None:
        """Change the sensor or the crosstalk from now on; call `settle` before."""
        self.saturates_a = self.saturates_a if saturates_a is None else saturates_a
        self.leak_share = self.leak_share if leak_share is None else leak_share
        self._is_exact = self.saturates_a == math.inf and not self.leak_share

    @property
    def _is_silent(self) -> bool:
        return self.wave is SILENCE and not (self.leak_share and self.other and self.other.wave is not SILENCE)

    def _means(self, from_ns: int, to_ns: int) -> tuple[float, float, float]:
        """Return mean square, power and reactive power after the sensor, with the share of the other input."""
        wave = self.wave
        square, watts = wave.mean_square(from_ns, to_ns), wave.mean_w(from_ns, to_ns)
        var = wave.mean_var(from_ns, to_ns)
        if self._is_exact:
            return square, watts, var
        if wave.max_a() > self.saturates_a:
            seen = self._seen_share()
            square, watts, var = square * seen * seen, watts * seen, var * seen
        if self.leak_share and self.other is not None:
            share, other = self.leak_share, self.other.wave
            leaked = share * share * other.mean_square(from_ns, to_ns)
            square += leaked + 2 * math.sqrt(square * leaked)  # two currents of one mains, nearly in phase
            watts += share * other.mean_w(from_ns, to_ns)
            var += share * other.mean_var(from_ns, to_ns)
        return square, watts, var

    def _energy_j(self, from_ns: int, to_ns: int) -> float:
        joule = self.wave.energy_j(from_ns, to_ns)
        if self._is_exact:
            return joule
        if self.wave.max_a() > self.saturates_a:
            joule *= self._seen_share()
        if self.leak_share and self.other is not None:
            joule += self.leak_share * self.other.wave.energy_j(from_ns, to_ns)
        return joule

    def _seen_share(self) -> float:
        """Return the RMS after a saturated sensor over the true RMS, as for a sine clipped at the sensor's level."""
        crest = self.wave.max_a()
        angle = math.asin(self.saturates_a / crest)
        below = (angle - math.sin(2 * angle) / 2) / 2  # integral of the squared sine below the clip, quarter cycle
        above = (math.pi / 2 - angle) * (self._through(crest) / crest) * (self.saturates_a / crest)
        return math.sqrt(min(1.0, (below + above) * 4 / math.pi))

    def _through(self, amps: float) -> float:
        """Return the magnitude after the sensor: above its level the core has the permeability of air."""
        if amps <= self.saturates_a:
            return amps
        return self.saturates_a + SATURATED_SHARE * (amps - self.saturates_a)

    def first_above_ns(self, level: int, from_ns: int) -> int | None:
        """Return the time when the input's code first exceeds `level`, or None."""
        amps = level / self.code_per_a
        if amps > self.saturates_a:
            amps = self.saturates_a + (amps - self.saturates_a) / SATURATED_SHARE
        return self.wave.first_above_ns(amps, from_ns)

    def _input_peak(self, at_ns: int) -> float:
        """Return the peak since the last call; 0 if a cheap check shows that it cannot exceed the held peak."""
        if at_ns <= self._peak_since_ns:
            return 0.0
        wave, other = self.wave, self.other
        if wave is SILENCE and (other is None or other.wave is SILENCE):
            return 0.0
        max_a = wave.max_a() if self._is_exact else self._through(wave.max_a())
        if other is not None:
            max_a += self.crosstalk_share * other.wave.max_a()
        if max_a * self.code_per_a <= self._peak_code:
            return 0.0
        peak_a = 0.0 if wave is SILENCE else self._through(wave.peak_a(self._peak_since_ns, at_ns))
        if other is not None and self.crosstalk_share and other.wave is not SILENCE:
            peak_a += self.crosstalk_share * other.wave.peak_a(self._peak_since_ns, at_ns)
        return min(peak_a * self.code_per_a, self.clip)

    @property
    def clip(self) -> float:
        """Code at which the converter saturates: full scale of the input, independent of the PGA."""
        return FULL_WAVE * self.gains.current

    def peak_code(self, at_ns: int, reset: bool) -> int:
        """Return the greatest magnitude since the last reset."""
        code = self._peak_code
        if at_ns > self._peak_since_ns:
            code = max(code, self._input_peak(at_ns))
            self._peak_since_ns = at_ns
        self._peak_code = 0.0 if reset else code
        return int(code + (NOISE_CODE * self._noise.random() if self._noise else 0))

    def sample_code(self, at_ns: int) -> int:
        true_a = self.wave.value_a(at_ns)
        value_a = math.copysign(self._through(abs(true_a)), true_a)
        value_a *= math.copysign(1, self.gains.sensor_power)  # sign of a reversed sensor
        code = max(-self.clip, min(self.clip, value_a * self.code_per_a))
        return round(code + self._jitter(NOISE_CODE))

    def rms_code(self, at_ns: int, ripple: float) -> int:
        amps = math.sqrt(max(0.0, self._square.at(at_ns)))
        code = amps * self.code_per_a * math.sqrt(2) * FULL_RMS / FULL_WAVE * (1 + _RIPPLE * ripple)
        floor = _NOISE_RMS * self._noise.random() if self._noise else 0.0
        code = min(code, FULL_RMS * math.sqrt(2) * self.gains.current)  # RMS of a wave clipped to a square wave
        square = code * code + floor * floor + self.gains.rms_offset * 4096
        return max(0, round(math.sqrt(max(0.0, square)) + self._jitter(_UNSTEADY * code)))

    def watt_code(self, at_ns: int, ripple: float) -> int:
        shift = self.gains.shift
        watts = self._power.at(at_ns)
        if shift:
            watts = watts * math.cos(shift) + self._reactive.at(at_ns) * math.sin(shift)
        code = watts * self.power_factor / self._full_w * FULL_POWER * (1 + 2 * _RIPPLE * ripple)
        return round(code + self.gains.power_offset / 512 + self._jitter(3 + _UNSTEADY * abs(code)))

    def var_code(self, at_ns: int) -> int:
        return round(self._reactive.at(at_ns) * self.power_factor / self._full_w * FULL_POWER + self._jitter(3))

    def _jitter(self, size: float) -> float:
        return size * (2 * self._noise.random() - 1) if self._noise else 0.0


class VoltageChannel:
    """The voltage input. `full_v` is the peak voltage at full scale; if `mains` is None, there is no voltage."""

    def __init__(self, full_v: float, noise: random.Random | None) -> None:
        self.mains: Mains | None = None
        self.pga = 1
        self.rms_offset = 0
        self._full_v = full_v
        self._noise = noise
        self._square = Settling(_SETTLE_NS)
        self._greatest_v = 0.0  # since the last reset

    def follow(self, mains: Mains | None, at_ns: int) -> None:
        self.mains = mains
        self._square.aim(mains.rms_v**2 if mains else 0.0, at_ns)
        self._greatest_v = max(self._greatest_v, self.peak_v)

    def reset(self, at_ns: int) -> None:
        self._square.clear(at_ns)
        self._greatest_v = self.peak_v

    @property
    def peak_v(self) -> float:
        return self.mains.crest_v if self.mains else 0.0

    @property
    def code_now(self) -> float:
        """Crest of the present voltage on the scale of the waveform registers."""
        return min(self.peak_v / self._full_v * self.pga, 1.0) * FULL_WAVE

    def ripple(self, at_ns: int) -> float:
        """Return the ripple after the filters at twice the mains frequency, -1 to 1."""
        return math.cos(2 * self.mains.angle(at_ns)) if self.mains else 0.0

    def sample_code(self, at_ns: int) -> int:
        """Return the last sample; one is taken every 143 us."""
        if self.mains is None:
            return round(self._jitter())
        sampled_ns = int(at_ns // SAMPLE_NS * SAMPLE_NS)
        code = self.mains.value_v(sampled_ns) / self._full_v * FULL_WAVE * self.pga
        return round(max(-FULL_WAVE, min(FULL_WAVE, code)) + self._jitter())

    def rms_code(self, at_ns: int) -> int:
        volts = math.sqrt(max(0.0, self._square.at(at_ns)))
        code = volts * math.sqrt(2) / self._full_v * FULL_RMS * self.pga * (1 + _VOLTS_RIPPLE * self.ripple(at_ns))
        code = min(code, FULL_RMS * math.sqrt(2))  # as for a current
        return round(math.sqrt(max(0.0, code * code + self.rms_offset * 4096)) + abs(self._jitter()) / 10)

    def peak_code(self, reset: bool) -> int:
        greatest_v = max(self._greatest_v, self.peak_v)
        if reset:
            self._greatest_v = self.peak_v
        return round(min(FULL_WAVE, greatest_v / self._full_v * FULL_WAVE * self.pga) + abs(self._jitter()))

    def _jitter(self) -> float:
        return NOISE_CODE * (2 * self._noise.random() - 1) if self._noise else 0.0
