"""Everything a person reads, by key and language: `common` for all, the others for one of them each.

A text is found by its dotted key in `<part>.<language>.toml` and filled in by `str.format`. The same key must exist
in every language; a test walks all of them.
"""

import functools
import tomllib
from importlib import resources
from typing import Any

LANGUAGES = ("zh", "en")


class Texts:
    """The texts of one part (or of several) in one language, the common ones included."""

    def __init__(self, part: str, language: str, *more: str) -> None:
        self.language = language
        self._table: dict[str, str] = {}
        for name in ("common", part, *more):
            self._table |= table(name, language)

    def __call__(self, key: str, **params: object) -> str:
        """The text of `key`; raises KeyError for one that does not exist, as it is a bug to ask for it."""
        return self._table[key].format(**params)

    def __contains__(self, key: str) -> bool:
        return key in self._table


@functools.cache
def table(part: str, language: str) -> dict[str, str]:
    """Dotted key → text of one file."""
    source = resources.files("cabinet.texts").joinpath(f"{part}.{language}.toml")
    return dict(_flatten(tomllib.loads(source.read_text(encoding="utf-8")), ""))


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in tree.items():
        flat.extend(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)])
    return flat
