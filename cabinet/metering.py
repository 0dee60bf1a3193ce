"""Seconds and milliwatt-hours of one outlet: monotone counters that bills are made from. Pure.

Energy is kept in microjoules so that nothing is lost to rounding between readings; 64 bits hold 2.5 million kWh.
"""

from cabinet.model import MeterCount

UJ_PER_MWH = 3_600_000
NS_PER_MS = 1_000_000


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

    def add_time(self, duration_ns: int, with_load: bool) -> None:
        """`duration_ns` with the relay closed; `with_load` counts as charging too."""
        self.powered_ns += duration_ns
        if with_load:
            self.charging_ns += duration_ns

    def count(self) -> MeterCount:
        """The counters in billing units, each rounded down."""
        return MeterCount(self.energy_uj // UJ_PER_MWH, self.powered_ns // NS_PER_MS, self.charging_ns // NS_PER_MS)
