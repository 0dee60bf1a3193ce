"""Colours for the words that a technician looks for first: red for wrong, green for on. Pure."""

import functools
import re

from cabinet.console.wording import wording
from cabinet.model import Fault

RED, GREEN, BOLD, PLAIN = "\x1b[1;31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"

WRONG = ("latched_mark", "contactor.open", "contactor.open_line", "realtime.no", "clock.not_right", "bus.down")
ON = ("relay.closed", "phase.charging", "contactor.closed")


class Colours:
    """Colour rules of one language."""

    def __init__(self, language: str) -> None:
        words = wording(language)
        wrong = {words(key) for key in WRONG} | {words(f"fault.{fault.value}.name") for fault in Fault}
        on = {words(key) for key in ON} - wrong
        self._colour = dict.fromkeys(on, GREEN) | dict.fromkeys(wrong, RED)
        longest_first = sorted(self._colour, key=len, reverse=True)
        self._found = re.compile("|".join(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])" for word in longest_first))

    @classmethod
    @functools.cache
    def of(cls, language: str) -> "Colours":
        return cls(language)

    def paint(self, text: str) -> str:
        """Return the text with colours; widths do not change, because colour codes take no columns."""
        return self._found.sub(lambda found: f"{self._colour[found[0]]}{found[0]}{PLAIN}", text)
