"""The texts of the console in one language: its own, and those of what it shows."""

import functools

from cabinet.texts import Texts

PARTS = (
    "console_see",
    "console_do",
    "console_commission",
    "update",
)  # beside `console` itself and the common ones; one a group of commands


@functools.cache
def wording(language: str) -> Texts:
    return Texts("console", language, *PARTS)
