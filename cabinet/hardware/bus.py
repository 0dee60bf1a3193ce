"""I2C bus access for the drivers: one owner, muxes that remember their selection, errors with coordinates.

`Bus` is the part of `smbus2.SMBus` that is used here, so a kernel bus and a simulated one are interchangeable. None of
this has a lock: smbus2 has none either, and one thread of one process owns the bus.

A BCM2835-type controller takes one read in a combined transaction, and only as its last message (Linux i2c-bcm2835.c),
so each register read is a transaction of its own: write of the pointer, repeated START, read.
"""

import ctypes
import errno
from collections.abc import Callable, Sequence
from fcntl import ioctl
from functools import partial
from typing import Protocol

from smbus2 import SMBus, i2c_msg
from smbus2.smbus2 import I2C_RDWR, i2c_rdwr_ioctl_data

from cabinet.errors import BusError, ChipReset, HardwareError

MUX = "TCA9548A"
MUX_CHANNELS = 8
MUX_ALL_CLOSED = 0x00  # control register: bit n joins channel n; 0 at power-on and after RESET (SCPS207F p. 17)

_I2C_TIMEOUT = 0x0702  # ioctl of linux/i2c-dev.h, in units of 10 ms, for the whole adapter
_I2C_RETRIES = 0x0701
# The minimum: a short must be found within 20 ms, and a bus that hangs takes no more than half of that. The longest
# transfer here takes 0.3 ms. The kernel's default of 1 s would be fifty mains cycles; it rounds up to its next tick.
_TIMEOUT_10MS = 1
_NOTHING_SELECTED = (-1, -1)


CLOCKS_TO_FREE = 9
"""A chip interrupted within a byte releases SDA after at most this many clocks (UM10204, 3.1.16 bus clear)."""


class OutputLine(Protocol):
    """An output with a low active level, set by `on`."""

    def on(self) -> None: ...
    def off(self) -> None: ...


def clock_out(line: OutputLine) -> None:
    """Pull SCL low nine times through `line`, to free SDA from a chip that holds it. The adapter must be idle."""
    for _ in range(CLOCKS_TO_FREE):
        line.on()
        line.off()


class Bus(Protocol):
    """The subset of `smbus2.SMBus` in use, and `prepare`. Every failure is an OSError with the kernel's errno."""

    def prepare(self, *i2c_msgs: i2c_msg) -> Callable[[], object]:
        """Return a function that carries these messages in one transaction, as `i2c_rdwr` does, at each call."""

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


class KernelBus(SMBus):
    """An I2C adapter of the kernel."""

    def prepare(self, *i2c_msgs: i2c_msg) -> Callable[[], object]:
        """Return the system call for these messages: the loop repeats the same few for years."""
        return partial(ioctl, self.fd, I2C_RDWR, i2c_rdwr_ioctl_data.create(*i2c_msgs))  # type: ignore[arg-type]


def open_kernel_bus(path: str) -> KernelBus:
    """Open the kernel's bus at `path` (such as /dev/i2c-1) and set its time-out to 10 ms.

    Raises HardwareError if the bus does not exist or may not be opened. Nothing is sent on the wire.
    """
    try:
        bus = KernelBus(path)
    except OSError as error:
        raise HardwareError(f"I2C bus {path}: {error.strerror}; is it enabled, and may this user open it?") from error
    assert bus.fd is not None  # it is open
    try:
        ioctl(bus.fd, _I2C_TIMEOUT, _TIMEOUT_10MS)
        ioctl(bus.fd, _I2C_RETRIES, 0)
    except OSError as error:
        bus.close()
        raise HardwareError(f"I2C bus {path}: time-out cannot be set: {error.strerror}") from error
    return bus


