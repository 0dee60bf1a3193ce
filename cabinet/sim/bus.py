"""The simulated I2C bus: segments, their connections through the muxes, transfer times and failures.

A transfer is computed at once and returns the time of its end. The caller waits until then: `wire` as
the client of `server` in another process, or the bus of the tests in the same one.
"""

import errno
import operator
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cabinet.sim.chips.device import Device
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.smbus import Message
from cabinet.sim.timeline import Timeline

ADAPTER_TIMEOUT_NS = 10_000_000  # set by the guard with I2C_TIMEOUT; the kernel's default is 1 s


class Segment:
    """Two wires with chips on them. `stuck`: a chip holds SDA low, for `clocks_left` clocks if that is not None."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chips: dict[int, Device] = {}
        self.stuck = False
        self.clocks_left: int | None = None

    def add(self, address: int, chip: Device) -> None:
        """Add a chip before the first transfer. Raises ValueError if the address is taken."""
        if address in self.chips:
            raise ValueError(f"two chips at 0x{address:02x} of {self.name}")
        self.chips[address] = chip


class Transfer(NamedTuple):
    """Result of a transaction: time of its STOP, 0 or the errno, and the bytes read."""

    done_ns: int
    errno: int
    data: bytes


class I2cBus:
    """All segments. The upstream one is always connected, the others while their mux channel is on."""

    def __init__(self, timeline: Timeline, speed_hz: int, rng: random.Random | None = None) -> None:
        """Set up the upstream segment; `rng` decides which reads are lost."""
        self.upstream = Segment("upstream")
        self.free_ns = 0  # end of the last transfer; transfers queue for the one adapter
        self.transfers = 0
        self.timeout_ns = ADAPTER_TIMEOUT_NS  # the kernel rounds up to its ticks, see `cabinet_testing.sim_tolerances`
        self._timeline = timeline
        self.speed_hz = speed_hz
        self.bit_ns = 1e9 / speed_hz
        self._muxes: list[tuple[Tca9548a, dict[int, Segment]]] = []
        self._seen: dict[tuple[int, ...], _Joined] = {}
        self._joined = _Joined([])
        self.lost_share = 0.0  # share of transactions with a read that fail: no ACK for their first address
        self._rng = rng or random.Random(0)
        self.hung = False  # a connected segment is held low, every transfer times out

    def set_speed(self, hz: float) -> None:
        """Set the true clock of the bus; `speed_hz` stays as configured."""
        self.bit_ns = 1e9 / hz

    def add_mux(self, address: int) -> dict[int, Segment]:
        """Add a TCA9548A at `address` upstream. Return its eight segments by channel."""
        mux = Tca9548a(self.rejoin)
        segments = {channel: Segment(f"channel {channel} of 0x{address:02x}") for channel in range(8)}
        self.upstream.add(address, mux)
        self._muxes.append((mux, segments))
        return segments

    @property
    def muxes(self) -> list[Tca9548a]:
        return [mux for mux, _ in self._muxes]

    def segments(self) -> Iterator[Segment]:
        yield self.upstream
        for _, segments in self._muxes:
            yield from segments.values()

    def rejoin(self) -> None:
        """Determine the connected segments, after a mux changed its channels or a chip released SDA."""
        channels = tuple([mux.joined for mux, _ in self._muxes])
        joined = self._seen.get(channels)
        if joined is None:
            segments = [self.upstream]
            for mux, behind in self._muxes:
                segments += [segment for channel, segment in behind.items() if mux.joined >> channel & 1]
            joined = self._seen[channels] = _Joined(segments)
        self._joined = joined
        self.hung = any(segment.stuck for segment in joined.segments)

    def reset_muxes(self, high: bool) -> None:
        """Set the RESET line of every mux; low disconnects every channel at once."""
        for mux in self.muxes:
            mux.reset_pin(high)

    def clock_line(self, high: bool) -> None:
        """Set SCL by its separate line: a chip interrupted within a byte sends the rest and releases SDA."""
        for segment in self._joined.segments:
            if high and segment.stuck and segment.clocks_left is not None:
                segment.clocks_left -= 1
                segment.stuck = segment.clocks_left > 0
        self.rejoin()

    def transfer(self, messages: Sequence[Message], start_ns: int) -> Transfer:
        """Carry `messages`, starting at `start_ns` or when the bus is free. The timeline must be at the present.

        If a message is not acknowledged, the transfer ends (errno 121, EREMOTEIO). If the bus is held low, it lasts
        for the adapter's timeout (110, ETIMEDOUT). The adapter does not support more than one read, or a read that
        is not last (95, EOPNOTSUPP).
        """
        if start_ns < self.free_ns:
            start_ns = self.free_ns
        self.transfers += 1
        if self.hung:
            self.free_ns = start_ns + self.timeout_ns
            return Transfer(self.free_ns, errno.ETIMEDOUT, b"")
        if len(messages) > 1:
            for message in messages[:-1]:
                if message[1] is None:
                    return Transfer(start_ns, errno.EOPNOTSUPP, b"")
        now_ns = self._timeline.now_ns
        if now_ns < start_ns:
            now_ns = start_ns
        chips_at = {} if self.lost_share and self._is_lost(messages) else self._joined.chips_at
        addressed: dict[int, Sequence[Device]] = {}  # the chips that answered, by address
        data, failed, bits = b"", 0, 1  # the STOP, see `wire_bits`
        for address, payload, count in messages:
            chips = addressed.get(address)
            if chips is None:
                chips = chips_at.get(address, ())
                if len(chips) != 1 or not chips[0].answers(now_ns):  # the frequent case needs no list
                    chips = [chip for chip in chips if chip.answers(now_ns)]
                addressed[address] = chips
            if not chips:
                data, failed = b"", errno.EREMOTEIO
                bits += 9 + (bits == 1)
                break
            if payload is None:
                bits += 10 + 9 * count
                data = chips[0].send(count, now_ns)
                if len(chips) > 1:
                    for chip in chips[1:]:  # one open-drain line: if any chip drives a 0, it is 0
                        data = bytes(map(operator.and_, data, chip.send(count, now_ns)))
            else:
                bits += 10 + 9 * len(payload)
                for chip in chips:
                    chip.receive(payload, now_ns)
        self.free_ns = done_ns = start_ns + int(bits * self.bit_ns)
        for chips in addressed.values():
            for chip in chips:
                chip.stop(done_ns)
        return Transfer(done_ns, failed, data)

    def _is_lost(self, messages: Sequence[Message]) -> bool:
        """Return whether a transaction with a read gets no answer at all."""
        return bool(messages) and messages[-1][1] is None and self._rng.random() < self.lost_share


class _Joined:
    """Connections of one setting of the muxes: the segments, and every chip by its address."""

    __slots__ = ("chips_at", "segments")

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.chips_at: dict[int, tuple[Device, ...]] = {}
        for segment in segments:
            for address, chip in segment.chips.items():
                self.chips_at[address] = (*self.chips_at.get(address, ()), chip)
