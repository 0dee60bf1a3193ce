"""A bus at byte level for driver tests: it knows framing and nothing of any chip's meaning.

Every transaction is logged as the data sheets draw it, address bytes with their read bit: `S 70 02 29 Sr 71 00 00 64 P`
is a read of three bytes from register 0x0229 of the chip at 0x38. A transaction that fails is logged up to its address.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from smbus2 import i2c_msg

READ_FLAG = 0x0001  # I2C_M_RD of linux/i2c.h


class Registers:
    """A chip that is only cells: a pointer of `pointer_bytes`, then data, which stays until the next write.

    A cell may hold a list: each read then takes the first of it. Reading another width than a cell has is a mistake of
    the driver.
    """

    def __init__(self, pointer_bytes: int, cells: Mapping[str, str | list[str]] | None = None) -> None:
        self._pointer_bytes = pointer_bytes
        self._pointer = ""
        self.cells: dict[str, str | list[str]] = dict(cells or {})

    def write(self, payload: bytes) -> None:
        self._pointer = _hex(payload[: self._pointer_bytes])
        if len(payload) > self._pointer_bytes:
            self.cells[self._pointer] = _hex(payload[self._pointer_bytes :])

    def read(self, count: int) -> bytes:
        cell = self.cells[self._pointer]
        value = bytes.fromhex(cell if isinstance(cell, str) else cell.pop(0))
        assert len(value) == count, f"register {self._pointer} has {len(value)} bytes, {count} were read"
        return value


class ControlByte:
    """A chip without registers: a read returns the last byte written (TCA9548A)."""

    def __init__(self) -> None:
        self.value = 0

    def write(self, payload: bytes) -> None:
        self.value = payload[-1]

    def read(self, count: int) -> bytes:
        return bytes([self.value]) * count


Chip = Registers | ControlByte


class FakeBus:
    """Chips by address; no other answers. `failures` holds for an address the errnos of its next transactions."""

    def __init__(self, chips: dict[int, Chip]) -> None:
        self.chips = chips
        self.failures: dict[int, list[int]] = {}
        self.dead: int | None = None  # an errno: every transaction fails with it
        self.log: list[str] = []
        self.closed = False
        self.before: Callable[[], None] | None = None  # called before each transaction

    def take_log(self) -> list[str]:
        """The transactions since the last call."""
        log, self.log = self.log, []
        return log

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        reads = [bool(message.flags & READ_FLAG) for message in i2c_msgs]
        if any(reads[:-1]):
            raise OSError(errno.EOPNOTSUPP, "a BCM2835 takes one read, as the last message")
        trace: list[str] = []
        for message, reading in zip(i2c_msgs, reads, strict=True):
            trace.append(f"{'Sr' if trace else 'S'} {message.addr << 1 | reading:02X}")
            chip = self._reach(message.addr, trace)
            if reading:
                data = chip.read(message.len)
                for index, byte in enumerate(data):
                    message.buf[index] = bytes([byte])
            else:
                data = b"".join(message.buf[index] for index in range(message.len))
                chip.write(data)
            trace.append(_hex(data))
        self.log.append(" ".join([*trace, "P"]))

    def prepare(self, *i2c_msgs: i2c_msg) -> Callable[[], None]:
        return partial(self.i2c_rdwr, *i2c_msgs)

    def write_byte(self, i2c_addr: int, value: int) -> None:
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [value]))

    def read_byte(self, i2c_addr: int) -> int:
        message = i2c_msg.read(i2c_addr, 1)
        self.i2c_rdwr(message)
        return bytes(message)[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register, value]))

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        return self.read_i2c_block_data(i2c_addr, register, 1)[0]

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register, value & 0xFF, value >> 8]))

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        return int.from_bytes(self.read_i2c_block_data(i2c_addr, register, 2), "little")

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        message = i2c_msg.read(i2c_addr, length)
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register]), message)
        return list(bytes(message))

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        self.i2c_rdwr(i2c_msg.write(i2c_addr, [register, *data]))

    def close(self) -> None:
        self.closed = True

    def _reach(self, address: int, trace: list[str]) -> Chip:
        """The chip at `address`, or the OSError a Pi raises."""
        if self.before is not None:
            self.before()
        failures = self.failures.get(address)
        number = self.dead if self.dead is not None else failures.pop(0) if failures else None
        if number is None and address not in self.chips:
            number = errno.EREMOTEIO
        if number is not None:
            self.log.append(f"{' '.join(trace)} {errno.errorcode[number]}")
            raise OSError(number, errno.errorcode[number])
        return self.chips[address]


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()
