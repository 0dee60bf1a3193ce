"""PINs of residents and of the console: the rule for new ones, and random ones. Pure.

A PIN is protected by a limit on attempts, so the first guesses must not be PINs: fewer than six digits, one digit only,
or digits in a row. PINs set before this rule stay valid.
"""

import re
import secrets

MIN_DIGITS, MAX_DIGITS = 6, 12

_DIGITS = re.compile(rf"[0-9]{{{MIN_DIGITS},{MAX_DIGITS}}}")
_ROW = "01234567890123456789"


def may_be_set(pin: str) -> bool:
    """Return whether it has six to twelve digits, not all alike, and not up or down in a row (123456, 987654)."""
    return _DIGITS.fullmatch(pin) is not None and len(set(pin)) > 1 and pin not in _ROW and pin not in _ROW[::-1]


def random_pin() -> str:
    """Return six random digits that may be set."""
    while True:
        pin = f"{secrets.randbelow(10**MIN_DIGITS):0{MIN_DIGITS}}"
        if may_be_set(pin):
            return pin
