"""The interface of `smbus2.SMBus` over any carrier of I2C messages. Light import: the guard's process loads it."""

import abc
import ctypes
from collections.abc import Callable, Iterable, Sequence

from smbus2 import i2c_msg

# One message: address, bytes to write (None: a read), count to read.
Message = tuple[int, bytes | None, int]

MAX_BLOCK_BYTES = 32  # bytes in a block transfer, limit of smbus2 and the kernel


def wire_bits(messages: Sequence[Message]) -> int:
    """Return the bits on the wire: 1 per START or repeated START, 9 per byte including the address, 1 STOP."""
    bits = 1 + len(messages)
    for _, payload, count in messages:
        bits += 9 + 9 * (count if payload is None else len(payload))
    return bits


class SmbusCalls(abc.ABC):
    """Calls of `smbus2.SMBus`; a subclass has `transfer`. A failure raises OSError with the errno of a real adapter."""

    @abc.abstractmethod
    def transfer(self, messages: Sequence[Message]) -> bytes:
        """Carry the messages in one transaction with one STOP. Return the bytes read."""

    def close(self) -> None:  # noqa: B027  # most carriers have nothing to close
        """Do nothing; a subclass with a resource overrides it."""

    def i2c_rdwr(self, *i2c_msgs: i2c_msg) -> None:
        """Run a combined transaction; the bytes read are stored in the read messages."""
        self.prepare(*i2c_msgs)()

    def prepare(self, *i2c_msgs: i2c_msg) -> Callable[[], None]:
        """Return a function that runs a combined transaction with these messages, as they are now, at each call."""
        messages: tuple[Message, ...] = tuple(
            (msg.addr, None, msg.len) if msg.flags & 1 else (msg.addr, ctypes.string_at(msg.buf, msg.len), 0)
            for msg in i2c_msgs
        )
        reads = [(msg.buf, msg.len) for msg in i2c_msgs if msg.flags & 1]

        def carry() -> None:
            data = self.transfer(messages)
            start = 0
            for buffer, count in reads:
                ctypes.memmove(buffer, data[start : start + count], count)
                start += count

        return carry

    def write_quick(self, i2c_addr: int, force: bool | None = None) -> None:
        self.transfer(((i2c_addr, b"", 0),))

    def read_byte(self, i2c_addr: int, force: bool | None = None) -> int:
        return self.transfer(((i2c_addr, None, 1),))[0]

    def write_byte(self, i2c_addr: int, value: int, force: bool | None = None) -> None:
        self.transfer(((i2c_addr, bytes((value,)), 0),))

    def read_byte_data(self, i2c_addr: int, register: int, force: bool | None = None) -> int:
        return self.transfer(((i2c_addr, bytes((register,)), 0), (i2c_addr, None, 1)))[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int, force: bool | None = None) -> None:
        self.transfer(((i2c_addr, bytes((register, value)), 0),))

    def read_word_data(self, i2c_addr: int, register: int, force: bool | None = None) -> int:
        """Read a word; SMBus words have the low byte first."""
        return int.from_bytes(self.transfer(((i2c_addr, bytes((register,)), 0), (i2c_addr, None, 2))), "little")

    def write_word_data(self, i2c_addr: int, register: int, value: int, force: bool | None = None) -> None:
        self.transfer(((i2c_addr, bytes((register,)) + value.to_bytes(2, "little"), 0),))

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int, force: bool | None = None) -> list[int]:
        if length > MAX_BLOCK_BYTES:
            raise ValueError(f"a block has at most {MAX_BLOCK_BYTES} bytes")
        return list(self.transfer(((i2c_addr, bytes((register,)), 0), (i2c_addr, None, length))))

    def write_i2c_block_data(
        self, i2c_addr: int, register: int, data: Iterable[int], force: bool | None = None
    ) -> None:
        payload = bytes(data)
        if len(payload) > MAX_BLOCK_BYTES:
            raise ValueError(f"a block has at most {MAX_BLOCK_BYTES} bytes")
        self.transfer(((i2c_addr, bytes((register,)) + payload, 0),))
