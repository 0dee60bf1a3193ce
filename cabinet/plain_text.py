"""Text on its way out: the one function for each kind of exit (terminal, log line, spreadsheet, JSON). Pure.

Text that people typed may hold characters that do something instead of showing something: terminal escapes, line
breaks that begin a forged line, marks that turn the direction of what follows, characters without a width. Every exit
replaces each of them by a sign, whatever the way the text came in: a database may be older than the doors' checks
(`normal_form`), and a file may have been edited.
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
"""A zero-width joiner that joins something: an emoji made of several, a letter of a script that needs it."""

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
"""Characters without a width, and those that turn the direction of writing (UAX 9): Unicode's default ignorables."""

CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17)
)
"""C0 and C1 controls, separators of lines, half characters, and code points that will never be a character."""

# What stays is matched first, as the group.
_ONE_LINE = re.compile(f"({JOINER})|[{CONTROLS}{INVISIBLE}\u200c\u200d]")
_LINES = re.compile(f"({JOINER}|[\n\t])|[{CONTROLS}{INVISIBLE}\u200c\u200d]")
_IN_JSON = re.compile(f"[{CONTROLS}{INVISIBLE}]")

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula may begin (OWASP, CSV injection); spreadsheets in East Asian languages take the wide signs too."""


def one_line(text: str) -> str:
    """`text` for one line of a terminal, a log or a table: a sign in place of everything that acts or is unseen."""
    return text if text.isascii() and text.isprintable() else _ONE_LINE.sub(_kept, text)


def lines(text: str) -> str:
    """The same for text of several lines, whose line breaks and tabs stay."""
    return _LINES.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    return found[1] or REPLACED


def cell(text: str) -> str:
    """`text` for a cell of a CSV file, with an apostrophe before anything that a spreadsheet would run as a formula."""
    return f"'{one_line(text)}" if text.startswith(_FORMULA_STARTS) else one_line(text)


def json_text(encoded: bytes) -> str:
    """JSON with the same contents, in which everything that acts or is unseen is written as an escape."""
    return _IN_JSON.sub(_escaped, encoded.decode())


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


class LogFormatter(logging.Formatter):
    """A record as a line; further lines, such as those of a traceback, are indented and cannot pass for records."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return lines(super().format(record)).replace("\n", "\n  ")


def set_up_logging() -> None:
    """Log to standard error, for the journal."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
