"""Decoding of the frames of all local sockets: a message, or LinkError."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from cabinet.errors import LinkError

T = TypeVar("T")

# ValueError: text that is not UTF-8; RecursionError: deeply nested lists
_NOT_A_MESSAGE = (msgspec.MsgspecError, ValueError, RecursionError)


def decoding(decode: Callable[[bytes], T], message: str) -> Callable[[bytes], T]:
    """Return `decode` as a function that raises LinkError, naming the kind of message, for any other frame."""

    def decoded(frame: bytes) -> T:
        try:
            return decode(frame)
        except _NOT_A_MESSAGE as error:
            raise LinkError(f"not {message}: {error}") from error

    return decoded
