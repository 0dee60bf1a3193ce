"""The I2C bus as the drivers use it: one owner, muxes that remember what they joined, errors with coordinates.

`Bus` is the part of `smbus2.SMBus` that is used here, so that a kernel bus and a simulated one serve alike. None of
this has a lock: smbus2 has none either, and one thread of one process owns the bus.

A BCM2835-type controller takes one read in a combined transaction, and only as its last message (Linux
i2c-bcm2835.c), so each register read is a transaction of its own: write of the pointer, repeated START, read.
"""

import errno
import fcntl
from collections.abc import Sequence
from typing import Protocol

from smbus2 import SMBus, i2c_msg

from cabinet.errors import BusError, ChipReset, HardwareError

MUX = "TCA9548A"
MUX_CHANNELS = 8
MUX_ALL_CLOSED = 0x00  # control register: bit n joins channel n; 0 at power-on and after RESET (SCPS207F p. 17)

_I2C_TIMEOUT = 0x0702  # ioctl of linux/i2c-dev.h, in units of 10 ms, for the whole adapter
_I2C_RETRIES = 0x0701
# The least there is: of the 20 ms in which a short is to be found, a bus that hangs takes no more than half. The
# longest transfer here takes 0.3 ms. The kernel's own 1 s would be fifty mains cycles; it rounds up to its next tick.
_TIMEOUT_10MS = 1
_NOTHING_SELECTED = (-1, -1)


CLOCKS_TO_FREE = 9
"""A chip that was interrupted in a byte lets go of SDA after at most this many clocks (UM10204, 3.1.16 bus clear)."""


class Line(Protocol):
    """An output of which `on` is the low, active level."""

    def on(self) -> None: ...
    def off(self) -> None: ...


def clock_out(line: Line) -> None:
    """Pull SCL low nine times through `line`, for a chip that holds SDA. The adapter must not be in a transfer."""
    for _ in range(CLOCKS_TO_FREE):
        line.on()
        line.off()


class Bus(Protocol):
    """What is used of `smbus2.SMBus`. Every failure is an OSError with an errno, as the kernel gives it."""

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None: ...
    def read_byte(self, i2c_addr: int, /) -> int: ...
    def write_byte(self, i2c_addr: int, value: int, /) -> None: ...
    def read_byte_data(self, i2c_addr: int, register: int, /) -> int: ...
    def write_byte_data(self, i2c_addr: int, register: int, value: int, /) -> None: ...
    def read_word_data(self, i2c_addr: int, register: int, /) -> int: ...
    def write_word_data(self, i2c_addr: int, register: int, value: int, /) -> None: ...
    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int, /) -> list[int]: ...
    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int], /) -> None: ...
    def close(self) -> None: ...


def open_kernel_bus(path: str) -> Bus:
    """The kernel's bus at `path` (such as /dev/i2c-1), its time-out set to 10 ms.

    Raises HardwareError where there is none or it may not be opened. Nothing is sent on the wire.
    """
    try:
        bus = SMBus(path)
    except OSError as error:
        raise HardwareError(f"I2C bus {path}: {error.strerror}; is it enabled, and may this user open it?") from error
    assert bus.fd is not None  # it is open
    try:
        fcntl.ioctl(bus.fd, _I2C_TIMEOUT, _TIMEOUT_10MS)
        fcntl.ioctl(bus.fd, _I2C_RETRIES, 0)
    except OSError as error:
        bus.close()
        raise HardwareError(f"I2C bus {path}: time-out cannot be set: {error.strerror}") from error
    return bus


