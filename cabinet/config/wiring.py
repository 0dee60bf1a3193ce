"""Wiring of a line as named in `cabinet.toml`: a pin of an expander, or a GPIO line of the computer. Pure."""

import re

import msgspec

# Pins of an MCP23017 that its maker allows as outputs only, since revision D (2022) of data sheet DS20001952: a level
# change at one as an input may corrupt the data that the chip is sending on SDA.
OUTPUT_ONLY = {7: "GPA7", 15: "GPB7"}
_PLACE = re.compile(r"expander:(?P<expander>0x[0-9a-fA-F]{2})/(?P<line>\d+)|gpio:(?P<gpio>\d+)")


class PinRef(msgspec.Struct, frozen=True):
    """Pin 0-15 of the expander at an address (0-7 GPA, 8-15 GPB), or, if `expander` is None, a BCM GPIO."""

    expander: int | None
    pin: int

    @classmethod
    def parse(cls, text: str) -> "PinRef":
        """Return the place named as in `cabinet.toml`: `expander:0x20/3` or `gpio:17`. Raises ValueError for others."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is neither expander:ADDRESS/PIN nor gpio:PIN")
        if match["gpio"] is not None:
            return cls(None, int(match["gpio"]))
        return cls(int(match["expander"], 16), int(match["line"]))
