"""The cabinet's own meter, in front of all outlets: it sees what they draw together."""

from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.waveform import Wave


class FeedMeter:
    """An input of a meter chip in front of all outlets."""

    def __init__(self, chip: Ade7953, channel: str) -> None:
        self.chip = chip
        self.channel = channel

    def follow(self, wave: Wave, at_ns: int) -> None:
        """From `at_ns` on all outlets together draw `wave`."""
        self.chip.follow(self.channel, wave, at_ns)
