"""All texts for people, by key and language: `common` for all parts, the others for one part each.

A text is identified by its dotted key in `<part>.<language>.toml` and filled in by `str.format`. The same key must
exist in every language; a test checks all of them.
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
        """Return the text of `key`. Raises KeyError if it does not exist, which is a bug of the caller."""
        return self._table[key].format(**params)

    def __contains__(self, key: str) -> bool:
        return key in self._table


@functools.cache
def table(part: str, language: str) -> dict[str, str]:
    """Return the texts of one file by dotted key."""
    source = resources.files("cabinet.texts").joinpath(f"{part}.{language}.toml")
    return dict(_flatten(tomllib.loads(source.read_text(encoding="utf-8")), ""))


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in tree.items():
        flat.extend(_flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)])
    return flat
