"""Amounts as people type them."""

import re

from cabinet.errors import Refused

MOST_FEN = 999_999

_YUAN = re.compile(r"(\d{1,4})(?:\.(\d{1,2}))?")


def fen_of_yuan(text: str) -> int:
    """12.5 is 1250; refuses bad_amount for nothing, too much, or more than two decimals."""
    match = _YUAN.fullmatch(text.strip())
    if match is None or not match[0].isascii():
        raise Refused("bad_amount")
    fen = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
    if not 1 <= fen <= MOST_FEN:
        raise Refused("bad_amount")
    return fen
