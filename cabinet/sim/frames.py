"""Frames of the simulator's bus-and-pins socket (SEQPACKET): requests of `wire`, replies of `server`. Light import."""

import struct
from collections.abc import Sequence

from cabinet.sim.smbus import Message

TRANSFER, SPEED, LEVEL, DRIVE, RELEASE, PULL, WATCH, UNWATCH = b"T", b"S", b"L", b"D", b"R", b"P", b"W", b"U"
DONE, BIT, SHOWS, EDGE, WATCHING, REFUSED = b"t", b"s", b"l", b"e", b"w", b"x"

MAX_FRAME_BYTES = 16 * 1024
_T, _D, _L, _E = TRANSFER[0], DONE[0], SHOWS[0], EDGE[0]

_TRANSFER = struct.Struct("<BQB")  # kind, start (ns), number of messages
_MESSAGE = struct.Struct("<BBH")  # address, 1 for a read, number of bytes
_DONE = struct.Struct("<BQH")  # kind, STOP at (ns), errno; then the bytes read
_BIT = struct.Struct("<Bd")  # kind, nanoseconds per bit
_LINE = struct.Struct("<BBB")  # kind, line, value
_EDGE = struct.Struct("<BBBQ")  # kind, line, level, at (ns)

BODY = _TRANSFER.size - 1  # offset of the messages in a transfer; equal transfers have equal bytes from here on

PULLS = (None, True, False)


def pack_transfer(messages: Sequence[Message], start_ns: int) -> bytes:
    parts = [_TRANSFER.pack(_T, start_ns, len(messages))]
    for address, payload, count in messages:
        if payload is None:
            parts.append(_MESSAGE.pack(address, 1, count))
        else:
            parts.append(_MESSAGE.pack(address, 0, len(payload)))
            parts.append(payload)
    return b"".join(parts)


def unpack_start(frame: bytes) -> int:
    """Return the start time of a transfer."""
    return int(_TRANSFER.unpack_from(frame)[1])


def unpack_messages(body: bytes) -> list[Message]:
    """Return the messages of a transfer's frame from byte `BODY` on. Raises struct.error if it is cut short."""
    number = body[0]
    at = 1
    messages: list[Message] = []
    for _ in range(number):
        address, read, count = _MESSAGE.unpack_from(body, at)
        at += _MESSAGE.size
        if read:
            messages.append((address, None, count))
        else:
            if at + count > len(body):
                raise struct.error("a message is cut short")
            messages.append((address, body[at : at + count], 0))
            at += count
    return messages


def pack_done(done_ns: int, errno: int, data: bytes) -> bytes:
    return _DONE.pack(_D, done_ns, errno) + data


def unpack_done(frame: bytes) -> tuple[int, int, bytes]:
    _, done_ns, errno = _DONE.unpack_from(frame)
    return done_ns, errno, frame[_DONE.size :]


def pack_bit(bit_ns: float) -> bytes:
    return _BIT.pack(BIT[0], bit_ns)


def unpack_bit(frame: bytes) -> float:
    return float(_BIT.unpack(frame)[1])


def pack_line(kind: bytes, line: int, value: int = 0) -> bytes:
    return _LINE.pack(kind[0], line, value)


def unpack_line(frame: bytes) -> tuple[int, int]:
    _, line, value = _LINE.unpack(frame)
    return line, value


def pack_edge(line: int, high: bool, at_ns: int) -> bytes:
    return _EDGE.pack(_E, line, high, at_ns)


def unpack_edge(frame: bytes) -> tuple[int, bool, int]:
    _, line, high, at_ns = _EDGE.unpack(frame)
    return line, bool(high), at_ns
