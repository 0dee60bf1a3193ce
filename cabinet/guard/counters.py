"""Memory owned by the keeper and written by the guard: counters and safety state survive a killed guard.

Each counter is one aligned 64-bit word and is copied as one: a guard killed in the middle leaves the old value or the
new. With a new keeper the counters begin at zero under a new `epoch`.
"""

import mmap
import struct
import uuid
import zlib

from cabinet.metering import OutletMeter

_WORDS = 3  # energy_uj, powered_ns, charging_ns
_ONE = struct.Struct("=Q")
_ALL = struct.Struct(f"={_WORDS}Q")  # each word is written by one store, as it is aligned
_HEAD = struct.Struct("=II")  # length and CRC-32 of the content
MEMORY_COPY_BYTES = 256 * 1024  # of one file: forty outlets with the longest notes and signatures are under 100 kB


class Counters:
    """Memory shared by keeper and guard through fork."""

    def __init__(self, outlets: int) -> None:
        self.epoch = uuid.uuid4().hex
        self._memory = mmap.mmap(-1, max(1, outlets * _WORDS * _ONE.size))
        self.latches = MemoryCopy()
        self.maintenance_state = MemoryCopy()
        self.recent_trips = MemoryCopy()

    def meter(self, index: int) -> OutletMeter:
        """Return a meter that continues from the counts of the last guard."""
        words = (_ONE.unpack_from(self._memory, (index * _WORDS + word) * _ONE.size)[0] for word in range(_WORDS))
        return OutletMeter(*words)

    def save(self, index: int, meter: OutletMeter) -> None:
        _ALL.pack_into(self._memory, index * _ALL.size, meter.energy_uj, meter.powered_ns, meter.charging_ns)


class MemoryCopy:
    """The second copy of a file of the guard's state, replaced as a whole.

    There are two slots: the one that is not current is filled, then one aligned word makes it current. A guard killed
    at any instruction leaves the old content or the new. Pages that are never touched take no memory.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ONE.size + 2 * MEMORY_COPY_BYTES)  # word 0: 0 if empty, else 1 + the current slot

    def read(self) -> bytes | None:
        """Return the content; None if nothing was ever written. Raises ValueError if a fault has overwritten it."""
        (current,) = _ONE.unpack_from(self._memory, 0)
        if current == 0:
            return None
        if current not in (1, 2):
            raise ValueError(f"slot {current}")
        offset = self._offset(current - 1)
        length, crc = _HEAD.unpack_from(self._memory, offset)
        offset += _HEAD.size
        content = self._memory[offset : offset + length]
        if len(content) != length or zlib.crc32(content) != crc:
            raise ValueError("its checksum is wrong")
        return content

    def write(self, content: bytes) -> None:
        """Replace the content. Raises ValueError if it is too long; then the old content stays."""
        if len(content) > MEMORY_COPY_BYTES - _HEAD.size:
            raise ValueError(f"{len(content)} bytes are more than the {MEMORY_COPY_BYTES} that are kept")
        (current,) = _ONE.unpack_from(self._memory, 0)
        slot = 1 if current == 1 else 0
        offset = self._offset(slot)
        start = offset + _HEAD.size
        self._memory[start : start + len(content)] = content
        _HEAD.pack_into(self._memory, offset, len(content), zlib.crc32(content))
        _ONE.pack_into(self._memory, 0, slot + 1)

    def _offset(self, slot: int) -> int:
        return _ONE.size + slot * MEMORY_COPY_BYTES
