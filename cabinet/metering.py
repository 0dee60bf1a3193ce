"""Seconds and milliwatt-hours of one outlet: monotone counters that bills are made from. Pure.

Energy is kept in microjoules so that nothing is lost to rounding between readings; 64 bits hold 2.5 million kWh.
"""

from cabinet.model import MeterCount

UJ_PER_MWH = 3_600_000
NS_PER_MS = 1_000_000

# An inrush shows in one reading of the power, at most two: what lasts through a third, two seconds on, is a load.
SURE_READINGS = 3
SURE_NS = 2_000_000_000
LOAD_HYSTERESIS_SHARE = 0.8  # a load is one until its power falls below this share of where it began to be one


class OutletMeter:
    """Counters of one outlet. They only grow, whatever is read; they start from what an earlier guard had counted."""

    def __init__(self, energy_uj: int = 0, powered_ns: int = 0, charging_ns: int = 0) -> None:
        self.energy_uj = energy_uj
        self.powered_ns = powered_ns
        self.charging_ns = charging_ns

    def add_energy(self, energy_uj: int) -> None:
        """What the meter chip counted since its last read. Noise around zero can be negative: it is not given back,
        as a counter that runs backwards could undo what was already billed."""
        if energy_uj > 0:
            self.energy_uj += energy_uj

    def add_time(self, powered_ns: int, charging_ns: int = 0) -> None:
        """Time with the relay closed, and time of it with a load (see `LoadTime`), which may be known later."""
        self.powered_ns += powered_ns
        self.charging_ns += charging_ns

    def count(self) -> MeterCount:
        """The counters in billing units, each rounded down."""
        return MeterCount(self.energy_uj // UJ_PER_MWH, self.powered_ns // NS_PER_MS, self.charging_ns // NS_PER_MS)


class LoadTime:
    """Time with a load: between two readings of the power that both show one.

    A load is power of at least the limit, and then of more than LOAD_HYSTERESIS_SHARE of it, in repeated readings: time
    is held back until there are SURE_READINGS of them over SURE_NS, and dropped if it comes to less. What came before
    the first reading and after the last one is not counted, so that a bill is never for a plug that was pulled.
    """

    def __init__(self) -> None:
        self.sure = False  # there is a load now
        self._since_ns: int | None = None  # readings show a load since then; None: the last one did not
        self._last_ns = 0
        self._readings = 0
        self._unsure_ns = 0
        self._counted_ns = 0

    @property
    def possible(self) -> bool:
        """Whether the last reading showed a load, sure or not."""
        return self._since_ns is not None

    def note(self, at_ns: int, power_mw: int, limit_mw: int) -> None:
        """Take a reading; each one once."""
        least_mw = limit_mw if self._since_ns is None else int(LOAD_HYSTERESIS_SHARE * limit_mw)
        if power_mw < least_mw:
            self.interrupt()
            return
        if self._since_ns is None:
            self._since_ns = self._last_ns = at_ns
        self._unsure_ns += at_ns - self._last_ns
        self._last_ns = at_ns
        self._readings += 1
        if self._readings >= SURE_READINGS and at_ns - self._since_ns >= SURE_NS:
            self.sure = True
            self._counted_ns += self._unsure_ns
            self._unsure_ns = 0

    def interrupt(self) -> None:
        """There is no load, or no mains to draw it from."""
        self.sure = False
        self._since_ns = None
        self._readings = self._unsure_ns = 0

    def take_ns(self) -> int:
        """Time with a load that was not taken before."""
        counted_ns, self._counted_ns = self._counted_ns, 0
        return counted_ns
