"""How much of its life a relay loses with each operation. Pure.

Source of the defaults: data sheet of the AZ762 (16 A, 250 V AC): 100,000 operations at 16 A with a resistive load,
10,000,000 without current. Between the two the contacts lose what the arc at opening burns away, and that goes with
the charge that passes through it: an arc lasts at most until the next current zero, so it is taken to go with the
current. Above the rating it is taken to go with the square, as the arc then melts more than it burns.
Both are a model, not a measurement. The bounce at closing, on a charger's inrush, is left out: it is
part of the data sheet's own operations only for a resistive load.
"""

import math

import msgspec

from cabinet.upkeep import PPB


class RelayLife(msgspec.Struct, frozen=True):
    """What a relay can do: operations at its rated current, and without any."""

    rated_ma: int
    electrical_operations: int
    mechanical_operations: int

    def used_ppb(self, broken_ma: int | None) -> int:
        """What one operation costs that broke so much (RMS milliampere); None: nobody knows, the rating is taken."""
        share = 1.0 if broken_ma is None else broken_ma / self.rated_ma
        arc = share if share <= 1 else share * share
        return math.ceil(PPB / self.mechanical_operations + PPB / self.electrical_operations * arc)

    def left(self, used_ppb: int, operations: int) -> int | None:
        """Operations until the end of life, if it goes on as it did so far; None where nothing was seen yet."""
        if operations == 0 or used_ppb == 0:
            return None
        return max(0, (PPB - used_ppb) * operations // used_ppb)
