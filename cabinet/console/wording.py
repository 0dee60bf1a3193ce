"""Texts of the console in one language: its own texts, and those of the displayed subjects."""

import functools

from cabinet.texts import Texts

PARTS = (
    "console_see",
    "console_do",
    "console_commission",
    "update",
)  # in addition to `console` itself and the common texts; one per command group


@functools.cache
def wording(language: str) -> Texts:
    return Texts("console", language, *PARTS)
