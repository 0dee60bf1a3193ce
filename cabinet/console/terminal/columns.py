"""Tables and lines of at most 80 columns, counted as a terminal shows them. Pure."""

import unicodedata
from collections.abc import Iterable, Sequence

from cabinet import plain_text

COLUMNS = 80
GAP = "  "
JOINERS = "\u200c\u200d"


def width(text: str) -> int:
    """Return the terminal columns of `text`: a Chinese character takes two, combining marks and joiners none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if _joins(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text
    )


def _joins(character: str) -> bool:
    return unicodedata.combining(character) != 0 or character in JOINERS


def _signs(text: str) -> list[str]:
    """Split `text` into terminal glyphs: a character with its marks, or several characters combined by joiners."""
    signs: list[str] = []
    for character in text:
        if signs and (_joins(character) or signs[-1][-1] in JOINERS):
            signs[-1] += character
        else:
            signs.append(character)
    return signs


def pad(text: str, columns: int) -> str:
    """Pad `text` with blanks to `columns` on the right, or on the left if `columns` is negative."""
    blanks = " " * max(0, abs(columns) - width(text))
    return blanks + text if columns < 0 else text + blanks


def cut(text: str, columns: int) -> str:
    """Return `text`, or if it is too wide the part that fits, with a mark of omission."""
    if width(text) <= columns:
        return text
    kept = ""
    for sign in _signs(text):
        if width(kept + sign) > columns - 1:
            break
        kept += sign
    return kept + "…"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return lines with every column as wide as its cells; columns numbered in `right` (from 0) are right-aligned.

    The last column is cut if a line would be wider than a terminal.
    """
    cells = [[plain_text.one_line(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(titles))]
    lines = []
    for row in cells:
        padded = [pad(cell, -widths[n] if n in right else widths[n]) for n, cell in enumerate(row[:-1])]
        before = GAP.join([*padded, ""])
        last = pad(row[-1], -widths[-1]) if len(row) - 1 in right else row[-1]
        lines.append((before + cut(last, max(1, COLUMNS - width(before)))).rstrip())
    return lines


def fold(text: str, indent: str = "") -> list[str]:
    """Wrap `text` to lines of at most 80 columns, at blanks, or anywhere between Chinese characters.

    A word wider than a line, such as a long path, continues on the next line.
    """
    lines, line = [], indent
    for word in (
        part for piece in _pieces(plain_text.one_line(text)) for part in _chopped(piece, COLUMNS - width(indent))
    ):
        if width(line + word.rstrip()) > COLUMNS and line.strip():
            lines.append(line.rstrip())
            line = indent + word.lstrip()
        else:
            line += word
    return [*lines, line.rstrip()] if line.strip() else lines


def _chopped(word: str, room: int) -> list[str]:
    """Split a word into parts of at most `room` columns, not counting blanks at the end."""
    parts = [""]
    for sign in _signs(word):
        if width(parts[-1] + sign) > room and not sign.isspace():
            parts.append("")
        parts[-1] += sign
    return parts


def _pieces(text: str) -> list[str]:
    """Split `text` at possible line breaks: after blanks, and after each wide character."""
    pieces = [""]
    for sign in _signs(text):
        pieces[-1] += sign
        if sign == " " or unicodedata.east_asian_width(sign[0]) in "WF":
            pieces.append("")
    return [piece for piece in pieces if piece]
