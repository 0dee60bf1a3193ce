"""Sanitising of output text: one function for each kind of output (terminal, log line, spreadsheet, JSON). Pure.

Text that people typed may hold characters that act instead of being displayed: terminal escapes, line breaks that begin
a forged line, marks that reverse the direction of the following text, characters without a width. Every output replaces
each of them by a sign, regardless of the text's source: a database may be older than the input checks (`normal_form`),
and a file may have been edited.
"""

import logging
import re

REPLACED = "\N{REPLACEMENT CHARACTER}"

_JOINED_BEFORE = (
    "\u0620-\u06ff"  # Arabic letters
    "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"  # viramas of the Indic scripts
    "\u203c-\u3299\ufe0f\U0001f000-\U0001faff"  # signs and emoji
)
JOINER = f"(?<=[{_JOINED_BEFORE}])[\u200c\u200d](?=[^\\s\x00-\x7f\u200c\u200d])"
"""A zero-width joiner in use: in an emoji made of several, or a letter of a script that needs it."""

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
"""Characters without a width, and marks that change the direction of writing (UAX 9): Unicode's default ignorables."""

CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17)
)
"""C0 and C1 controls, line separators, surrogates, and code points that will never be a character."""

# The characters to keep are matched first, as the group.
_ONE_LINE = re.compile(f"({JOINER})|[{CONTROLS}{INVISIBLE}\u200c\u200d]")
_LINES = re.compile(f"({JOINER}|[\n\t])|[{CONTROLS}{INVISIBLE}\u200c\u200d]")
_IN_JSON = re.compile(f"[{CONTROLS}{INVISIBLE}]")

_FORMULA_STARTS = frozenset(
    "=+-@\u2212\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207a\u207b\u207c\u208a\u208b\u208c\ufb29"
)
"""Possible beginnings of a formula (OWASP, CSV injection); East Asian spreadsheets also accept the wide, small and
raised signs, and some programs leave out blanks before them."""


def one_line(text: str) -> str:
    """Return `text` for one line of a terminal, log or table, with signs in place of active or invisible characters."""
    return text if text.isascii() and text.isprintable() else _ONE_LINE.sub(_kept, text)


def lines(text: str) -> str:
    """Return the same for text of several lines, with line breaks and tabs kept."""
    return text if text.isascii() and text.isprintable() else _LINES.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    return found[1] or REPLACED


def cell(text: str) -> str:
    """Return `text` for a CSV cell, with an apostrophe in front if a spreadsheet would run it as a formula."""
    acts = text.startswith(("\t", "\r", "\n")) or text.lstrip()[:1] in _FORMULA_STARTS
    return f"'{one_line(text)}" if acts else one_line(text)


def json_text(encoded: bytes) -> str:
    """Return JSON with the same contents, in which active or invisible characters are written as escapes."""
    return _IN_JSON.sub(_escaped, encoded.decode())


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


class LogFormatter(logging.Formatter):
    """Formatter of a record as a line; further lines, as of a traceback, are indented to differ from records."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record)).replace("\n", "\n  ")


def set_up_logging() -> None:
    """Log to standard error, for the journal."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
