"""Command arguments: each kind defines how it is parsed, shown in the usage, and completed. Pure."""

from collections.abc import Callable

import msgspec

from cabinet.config import Config
from cabinet.model import CABINET
from cabinet.texts import LANGUAGES, Texts

Value = int | float | str


class Argument(msgspec.Struct, frozen=True):
    """One argument. `read` converts a word to a value, or returns None if it is not valid; `choices` are completions.

    With `rest` it takes everything to the end of the line, blanks included. An `optional` one may be omitted (None).
    """

    key: str  # usage shows the text `argument.<key>`; a literal word is shown as it is
    read: Callable[[str, Config], Value | None]
    choices: Callable[[Config], tuple[str, ...]] = lambda config: ()
    bounds: Callable[[Config], str] = lambda config: ""  # range of a number, such as `1-600`
    optional: bool = False
    rest: bool = False
    literal: bool = False

    def shown(self, words: Texts) -> str:
        text = self.key if self.literal else words(f"argument.{self.key}")
        return f"[{text}]" if self.optional else text


def _outlets(config: Config) -> tuple[str, ...]:
    return tuple(str(outlet.number) for outlet in config.outlet)


def _outlet_bounds(config: Config) -> str:
    numbers = sorted(outlet.number for outlet in config.outlet)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def _read_outlet(word: str, config: Config) -> int | None:
    return int(word) if word in _outlets(config) else None


def _read_place(word: str, config: Config) -> int | None:
    return CABINET if word in (str(CABINET), "cabinet") else _read_outlet(word, config)


OUTLET = Argument("outlet", _read_outlet, _outlets, _outlet_bounds)
PLACE = Argument(  # an outlet or the whole cabinet
    "place", _read_place, lambda config: (*_outlets(config), "cabinet"), _outlet_bounds
)
LANGUAGE = Argument("language", lambda word, config: word if word in LANGUAGES else None, lambda config: LANGUAGES)


def optional(argument: Argument) -> Argument:
    return msgspec.structs.replace(argument, optional=True)


def word(text: str) -> Argument:
    """Return a literal word, as `cycle` in `relay N cycle K`; it passes no value to the handler."""
    return Argument(text, lambda typed, config: typed if typed == text else None, lambda config: (text,), literal=True)


def choice(key: str, *choices: str) -> Argument:
    """Return an argument for one of these words."""
    return Argument(key, lambda typed, config: typed if typed in choices else None, lambda config: choices)


def whole(key: str, least: int, most: int) -> Argument:
    """Return an argument for a whole number within bounds."""

    def read(typed: str, config: Config) -> int | None:
        if not (typed.isascii() and typed.isdigit() and len(typed) <= 12):
            return None
        return int(typed) if least <= int(typed) <= most else None

    return Argument(key, read, bounds=lambda config: f"{least}-{most}")


def text(key: str) -> Argument:
    """Return an argument for everything to the end of the line, as typed."""
    return Argument(key, lambda typed, config: typed or None, rest=True)


def values(takes: tuple[Argument, ...], typed: list[str], config: Config) -> list[Value | None] | None:
    """Return a value for each argument except literal words; None if `typed` does not match the arguments exactly.

    If the word for an optional argument is not valid, the argument counts as omitted: the word may belong to the next
    one (`selftest force`).
    """
    found: list[Value | None] = []
    left = typed
    for argument in takes:
        value = None
        if left:
            value = argument.read(" ".join(left) if argument.rest else left[0].lower(), config)
        if value is not None:
            left = [] if argument.rest else left[1:]
        elif not argument.optional:
            return None
        if not argument.literal:
            found.append(value)
    return None if left else found
