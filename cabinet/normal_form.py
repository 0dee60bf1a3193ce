"""The one normal form of every kind of value that people type, used at every door: page, API, import, console, command.

The same value may be typed in many ways: with the full-width digits of a Chinese keyboard, with the wide blanks that
pad names in lists, with the invisible marks that come along when a number is copied out of a chat. Each function here
gives one form for all of them. It checks nothing: whether the form is a good card or name is for its owner to say. A
secret that people choose freely (a password) has no other form than what was typed. Pure.
"""

import datetime
import re
import unicodedata
from collections.abc import Callable

from cabinet.plain_text import CONTROLS, INVISIBLE, JOINER, REPLACED

MAX_TEXT = 4096
"""Characters that are looked at; every door allows fewer."""

_BLANKS = re.compile(r"[\s\u2800]+")  # every blank of Unicode, line breaks and tabs, and the empty Braille cell
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_JOINERS = re.compile(f"({JOINER})|[\u200c\u200d]")  # those that join something stay
_CONTROLS = re.compile(f"[{CONTROLS}]")
_HYPHENS = re.compile("[\u2010-\u2015\u2212\ufe58\u30fc]")  # what keyboards and word processors make of a hyphen
_NOT_PUNCTUATION = re.compile("[^，！？；：（）]+")
_MEANS_MORE = frozenset({"<super>", "<sub>", "<circle>", "<fraction>", "<square>"})  # 5² yuan is not 52
_YUAN = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,2}))?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"[0-9]{1,15}")


def text(typed: str) -> str:
    """One line of text, such as a name or a note: plain single blanks, none at the ends, nothing invisible.

    Control characters become a sign, so that it shows that something stood there.
    """
    return _settled(_text, typed)


def spelling(typed: str) -> str:
    """A card, code or number as it is spelt: plain signs, and nothing between them."""
    return _settled(_spelling, typed)


def card(typed: str) -> str:
    """A card in capital letters: phones write small ones as they please, and cards have no others."""
    return _settled(lambda each: _spelling(each).upper(), typed)


def outlet_code(typed: str) -> str:
    return card(typed)


def order_number(typed: str) -> str:
    return card(typed)


def digits(typed: str) -> str:
    """A PIN, a code of digits, or a number, however it was grouped."""
    return _settled(lambda each: _spelling(each).replace("-", ""), typed)


def label(typed: str) -> str:
    """A short text by which something is found again, such as a receipt's number: compatible signs as one."""
    return _settled(_label, typed)


def login_name(typed: str) -> str:
    """The form by which a login is found: as `label`, and no difference between small and capital letters."""
    return _settled(lambda each: _label(each).casefold(), typed)


def group(typed: str) -> str:
    return label(typed)


def command_line(typed: str) -> str:
    """A line of the console: full-width letters and digits as plain ones; Chinese punctuation stays."""
    return _settled(
        lambda each: _text(_NOT_PUNCTUATION.sub(lambda found: unicodedata.normalize("NFKC", found[0]), each)), typed
    )


def fen(typed: str) -> int | None:
    """An amount in yuan with at most two decimals, exactly; None for anything else."""
    match = _YUAN.fullmatch(spelling(typed))
    return None if match is None else int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))


def day(typed: str) -> datetime.date | None:
    """A day such as 2026-11-04; None for anything else."""
    plain = spelling(typed)
    try:
        return datetime.date.fromisoformat(plain) if _DAY.fullmatch(plain) else None
    except ValueError:
        return None


def whole(typed: str) -> int | None:
    """A whole number of at most 15 digits; None for anything else."""
    plain = spelling(typed)
    return int(plain) if _WHOLE.fullmatch(plain) else None


def _text(typed: str) -> str:
    composed = unicodedata.normalize("NFC", _BLANKS.sub(" ", _INVISIBLE.sub("", typed)))
    return _JOINERS.sub(lambda found: found[1] or "", _CONTROLS.sub(REPLACED, composed)).strip()


def _label(typed: str) -> str:
    return _text("".join(map(_compatible, typed)))


def _compatible(character: str) -> str:
    """The plain sign for one of another width or font (NFKC); what stands above, below or in a circle means more."""
    kind = unicodedata.decomposition(character).partition(" ")[0]
    return character if kind in _MEANS_MORE else unicodedata.normalize("NFKC", character)


def _spelling(typed: str) -> str:
    return _BLANKS.sub("", _HYPHENS.sub("-", _label(_HYPHENS.sub("-", typed))))


def _settled(form: Callable[[str], str], typed: str) -> str:
    """`form` until it changes nothing more: what one step leaves may be for the step before it."""
    found = typed[:MAX_TEXT]
    while (again := form(found)) != found:
        found = again
    return found