class Muxes:
    """The TCA9548A bus switches, of which at most one has one channel open.

    A channel takes effect after the STOP of its selection (data sheet SCPS207F p. 17), so `select` is a transaction
    of its own; the choice is remembered, and a chip on the selected channel costs no second one. After any error
    nothing is known: `forget`.
    """

    def __init__(self, bus: Bus, addresses: Sequence[int]) -> None:
        self._bus = bus
        self._control: dict[int, int | None] = dict.fromkeys(addresses)  # None: unknown
        self._selected = _NOTHING_SELECTED
        self._joined: tuple[int, int] | None = None  # as far as is known; unlike a selection not forgotten on errors

    @property
    def joined(self) -> tuple[int, int] | None:
        """The mux and channel last joined with the bus: whatever holds the bus now is behind it, or before the muxes.

        None after a reset, or when every mux was closed.
        """
        return self._joined

    def select(self, mux: int, channel: int) -> None:
        """Join `channel` of `mux` with the bus, and nothing else.

        Another mux that is open, or may be, is closed first: two meters have the same address. Raises BusError, and
        then nothing is taken as selected.
        """
        wanted = (mux, channel)
        if self._selected == wanted:
            return
        self._selected = _NOTHING_SELECTED
        for other, control in self._control.items():
            if other != mux and control != MUX_ALL_CLOSED:
                self._close(other)
        self._write(mux, 1 << channel)
        self._selected = self._joined = wanted

    def deselect_all(self) -> None:
        """Close every mux. Attempts all, even if some fail; raises the first BusError."""
        self._selected = _NOTHING_SELECTED
        first: BusError | None = None
        for mux in self._control:
            try:
                self._write(mux, MUX_ALL_CLOSED)
            except BusError as error:
                first = first or error
        if first is not None:
            raise first
        self._joined = None

    def confirm(self, mux: int) -> None:
        """Read back what `mux` joins. Raises BusError, and ChipReset where it is not what it was told.

        A mux that keeps another channel answers every read, with the readings of another chip.
        """
        try:
            found = self._bus.read_byte(mux)
        except OSError as error:
            self.forget()
            raise BusError(MUX, mux, None, error.errno or errno.EIO) from error
        wanted = self._control[mux]
        if found != wanted:
            self.forget()
            raise ChipReset(MUX, f"0x{mux:02x}", f"joins channels 0x{found:02x} instead of 0x{wanted or 0:02x}")

    def forget(self) -> None:
        """Nothing is known of any mux: the next `select` writes again, and closes the others first."""
        self._selected = _NOTHING_SELECTED
        self._control = dict.fromkeys(self._control)

    def was_reset(self) -> None:
        """The muxes' RESET line was pulsed: all are closed (SCPS207F p. 7), and no transfer is needed to say so."""
        self._selected = _NOTHING_SELECTED
        self._joined = None
        self._control = dict.fromkeys(self._control, MUX_ALL_CLOSED)

    def _close(self, mux: int) -> None:
        """Close a mux that is not wanted.

        One that does not acknowledge twice in a row has no supply and passes nothing: the outlets behind the others
        must not go blind for it. It stays unknown, so it is tried again at the next change of mux.
        """
        for last in (False, True):
            try:
                self._write(mux, MUX_ALL_CLOSED)
            except BusError as error:
                if not error.absent:
                    raise
                if last:
                    return
            else:
                return

    def _write(self, mux: int, control: int) -> None:
        self._control[mux] = None
        try:
            self._bus.write_byte(mux, control)
        except OSError as error:
            raise BusError(MUX, mux, None, error.errno or errno.EIO) from error
        self._control[mux] = control


class Port:
    """One chip's place: a bus address, and the mux channel it is behind where there is one.

    Every failure is a BusError with the chip, its address, the register and the errno (or with the mux's, where that
    is what failed), after which the muxes are taken as unknown.
    """

    def __init__(
        self,
        bus: Bus,
        chip_name: str,
        address: int,
        muxes: Muxes | None = None,
        mux: int | None = None,
        channel: int | None = None,
    ) -> None:
        self._place: tuple[Muxes, int, int] | None = None
        if mux is not None:
            if muxes is None or channel is None:
                raise ValueError(f"{chip_name}: a place behind a mux is the muxes, a mux and a channel")
            self._place = (muxes, mux, channel)
        self.chip_name = chip_name
        self.address = address
        self.mux, self.channel = mux, channel
        self._bus = bus
        self._reads: dict[tuple[bytes, int], tuple[i2c_msg, i2c_msg]] = {}

    def __str__(self) -> str:
        """Where the chip is, for people: `0x38 behind 0x70 channel 2`."""
        behind = "" if self._place is None else f" behind 0x{self._place[1]:02x} channel {self._place[2]}"
        return f"0x{self.address:02x}{behind}"

    def write(self, payload: bytes, register: int | None = None) -> None:
        """Send `payload` in one transaction. `register` is only for the error. Raises BusError."""
        self._select()
        try:
            self._bus.i2c_rdwr(i2c_msg.write(self.address, payload))
        except OSError as error:
            raise self._failed(error, register) from error

    def write_read(self, prefix: bytes, count: int, register: int | None = None) -> bytes:
        """Send `prefix`, and after a repeated START read `count` bytes. Raises BusError.

        The messages of a prefix are built once and used again: a scan repeats the same few reads for years.
        """
        messages = self._reads.get((prefix, count))
        if messages is None:
            messages = (i2c_msg.write(self.address, prefix), i2c_msg.read(self.address, count))
            self._reads[prefix, count] = messages
        self._select()
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            raise self._failed(error, register) from error
        return bytes(messages[1])

    def confirm(self) -> None:
        """Make sure that the mux joins this chip's channel and no other. Raises BusError, ChipReset."""
        if self._place is not None:
            self._select()
            self._place[0].confirm(self._place[1])

    def last_read(self, prefix: bytes, count: int) -> bytes | None:
        """What the last such `write_read` brought, without a transfer; None where there was none."""
        messages = self._reads.get((prefix, count))
        return None if messages is None else bytes(messages[1])

    def _select(self) -> None:
        if self._place is not None:
            muxes, mux, channel = self._place
            muxes.select(mux, channel)

    def _failed(self, error: OSError, register: int | None) -> BusError:
        if self._place is not None:
            self._place[0].forget()
        return BusError(self.chip_name, self.address, register, error.errno or errno.EIO)
