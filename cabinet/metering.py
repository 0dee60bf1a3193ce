"""Seconds and milliwatt-hours of one outlet: monotone counters on which bills are based. Pure.

Energy is kept in microjoules so that rounding between readings loses nothing; 64 bits hold 2.5 million kWh.
"""

from cabinet.model import MeterCount

UJ_PER_MWH = 3_600_000
NS_PER_MS = 1_000_000

# An inrush shows in one power reading, at most two: if it lasts through a third, two seconds later, it is a load.
SURE_READINGS = 3
SURE_NS = 2_000_000_000
# A charger that works in pulses (lead-acid refreshers, hiccup and burst modes) is a load that never lasts that long: so
# many readings, over this time, with no gap longer than SURE_NS, and the mean of all readings at least the limit.
PULSED_READINGS = 10
PULSED_NS = 10_000_000_000
LOAD_HYSTERESIS_SHARE = 0.8  # a load ends when its power falls below this share of the limit at which it began


class OutletMeter:
    """Counters of one outlet. They only grow, regardless of readings, and start from an earlier guard's counts."""

    def __init__(self, energy_uj: int = 0, powered_ns: int = 0, charging_ns: int = 0) -> None:
        self.energy_uj = energy_uj
        self.powered_ns = powered_ns
        self.charging_ns = charging_ns

    def add_energy(self, energy_uj: int) -> None:
        """Add the meter chip's count since its last read.

        Noise around zero can be negative: it is not subtracted, as a counter that runs backwards could undo billed
        energy.
        """
        if energy_uj > 0:
            self.energy_uj += energy_uj

    def add_time(self, powered_ns: int, charging_ns: int = 0) -> None:
        """Add time with the relay closed, and its part with a load (see `LoadTime`), which may be known later."""
        self.powered_ns += powered_ns
        self.charging_ns += charging_ns

    def count(self) -> MeterCount:
        """Return the counters in billing units, each rounded down."""
        return MeterCount(self.energy_uj // UJ_PER_MWH, self.powered_ns // NS_PER_MS, self.charging_ns // NS_PER_MS)


class LoadTime:
    """Time with a load: the time between two power readings that both show one.

    A load is power of at least the limit, and then of more than LOAD_HYSTERESIS_SHARE of it, in repeated readings: time
    is held back until there are SURE_READINGS of them over SURE_NS, and dropped if there are fewer, unless they are
    those of a load in pulses. Time before the first reading and after the last one is not counted, so a bill never
    includes a plug that was pulled, or the gaps between pulses.
    """

    def __init__(self) -> None:
        self.sure = False  # a load is confirmed now
        self._since_ns: int | None = None  # readings show a load since then; None: the last one did not
        self._last_ns = 0
        self._readings = 0
        self._unsure_ns = 0
        self._counted_ns = 0
        self._pulses = _Pulses()

    @property
    def possible(self) -> bool:
        """Return whether the last reading showed a load, or a pulse of one was seen just before, confirmed or not."""
        return self._since_ns is not None or self._pulses.possible

    def note(self, at_ns: int, power_mw: int, limit_mw: int) -> None:
        """Note a reading; each one only once."""
        least_mw = limit_mw if self._since_ns is None else int(LOAD_HYSTERESIS_SHARE * limit_mw)
        is_load = power_mw >= least_mw
        pulsed = self._pulses.note(at_ns, power_mw, limit_mw, is_load)
        if not is_load:
            if self._pulses.possible:
                self._pulses.held_ns += self._unsure_ns
            self._end()
            return
        if self._since_ns is None:
            self._since_ns = self._last_ns = at_ns
        self._unsure_ns += at_ns - self._last_ns
        self._last_ns = at_ns
        self._readings += 1
        steady = self._readings >= SURE_READINGS and at_ns - self._since_ns >= SURE_NS
        if not (steady or pulsed):
            return
        self.sure = True
        self._counted_ns += self._unsure_ns + (self._pulses.held_ns if pulsed else 0)
        self._unsure_ns = self._pulses.held_ns = 0
        if steady:
            self._pulses.clear()

    def interrupt(self) -> None:
        """Note that there is no load, or no mains."""
        self._pulses.clear()
        self._end()

    def take_ns(self) -> int:
        """Return the time with a load that was not taken before."""
        counted_ns, self._counted_ns = self._counted_ns, 0
        return counted_ns

    def _end(self) -> None:
        self.sure = False
        self._since_ns = None
        self._readings = self._unsure_ns = 0


class _Pulses:
    """Readings with a load, and without one for at most SURE_NS in between. `held_ns` is their time with a load."""

    held_ns: int
    _since_ns: int
    _last_ns: int  # last reading with a load
    _readings: int
    _loads: int  # readings with a load among them
    _sum_mw: int

    def __init__(self) -> None:
        self.clear()

    @property
    def possible(self) -> bool:
        return self._loads > 0

    def note(self, at_ns: int, power_mw: int, limit_mw: int, is_load: bool) -> bool:
        """Note a reading; return whether it is one of a load in pulses."""
        if self._loads and at_ns - self._last_ns > SURE_NS:
            self.clear()
        if not (is_load or self._loads):
            return False
        if not self._loads:
            self._since_ns = at_ns
        self._readings += 1
        self._sum_mw += power_mw
        if not is_load:
            return False
        self._loads += 1
        self._last_ns = at_ns
        lasting = self._loads >= PULSED_READINGS and at_ns - self._since_ns >= PULSED_NS
        return lasting and self._sum_mw >= limit_mw * self._readings

    def clear(self) -> None:
        self.held_ns = 0
        self._since_ns = self._last_ns = 0
        self._readings = self._loads = self._sum_mw = 0
