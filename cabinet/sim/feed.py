"""The cabinet's own meter, in front of all outlets: it sees what they draw together."""

from collections.abc import Iterable

from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.outlet import Outlet
from cabinet.sim.together import together
from cabinet.sim.waveform import SILENCE, Mains


class FeedMeter:
    """An input of a meter chip in front of all outlets."""

    def __init__(self, chip: Ade7953, channel: str) -> None:
        self.chip = chip
        self.channel = channel

    def follow(self, mains: Mains | None, outlets: Iterable[Outlet], at_ns: int) -> None:
        """Some outlet's current is another from `at_ns` on."""
        wave = SILENCE if mains is None else together(mains, (outlet.wave for outlet in outlets))
        self.chip.follow(self.channel, wave, at_ns)
