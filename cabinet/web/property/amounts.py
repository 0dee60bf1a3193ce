"""Amounts of money typed by people."""

from cabinet import normal_form
from cabinet.errors import Refused

MAX_FEN = 999_999


def fen_of_yuan(text: str) -> int:
    """Return the amount in fen: 12.5 is 1250. Raises Refused `bad_amount` if it is nothing, too much, or has more than
    two decimals."""
    fen = normal_form.fen(text)
    if fen is None or not 1 <= fen <= MAX_FEN:
        raise Refused("bad_amount")
    return fen
