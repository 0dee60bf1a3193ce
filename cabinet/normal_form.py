"""Normal forms of typed values, applied at every input: page, API, import, console, command.

People type the same value in many ways: with the full-width digits of a Chinese keyboard, with the wide blanks that pad
names in lists, with invisible marks copied along with a number from a chat. Each function here returns one form for all
of them. It does not validate: its caller decides whether the form is a good card or name. A freely chosen secret (a
password) keeps the form that was typed. Pure.
"""

import datetime
import re
import unicodedata
from collections.abc import Callable

from cabinet.plain_text import CONTROLS, INVISIBLE, JOINER, REPLACED

MAX_TEXT = 4096
"""Characters that are evaluated; every input allows fewer."""

_BLANKS = re.compile(r"[\s\u2800]+")  # every Unicode blank, line breaks and tabs, and the empty Braille cell
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_JOINERS = re.compile(f"({JOINER})|[\u200c\u200d]")  # effective joiners stay
_CONTROLS = re.compile(f"[{CONTROLS}]")
_HYPHENS = re.compile("[\u2010-\u2015\u2212\ufe58\u30fc]")  # variants of a hyphen from keyboards and word processors
_NOT_PUNCTUATION = re.compile("[^，！？；：（）]+")
_MEANS_MORE = frozenset({"<super>", "<sub>", "<circle>", "<fraction>", "<square>"})  # 5² yuan is not 52
_YUAN = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2}))?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"[0-9]{1,15}")


def text(typed: str) -> str:
    """Return one line of text, such as a name or a note: plain single blanks, none at the ends, nothing invisible.

    Control characters are replaced by a visible sign.
    """
    return _settled(_text, typed)


def spelling(typed: str) -> str:
    """Return a card, code or number as it is spelt: plain signs, with nothing between them."""
    return _settled(_spelling, typed)


def card(typed: str) -> str:
    """Return a card in capital letters: phones add small letters at will, and cards have none."""
    return _settled(lambda each: _spelling(each).upper(), typed)


def outlet_code(typed: str) -> str:
    return card(typed)


def order_number(typed: str) -> str:
    return card(typed)


def digits(typed: str) -> str:
    """Return a PIN, a code of digits, or a number, without its grouping."""
    return _settled(lambda each: _spelling(each).replace("-", ""), typed)


def label(typed: str) -> str:
    """Return a short text used as a search key, such as a receipt's number: compatible signs become one."""
    return _settled(_label, typed)


def login_name(typed: str) -> str:
    """Return the search key of a login: as `label`, without the difference between small and capital letters."""
    return _settled(lambda each: _label(each).casefold(), typed)


def group(typed: str) -> str:
    return label(typed)


def command_line(typed: str) -> str:
    """Return a line of the console: full-width letters and digits become plain ones; Chinese punctuation stays."""
    return _settled(
        lambda each: _text(_NOT_PUNCTUATION.sub(lambda found: unicodedata.normalize("NFKC", found[0]), each)), typed
    )


def fen(typed: str) -> int | None:
    """Return an amount in yuan with at most two decimals in fen, exactly; None for any other text."""
    match = _YUAN.fullmatch(spelling(typed))
    return None if match is None else int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))


def day(typed: str) -> datetime.date | None:
    """Return a day such as 2026-11-04; None for any other text."""
    plain = spelling(typed)
    try:
        return datetime.date.fromisoformat(plain) if _DAY.fullmatch(plain) else None
    except ValueError:
        return None


def whole(typed: str) -> int | None:
    """Return a whole number of at most 15 digits; None for any other text."""
    plain = spelling(typed)
    return int(plain) if _WHOLE.fullmatch(plain) else None


def _text(typed: str) -> str:
    composed = unicodedata.normalize("NFC", _BLANKS.sub(" ", _INVISIBLE.sub("", typed)))
    return _JOINERS.sub(lambda found: found[1] or "", _CONTROLS.sub(REPLACED, composed)).strip()


def _label(typed: str) -> str:
    return _text("".join(map(_compatible, typed)))


def _compatible(character: str) -> str:
    """Return the plain sign for another width or font (NFKC); raised, lowered or circled signs stay, as they differ."""
    kind = unicodedata.decomposition(character).partition(" ")[0]
    return character if kind in _MEANS_MORE else unicodedata.normalize("NFKC", character)


def _spelling(typed: str) -> str:
    return _BLANKS.sub("", _HYPHENS.sub("-", _label(_HYPHENS.sub("-", typed))))


def _settled(form: Callable[[str], str], typed: str) -> str:
    """Repeat `form` until it changes nothing more: one step may create input for the step before it."""
    found = typed[:MAX_TEXT]
    while (again := form(found)) != found:
        found = again
    return found