class Muxes:
    """The TCA9548A bus switches: at most one of them has one channel open.

    A channel takes effect after the STOP of its selection (data sheet SCPS207F p. 17), so `select` is a transaction of
    its own; the selection is remembered, and a chip on the selected channel needs no second one. After any error the
    state is unknown: `forget`.
    """

    def __init__(self, bus: Bus, addresses: Sequence[int]) -> None:
        self._bus = bus
        self._control: dict[int, int | None] = dict.fromkeys(addresses)  # None: unknown
        self._others = {mux: [other for other in addresses if other != mux] for mux in addresses}
        self._writes: dict[tuple[int, int], Callable[[], object]] = {}  # by mux and control
        self.selected = _NOTHING_SELECTED  # the mux and channel known to be joined with the bus, and nothing else
        self._joined: tuple[int, int] | None = None  # last known; unlike the selection it is kept after errors

    @property
    def joined(self) -> tuple[int, int] | None:
        """The mux and channel last joined with the bus: a chip that holds the bus is behind it or before the muxes.

        None after a reset, or when every mux was closed.
        """
        return self._joined

    def select(self, mux: int, channel: int) -> None:
        """Join `channel` of `mux` with the bus, and nothing else.

        If another mux is open, or may be, it is closed first: two meters have the same address. Raises BusError, and
        then nothing counts as selected.
        """
        if self.selected != (mux, channel):
            self.join((mux, channel))

    def join(self, wanted: tuple[int, int]) -> None:
        """Join that mux's channel as `select` does; for a caller who has checked that it is not selected."""
        mux, channel = wanted
        self.selected = _NOTHING_SELECTED
        for other in self._others[mux]:
            if self._control[other] != MUX_ALL_CLOSED:
                self._close(other)
        self._write(mux, 1 << channel)
        self.selected = self._joined = wanted

    def deselect_all(self) -> None:
        """Close every mux. Attempts all, even if some fail; raises the first BusError."""
        self.selected = _NOTHING_SELECTED
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
        """Read back the channels that `mux` joins. Raises BusError, and ChipReset if they differ from the selection.

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
        """Mark every mux as unknown: the next `select` writes again, and closes the others first."""
        self.selected = _NOTHING_SELECTED
        self._control = dict.fromkeys(self._control)

    def was_reset(self) -> None:
        """Note a pulse on the muxes' RESET line: all are closed (SCPS207F p. 7), without any transfer."""
        self.selected = _NOTHING_SELECTED
        self._joined = None
        self._control = dict.fromkeys(self._control, MUX_ALL_CLOSED)

    def _close(self, mux: int) -> None:
        """Close a mux that is not wanted.

        If it does not acknowledge twice in a row, it has no supply and passes nothing: the outlets behind the others
        must not lose their readings because of it. It stays unknown, so the next change of mux tries it again.
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
        write = self._writes.get((mux, control))
        if write is None:
            write = self._writes[mux, control] = self._bus.prepare(i2c_msg.write(mux, (control,)))
        self._control[mux] = None
        try:
            write()
        except OSError as error:
            raise BusError(MUX, mux, None, error.errno or errno.EIO) from error
        self._control[mux] = control


class ChipPort:
    """Location of one chip: a bus address, and the mux channel it is behind, if any.

    Every failure is a BusError with the chip, its address, the register and the errno (or with the mux's, if the mux
    failed), after which the muxes count as unknown.
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
        self._reads: dict[tuple[bytes, int], PreparedRead] = {}

    def __str__(self) -> str:
        """Return the location as text for people: `0x38 behind 0x70 channel 2`."""
        behind = "" if self._place is None else f" behind 0x{self._place[1]:02x} channel {self._place[2]}"
        return f"0x{self.address:02x}{behind}"

    def write(self, payload: bytes, register: int | None = None) -> None:
        """Send `payload` in one transaction. `register` is only for the error. Raises BusError."""
        self._select()
        try:
            self._bus.i2c_rdwr(i2c_msg.write(self.address, payload))
        except OSError as error:
            raise self.failed(error, register) from error

    def write_read(self, prefix: bytes, count: int, register: int | None = None) -> bytes:
        """Send `prefix`, and after a repeated START read `count` bytes. Raises BusError."""
        return self.prepared(prefix, count, register).read()

    def prepared(self, prefix: bytes, count: int, register: int | None = None) -> "PreparedRead":
        """Return such a read, built once and reused: a scan repeats the same few reads for years."""
        read = self._reads.get((prefix, count))
        if read is None:
            read = self._reads[prefix, count] = PreparedRead(self, self._bus, prefix, count, register)
        return read

    def confirm(self) -> None:
        """Check that the mux joins this chip's channel and no other. Raises BusError, ChipReset."""
        if self._place is not None:
            self._select()
            self._place[0].confirm(self._place[1])

    def last_read(self, prefix: bytes, count: int) -> bytes | None:
        """Return the result of the last such `write_read`, without a transfer; None if there was none."""
        read = self._reads.get((prefix, count))
        return None if read is None else read.answer.raw

    @property
    def place(self) -> tuple[Muxes, int, int] | None:
        """The muxes, the mux and the channel that the chip is behind."""
        return self._place

    def _select(self) -> None:
        if self._place is not None:
            muxes, mux, channel = self._place
            muxes.select(mux, channel)

    def failed(self, error: OSError, register: int | None) -> BusError:
        """Mark the muxes as unknown; return the error with the chip's coordinates."""
        if self._place is not None:
            self._place[0].forget()
        return BusError(self.chip_name, self.address, register, error.errno or errno.EIO)


class PreparedRead:
    """One read of a register, with its messages and its buffer."""

    def __init__(self, port: ChipPort, bus: Bus, prefix: bytes, count: int, register: int | None) -> None:
        """Take the chip's port; `register` is only for the error."""
        self._messages = i2c_msg.write(port.address, prefix), i2c_msg.read(port.address, count)
        self.answer = ctypes.cast(self._messages[1].buf, ctypes.POINTER(ctypes.c_char * count)).contents
        self._carry = bus.prepare(*self._messages)
        self._port, self._register = port, register
        self._muxes: Muxes | None = None if port.place is None else port.place[0]
        self._wanted = _NOTHING_SELECTED if port.place is None else port.place[1:]

    def read(self) -> bytes:
        """Make the read; return the bytes. Raises BusError."""
        muxes = self._muxes
        if muxes is not None and muxes.selected != self._wanted:
            muxes.join(self._wanted)
        try:
            self._carry()
        except OSError as error:
            raise self._port.failed(error, self._register) from error
        return self.answer.raw
