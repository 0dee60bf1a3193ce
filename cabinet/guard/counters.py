"""Meter counters in memory that the keeper owns and the guard writes, so that they outlive a killed guard.

Each counter is one aligned 64-bit word and is copied as one: a guard killed in the middle leaves the old value or the
new. With a new keeper the counters begin at zero under a new `epoch`.
"""

import mmap
import struct
import uuid

from cabinet.metering import OutletMeter

_WORDS = 3  # energy_uj, powered_ns, charging_ns
_ONE = struct.Struct("=Q")


class Counters:
    """Shared by keeper and guard through fork."""

    def __init__(self, outlets: int) -> None:
        self.epoch = uuid.uuid4().hex
        self._memory = mmap.mmap(-1, max(1, outlets * _WORDS * _ONE.size))

    def meter(self, index: int) -> OutletMeter:
        """A meter that goes on from where the last guard was killed."""
        words = (_ONE.unpack_from(self._memory, (index * _WORDS + word) * _ONE.size)[0] for word in range(_WORDS))
        return OutletMeter(*words)

    def save(self, index: int, meter: OutletMeter) -> None:
        offset = index * _WORDS * _ONE.size
        for value in (meter.energy_uj, meter.powered_ns, meter.charging_ns):
            _ONE.pack_into(self._memory, offset, value)
            offset += _ONE.size
