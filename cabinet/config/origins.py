"""Line numbers of the values in a `cabinet.toml`, by key path as `check` writes it. Pure.

`tomllib` does not keep the lines. This module reads just enough TOML to find the start of each key, in a text that
`check.parse` has accepted.
"""

import re

_TOKEN = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'|#[^\n]*|[][{},=\n]|[^][{},="\'#\s]+',
    re.DOTALL,
)
_BETWEEN = (",", "\n")


def origins(text: str) -> dict[str, int]:
    """Return the line number, from 1, of each path, such as `outlet[3].meter.mux`."""
    return _Reader(text).found


class _Reader:
    def __init__(self, text: str) -> None:
        self.found: dict[str, int] = {}
        self._tokens: list[tuple[str, int]] = []
        self._at = 0
        self._counts: dict[str, int] = {}
        line = 1
        for match in _TOKEN.finditer(text):
            if not match[0].startswith("#"):
                self._tokens.append((match[0], line))
            line += match[0].count("\n")
        table = ""
        while token := self._token():
            if token == "[":
                table = self._header()
            elif token == "\n":
                self._at += 1
            else:
                self._pair(table)

    def _token(self) -> str:
        """Return the next token, without taking it; empty at the end."""
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _header(self) -> str:
        """Return the path of the table that a header opens; for a repeated table, the latest."""
        self._at += 1
        repeated = self._token() == "["
        self._at += repeated
        parts = self._name("]").split(".")
        self._at += repeated
        path = ""
        for place, part in enumerate(parts, 1):
            path = _joined(path, part)
            if repeated and place == len(parts):
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = f"{path}[{self._counts[path]}]"
        return path

    def _pair(self, table: str) -> None:
        _, line = self._tokens[self._at]
        path = _joined(table, self._name("="))
        self.found[path] = line
        self._value(path)

    def _name(self, end: str) -> str:
        """Take the name and the token after it, which is `end`."""
        name = ""
        while (token := self._token()) not in (end, "\n", ""):
            name += token.strip("\"'")
            self._at += 1
        self._at += 1
        return name

    def _value(self, path: str) -> None:
        """Take the value, and note the keys of an inline table or of a list of them."""
        opening, index = self._token(), 0
        if opening not in ("[", "{"):
            while self._token() not in (*_BETWEEN, "]", "}", ""):
                self._at += 1
            return
        self._at += 1
        while (token := self._token()) not in ("]", "}", ""):
            if token in _BETWEEN:
                self._at += 1
            elif opening == "{":
                self._pair(path)
            else:
                index += 1
                self._value(f"{path}[{index}]")
        self._at += 1


def _joined(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key
