"""The cabinet's feed meter, in front of all outlets: it measures their summed current."""

from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.waveform import Wave


class FeedMeter:
    """An input of a meter chip in front of all outlets."""

    def __init__(self, chip: Ade7953, channel: str) -> None:
        self.chip = chip
        self.channel = channel

    def follow(self, wave: Wave, at_ns: int) -> None:
        """Set the summed current of all outlets to `wave` from `at_ns` on."""
        self.chip.follow(self.channel, wave, at_ns)
