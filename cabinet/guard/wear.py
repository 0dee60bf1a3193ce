"""Model of relay wear: the share of its life that a relay loses with each operation. Pure.

Source of the defaults: data sheet of the AZ762 (16 A, 250 V AC): 100,000 operations at 16 A with a resistive load,
10,000,000 without current. Between the two, the arc at opening burns contact material away, in proportion to the charge
that passes through it: as an arc lasts at most until the next current zero, the loss is taken as proportional to the
current. Above the rating it is taken as proportional to the square, as the arc then melts more than it burns. Both are
a model, not a measurement. The bounce at closing, on a charger's inrush, is left out: the data sheet's own operations
include it only for a resistive load.
"""

import math

import msgspec

from cabinet.maintenance import PPB


class RelayLife(msgspec.Struct, frozen=True):
    """Rated life of a relay: operations at its rated current, and without current."""

    rated_ma: int
    electrical_operations: int
    mechanical_operations: int

    def used_ppb(self, broken_ma: int | None) -> int:
        """Return the wear of an operation that broke this current (RMS milliampere); None: unknown, use the rating."""
        share = 1.0 if broken_ma is None else broken_ma / self.rated_ma
        arc = share if share <= 1 else share * share
        return math.ceil(PPB / self.mechanical_operations + PPB / self.electrical_operations * arc)

    def left(self, used_ppb: int, operations: int) -> int | None:
        """Return the operations left if use continues as so far; None if no wear has been counted yet."""
        if operations == 0 or used_ppb == 0:
            return None
        return max(0, (PPB - used_ppb) * operations // used_ppb)
