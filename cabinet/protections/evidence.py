"""Plausibility checks between readings: one register confirms or contradicts another. Pure.

A frozen register shows a plausible value forever. It is revealed by the physics that it shares with another one (a peak
is at least the RMS, a power at most voltage times current, an energy the power over time), and by the noise that every
live register has.
"""

from typing import Protocol

from cabinet.model import Quality
from cabinet.protections.inputs import OutletInputs, PeakWindow
from cabinet.sections import NS

LASTING_NS = 2 * NS  # a load change shows in one register before the other (RMS settles in 0.2 s), for less than this
LASTING_READS = 5
PEAK_SPAN_NS = (
    600_000_000  # the highest peak of this span and of the one before it: a crest of half a minute's bounce is in it
)
MIN_RMS_MA = 200  # of 200 A full scale, RMS below a thousandth is noise (ADE7953, p. 4)
MIN_CREST = 0.8  # a crest factor is at least 1; gains of peak and RMS differ by 3 % from part to part (p. 4)
MAX_FACTOR, MAX_EXTRA_MW = 1.25, 10_000  # a power factor is at most 1; power and current are calibrated separately
LOAD_MW = 5_000  # below, an idle charger's readings may stay constant
STILL_WINDOWS = 200  # identical peaks: in 0.6 s of a rectifier's current not even two tens of them are alike
STILL_READS = 20  # the same for a raw 24-bit value of RMS or power: its last bits are noise under any load
ENERGY_SPAN_NS = 30 * NS
ENERGY_MIN_MW = 10_000
ENERGY_FACTOR = 2
ENERGY_SPANS = 3

TripValues = dict[str, int]


class Persistence:
    """A contradiction that counts if it persists in every reading: a single one is a load change."""

    def __init__(self) -> None:
        self._since_ns: int | None = None
        self._reads = 0

    def persists(self, contradicts: bool, at_ns: int) -> bool:
        """Note one reading and return whether the contradiction persists."""
        if not contradicts:
            self.clear()
            return False
        self._since_ns = at_ns if self._since_ns is None else self._since_ns
        self._reads += 1
        return self._reads >= LASTING_READS and at_ns - self._since_ns >= LASTING_NS

    def clear(self) -> None:
        self._since_ns, self._reads = None, 0


class Peaks:
    """The peaks of one outlet: the highest of the last second, and whether they are identical.

    Each live window has another part of the wave, or other noise, so identical peaks for `still_ns` are those of a
    frozen register. A meter without noise may show 0 forever if no current flows, so 0 counts only under load.
    """

    _peak_ma: int  # -1: none yet
    _highest_ma: int  # of the present span
    _before_ma: int  # of the one before
    _span_end_ns: int

    def __init__(self, still_ns: int) -> None:
        self._still_ns = still_ns
        self.clear()

    def note(self, window: PeakWindow, inputs: OutletInputs) -> TripValues | None:
        """Note the peak of one window; must be called with each. Return the numbers of peaks that stand still."""
        peak_ma = window.peak_ma
        if window.to_ns >= self._span_end_ns:
            self._before_ma, self._highest_ma = self._highest_ma, peak_ma
            self._span_end_ns = window.to_ns + PEAK_SPAN_NS
        elif peak_ma > self._highest_ma:
            self._highest_ma = peak_ma
        if peak_ma == self._peak_ma:
            return self._still(inputs)
        self._peak_ma, self._windows = peak_ma, 0
        self._since_ns = inputs.at_ns
        return None

    def _still(self, inputs: OutletInputs) -> TripValues | None:
        self._windows += 1
        if self._windows < STILL_WINDOWS or inputs.at_ns - self._since_ns < self._still_ns:
            return None
        if not self._peak_ma and not (inputs.closed and loaded(inputs)):
            return None
        still_ms = (inputs.at_ns - self._since_ns) // 1_000_000
        return {"still_ms": still_ms, "peak_ma": self._peak_ma, "power_mw": inputs.power_mw.value or 0}

    @property
    def highest_ma(self) -> int | None:
        """The highest peak of the last 0.6 to 1.2 s; None if the peaks do not cover that time yet."""
        return None if self._before_ma < 0 else max(self._before_ma, self._highest_ma)

    def clear(self) -> None:
        self._peak_ma = self._highest_ma = self._before_ma = -1
        self._since_ns = self._windows = 0
        self._span_end_ns = PEAK_SPAN_NS


