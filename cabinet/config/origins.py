"""Line numbers of the values in a `cabinet.toml`, by key path as `check` writes it. Pure.

`tomllib` does not keep the lines. This module reads just enough TOML to find the start of each key, in a text that
`check.parse` has accepted.
"""

import re

_HEADER = re.compile(r"^\s*\[(?P<list>\[)?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*(?P<key>(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"))*)\s*=")


def origins(text: str) -> dict[str, int]:
    """Return the line number, from 1, of each path, such as `outlet[3].meter.mux`."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    skipped_to = 0
    for number, line in enumerate(text.splitlines(), 1):
        if number <= skipped_to:
            continue
        if (header := _HEADER.match(line)) is not None:
            table = _table(_name(header["name"]), header["list"] is not None, counts)
            continue
        if (key := _KEY.match(line)) is None:
            continue
        path = _joined(table, _name(key["key"]))
        value, skipped_to = _value(text.splitlines(), number, key.end())
        _note(path, value, number, found)
    return found


def _table(name: str, is_list: bool, counts: dict[str, int]) -> str:
    """Return the path of the table that a header opens; for a repeated table, the latest."""
    parts = name.split(".")
    path = ""
    for place, part in enumerate(parts):
        path = _joined(path, part)
        if is_list and place == len(parts) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def _value(lines: list[str], number: int, start: int) -> tuple[str, int]:
    """Return the value that begins in line `number` at `start`, without comments, and the number of its last line."""
    value = ""
    quote = ""
    while True:
        line = lines[number - 1][start:] if number <= len(lines) else ""
        position = 0
        while position < len(line):
            three, one = line[position : position + 3], line[position]
            if quote:
                if one == "\\" and quote[0] == '"':
                    value += line[position : position + 2]
                    position += 2
                    continue
                if line.startswith(quote, position):
                    value += quote
                    position += len(quote)
                    quote = ""
                    continue
            elif three in ('"""', "'''"):
                quote = three
                value += three
                position += 3
                continue
            elif one in "\"'":
                quote = one
            elif one == "#":
                break
            value += one
            position += 1
        if (len(quote) != 3 and _balanced(value)) or number >= len(lines):
            return value, number
        number, start = number + 1, 0
        value += "\n"


def _balanced(value: str) -> bool:
    """Return whether every bracket outside of quotes is closed."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', "", value)
    return all(bare.count(opening) <= bare.count(closing) for opening, closing in ("[]", "{}"))


def _note(path: str, value: str, number: int, found: dict[str, int]) -> None:
    """Record the line of the key, and of the keys of an inline table or of a list of them."""
    found[path] = number
    _note_inside(path, value, number, found)


def _note_inside(path: str, value: str, number: int, found: dict[str, int]) -> None:
    bare = value.strip()
    number += value[: len(value) - len(value.lstrip())].count("\n")
    if bare.startswith("{"):
        for inner in _split(bare[1:-1]):
            key = _KEY.match(inner)
            if key is not None:
                _note(_joined(path, _name(key["key"])), inner[key.end() :], number, found)
    elif bare.startswith("["):
        for index, inner in enumerate(_split(bare[1:-1]), 1):
            _note_inside(f"{path}[{index}]", inner, number, found)
            number += inner.count("\n")


def _split(inner: str) -> list[str]:
    """Split at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in inner:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part for part in parts if part.strip()]


def _joined(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key


def _name(written: str) -> str:
    return re.sub(r"\s*\.\s*", ".", written).replace('"', "").replace("'", "")
