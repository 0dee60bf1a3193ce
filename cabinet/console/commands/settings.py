"""Settings: `limits` of the protections, and `config`, every value with its line in the file."""

from collections.abc import Iterator
from typing import Any

import msgspec

from cabinet.config.check import UNITS
from cabinet.config.origins import origins
from cabinet.console.accounts import Level
from cabinet.console.arguments import Argument
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.terminal.columns import COLUMNS, GAP, fold, table, width
from cabinet.errors import Refused

SHORT_UNITS = {
    "_a": "A", "_v": "V", "_w": "W", "_s": "s", "_c": "°C", "_k": "K", "_hz": "Hz", "_k_per_min": "K/min",
    "_minutes": "min",
}  # fmt: skip
HEXADECIMAL = frozenset({"mux", "address", "inside_thermometer", "expanders", "muxes"})

KEY_PATH = Argument(
    "key",
    lambda typed, config: typed,
    lambda config: tuple(field.name for field in msgspec.structs.fields(config)),
    optional=True,
)


@command("limits", Level.LOOK, reads=True)
def limits(context: CommandContext) -> CommandResult:
    """Show every limit in force, grouped by protection."""
    rows, data = [], {}
    sections = [("protections", context.config.protections), ("feed", context.config.feed)]
    for path, value in leaves([(name, section) for name, section in sections]):
        name, _, key = path.removeprefix("protections.").rpartition(".")
        title = f"section.{name}" if f"section.{name}" in context.words else f"fault.{name}.name"
        rows.append([context.words(title), key, _shown(key, value)])
        data[path] = value
    for outlet in context.config.outlet:
        key = f"outlet {outlet.number}"
        rows.append(
            [context.words("fault.overpower.name"), f"{key} max_power_w", _shown("max_power_w", outlet.max_power_w)]
        )
        data[f"outlet[{outlet.number}].max_power_w"] = outlet.max_power_w
    for index in range(len(rows) - 1, 0, -1):
        if rows[index][0] == rows[index - 1][0]:
            rows[index][0] = ""
    titles = [context.words(f"limits.{key}") for key in ("protection", "key", "value")]
    return Output("\n".join(table(titles, rows)), data)


@command("config", Level.LOOK, KEY_PATH, example="config console", reads=True)
def config(context: CommandContext, key: str | None) -> CommandResult:
    """Show every value in force, or those with paths that begin with `key`: with file and line, or as default."""
    lines_of, name = _lines(context)
    rows, data = [], []
    for path, value in leaves([("", context.config)]):
        if key is not None and not path.lower().startswith(key.lower()):
            continue
        line = _line_of(path, lines_of)
        origin = context.words("config.default") if line is None else context.words("config.line", line=line)
        rows.append([path, origin, _shown(path.rpartition(".")[2], value)])
        data.append({"key": path, "value": value, "file": None if line is None else name, "line": line})
    if not rows:
        raise Refused("unknown_key")
    titles = [context.words(f"config.{key}") for key in ("key", "origin", "value")]
    lines = _whole(titles, rows)
    if any(row["line"] is not None for row in data):
        lines += fold(context.words("config.file", file=name))
    return Output("\n".join(lines), data)


def _whole(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table without cut values: if a value does not fit next to its key, it is printed below."""
    room = COLUMNS - sum(max(width(row[n]) for row in [titles, *rows]) + len(GAP) for n in (0, 1))
    long = [width(row[2]) > room for row in rows]
    title, *lines = table(titles, [[*row[:2], "" if below else row[2]] for row, below in zip(rows, long, strict=True)])
    shown = [title]
    for line, row, below in zip(lines, rows, long, strict=True):
        shown += [line, *(fold(row[2], 2 * GAP) if below else [])]
    return shown


def _lines(context: CommandContext) -> tuple[dict[str, int], str]:
    """Return key path → line, and the file's name. The file may have changed since the values in force were loaded."""
    source = context.backends.source
    if source is None:
        return {}, ""
    try:
        return origins(source.read_text(encoding="utf-8")), str(source)
    except (OSError, UnicodeDecodeError):
        return {}, str(source)


def _line_of(path: str, lines: dict[str, int]) -> int | None:
    """Return the line of the value itself, or of the list that contains it; None if it is not in the file."""
    while path:
        if path in lines:
            return lines[path]
        if not path.endswith("]"):
            return None
        path = path.rpartition("[")[0]
    return None


def leaves(sections: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield path and value of every setting that is not a table."""
    for path, value in sections:
        if isinstance(value, msgspec.Struct):
            fields = msgspec.structs.fields(value)
            yield from leaves([(f"{path}.{f.name}" if path else f.name, getattr(value, f.name)) for f in fields])
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            yield from leaves([(f"{path}[{index}]", each) for index, each in enumerate(value, 1)])
        else:
            yield path, value


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(key, each) for each in value) + "]"
    if isinstance(value, int) and key in HEXADECIMAL:
        return f"0x{value:02x}"
    if isinstance(value, int | float):
        suffix = max((suffix for suffix in UNITS if key.endswith(suffix)), key=len, default="")
        number = str(value) if isinstance(value, int) else f"{value:.10g}"
        return f"{number} {SHORT_UNITS[suffix]}" if suffix in SHORT_UNITS else number
    return f'"{value}"' if isinstance(value, str) else str(value)