class StillReads:
    """One register of the slow values with identical bits for `still_ns` under load."""

    def __init__(self, register: str, still_ns: int) -> None:
        """Watch `register`: "current_ma", "power_mw" or "voltage_mv"."""
        self._unmoved, self._shown = f"{register[:-3]}_unmoved", register
        self._still_ns = still_ns
        self._is_voltage = register == "voltage_mv"
        self._moved_ns: int | None = None

    def step(self, inputs: OutletInputs) -> TripValues | None:
        unmoved = getattr(inputs, self._unmoved)
        if not unmoved or self._moved_ns is None:
            self._moved_ns = inputs.at_ns
            return None
        still_ns = inputs.at_ns - self._moved_ns
        if unmoved < STILL_READS or still_ns < self._still_ns:
            return None
        if not (_mains_there(inputs) if self._is_voltage else loaded(inputs)):
            return None
        return {"still_ms": still_ns // 1_000_000, self._shown: getattr(inputs, self._shown).value or 0}

    def clear(self) -> None:
        self._moved_ns = None


class PeakBelowCurrent:
    """Highest peak of the last second below the RMS: impossible, as no wave has a crest below its mean."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks
        self._lasting = Persistence()
        self._read_ns = 0

    def step(self, inputs: OutletInputs) -> TripValues | None:
        current, highest_ma = inputs.current_ma, self._peaks.highest_ma
        if current.at_ns == self._read_ns or highest_ma is None:
            return None
        self._read_ns = current.at_ns
        if current.quality is not Quality.OK or current.value is None:
            return None
        below = current.value >= MIN_RMS_MA and highest_ma < MIN_CREST * current.value
        if not self._lasting.persists(below, current.at_ns):
            return None
        return {"peak_ma": highest_ma, "current_ma": current.value}

    def clear(self) -> None:
        self._lasting.clear()
        self._read_ns = 0


class PowerAboveVoltAmperes:
    """More power than voltage times RMS current: one of the three is wrong."""

    def __init__(self) -> None:
        self._lasting = Persistence()
        self._read_ns = 0

    def step(self, inputs: OutletInputs) -> TripValues | None:
        power, current, voltage = inputs.power_mw, inputs.current_ma, inputs.voltage_mv
        if power.at_ns == self._read_ns:
            return None
        self._read_ns = power.at_ns
        if power.value is None or current.value is None or voltage.value is None:
            self._lasting.clear()
            return None
        most_mw = MAX_FACTOR * voltage.value * current.value / 1000 + MAX_EXTRA_MW
        if not self._lasting.persists(power.value > most_mw, power.at_ns):
            return None
        return {"power_mw": power.value, "current_ma": current.value, "voltage_mv": voltage.value}

    def clear(self) -> None:
        self._lasting.clear()


class EnergyUnlikePower:
    """Count of the energy register against the mean of the power register: if they differ, neither is billed.

    Applies only to an outlet that is read continuously: after a gap the register holds energy of a time without
    readings.
    """

    _read_ns: int
    _since_ns: int
    _from_uj: int
    _power_uj: int
    _odd: int
    _sign: int

    def __init__(self, gap_ns: int) -> None:
        self._gap_ns = gap_ns
        self.clear()

    def step(self, inputs: OutletInputs) -> TripValues | None:
        at_ns, power = inputs.energy_at_ns, inputs.power_mw
        if at_ns == self._read_ns:
            return None
        before_ns, self._read_ns = self._read_ns, at_ns
        if power.value is None or not inputs.closed or at_ns - before_ns > self._gap_ns:
            self._begin(inputs)
            self._odd, self._sign = 0, 0
            return None
        self._power_uj += power.value * (at_ns - before_ns) // 1_000_000  # mW times ms
        if at_ns - self._since_ns < ENERGY_SPAN_NS:
            return None
        metered_uj, power_uj = inputs.energy_uj - self._from_uj, self._power_uj
        self._begin(inputs)
        least_uj = ENERGY_MIN_MW * (ENERGY_SPAN_NS // 1_000_000)
        sign = 0
        if metered_uj > ENERGY_FACTOR * max(power_uj, least_uj):
            sign = 1
        elif power_uj > ENERGY_FACTOR * max(metered_uj, least_uj // ENERGY_FACTOR):
            sign = -1
        self._odd = self._odd + 1 if sign and sign == self._sign else abs(sign)
        self._sign = sign
        if self._odd < ENERGY_SPANS:
            return None
        return {"energy_j": metered_uj // 1_000_000, "power_j": power_uj // 1_000_000}

    def _begin(self, inputs: OutletInputs) -> None:
        self._since_ns, self._from_uj, self._power_uj = inputs.energy_at_ns, inputs.energy_uj, 0

    def clear(self) -> None:
        self._read_ns = 0
        self._since_ns = self._from_uj = self._power_uj = 0
        self._odd = self._sign = 0


class Evidence(Protocol):
    """One comparison of readings; `step` returns the numbers that contradict each other."""

    def step(self, inputs: OutletInputs) -> TripValues | None: ...
    def clear(self) -> None: ...


class PlausibleReadings:
    """All checks of one outlet: `note_peak` takes each peak, `slow` takes each of the other readings.

    The first is called every tick, so it is a bound method that leads directly to the comparison.
    """

    def __init__(self, still_ns: int, gap_ns: int) -> None:
        self._peaks = Peaks(still_ns)
        self.note_peak = self._peaks.note
        self._of_reads: tuple[Evidence, ...] = (
            PeakBelowCurrent(self._peaks),
            PowerAboveVoltAmperes(),
            EnergyUnlikePower(gap_ns),
            *(StillReads(register, still_ns) for register in ("current_ma", "power_mw", "voltage_mv")),
        )

    def slow(self, inputs: OutletInputs) -> TripValues | None:
        found: TripValues | None = None
        for each in self._of_reads:
            why = each.step(inputs)
            found = why if found is None else found
        return found

    def clear(self) -> None:
        self._peaks.clear()
        for each in self._of_reads:
            each.clear()


def loaded(inputs: OutletInputs) -> bool:
    """Return whether one of the meter's registers shows a load."""
    return (inputs.power_mw.value or 0) >= LOAD_MW or (inputs.current_ma.value or 0) >= MIN_RMS_MA


def _mains_there(inputs: OutletInputs) -> bool:
    return (inputs.voltage_mv.value or 0) >= 100_000
