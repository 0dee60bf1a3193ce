"""Measurement of the bus at the guard's start, while everything is open: its true clock, and the time of a transfer.

On a Raspberry Pi 4 the bus follows the core clock, which the firmware lowers to save power: a bus configured for 400
kHz runs at 160 kHz then (raspberrypi/linux issues 3257 and 4884). Two registers of different length give the time of a
bit: everything but their 27 bits is the same in both transfers.
"""

from collections.abc import Iterable

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import BusError
from cabinet.guard.segment import Segment
from cabinet.hardware.ade7953 import LCYCMODE, VRMS
from cabinet.hardware.bus import ChipPort

_READS = 30  # of each; the shortest counts for the clock, the middle one for the processor
_SHORT = (LCYCMODE.to_bytes(2, "big"), 1)
_LONG = ((VRMS + 0x100).to_bytes(2, "big"), 4)  # the same register with 32 bits (data sheet p. 60)
_MORE_BITS = 27


class BusSpeed(msgspec.Struct, frozen=True):
    """The bus as measured. `transfer_us`: a register of four bytes, with the work of kernel and interpreter."""

    clock_hz: int
    transfer_us: int


def measure_bus(segments: Iterable[Segment], clock: Clock) -> BusSpeed | None:
    """Return the speed of the bus; None if no meter answers all reads. It takes about 20 ms at 400 kHz."""
    for segment in segments:
        if segment.up:
            try:
                return _measure(segment.chip.port, clock)
            except BusError:
                continue
    return None


def _measure(port: ChipPort, clock: Clock) -> BusSpeed | None:
    times_ns: dict[tuple[bytes, int], list[int]] = {_SHORT: [], _LONG: []}
    for _ in range(_READS):
        for read, taken_ns in times_ns.items():
            start_ns = clock.monotonic_ns()
            port.write_read(*read)
            taken_ns.append(clock.monotonic_ns() - start_ns)
    bits_ns = min(times_ns[_LONG]) - min(times_ns[_SHORT])
    if bits_ns <= 0:
        return None
    return BusSpeed(_MORE_BITS * NS // bits_ns, sorted(times_ns[_LONG])[_READS // 2] // 1000)
