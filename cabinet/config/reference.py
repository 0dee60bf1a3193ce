"""Reference page and commented example, printed from the declarations in `keys`. Pure.

`docs/config.md` and `cabinet/examples/cabinet.toml` are this module's output; a test checks them.
"""

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.inspect import Field, FloatType, IntType, Metadata, NoneType, StrType, StructType, UnionType, VarTupleType

from cabinet.config.check import unit_of
from cabinet.config.keys import Config

LINE = 116

REFERENCE_HEAD = """\
# cabinet.toml: every key

Printed by `cabinet check --reference` from the declarations in `cabinet/config/keys.py`; do not edit by hand.
A file is checked as a whole by `cabinet check FILE`: every mistake is one line with its key's path, an unknown key is
a mistake, and nothing starts on a file that has one. Numbers are plain numbers, their unit is in the key's name.
"""

EXAMPLE_HEAD = """\
# Configuration of a charging cabinet with ten outlets on a Raspberry Pi. Copy it to /etc/cabinet/cabinet.toml, change
# what is different on your cabinet, and check it:  cabinet check /etc/cabinet/cabinet.toml
#
# A key that is commented out shows its default. Numbers have the unit that their name ends with.
# Printed by `cabinet check --example`.
"""

_HEXADECIMAL = {"expanders", "muxes", "mux", "address", "inside_thermometer"}
_FREE_PINS = (4, 5, 6, 12, 13, 16, 18, 19, 20, 21)  # alert lines; 2 and 3 are the bus, 17, 22 and 27 are in use


class KeyDoc(msgspec.Struct, frozen=True):
    """One key of the reference; if `default` is None, the key is required."""

    name: str
    unit: str
    default: str | None
    bounds: str
    why: str


class TableDoc(msgspec.Struct, frozen=True):
    """One table of the file: `path` such as `protections.short_circuit`, or `outlet[].meter` in a repeated one."""

    path: str
    why: str
    keys: list[KeyDoc]


def tables(root: type[msgspec.Struct] = Config) -> list[TableDoc]:
    """Return every table of a file that `root` declares, `cabinet.toml` by default, in the order of the file."""
    return list(_tables(_struct(msgspec.inspect.type_info(root)), ""))


def reference(root: type[msgspec.Struct] = Config, head: str = REFERENCE_HEAD) -> str:
    """Return the reference page in Markdown."""
    blocks = [head]
    for table in tables(root):
        rows = [_row(key) for key in table.keys]
        heading = f"## `{_bracketed(table.path)}`\n\n" + (f"{table.why}\n\n" if table.why else "")
        if rows:
            heading += "| key | unit | default | bounds | why |\n|---|---|---|---|---|\n"
        blocks.append(heading + "".join(f"{row}\n" for row in rows))
    return "\n".join(blocks)


def example() -> str:
    """Return a complete file for a ten-outlet cabinet on a Pi: required keys are set, every default is shown."""
    blocks = [EXAMPLE_HEAD]
    for table in tables():
        if table.path.startswith("outlet"):
            blocks += [_first_outlet(), *map(_next_outlet, range(1, 10))] if table.path == "outlet[]" else []
        elif "[]" not in table.path and table.path not in _NOT_SHOWN and table.keys:
            shown = _SHOWN.get(table.path, {})
            body = "".join(_commented(key, shown.get(key.name)) for key in table.keys)
            blocks.append(f"{_comment(table.why)}[{table.path}]\n{body}")
    return "\n".join(blocks)


_NOT_SHOWN = {"simulator", "hardware.feed_meter"}  # most real cabinets have neither

# Example values of keys that have no default, or that are expected to differ on each cabinet.
_SHOWN: dict[str, dict[str, Any]] = {
    "site": {
        "name": "阳光花园一号充电柜",
        "name_en": "Sunshine Garden Charging Cabinet 1",
        "site_id": "SG-1",
        "public_url": "http://192.168.1.20:8080",
        "complaint_phone": "000-0000-0000",
    },
    "hardware": {
        "bus": "/dev/i2c-1",
        "pin_factory": "lgpio",
        "expanders": (0x20,),
        "muxes": (0x70,),
        "mux_reset_pin": 22,
        "contactor_pin": 17,
        "heartbeat_pin": 27,
        "inside_thermometer": 0x49,
    },
    "service": {"host": "0.0.0.0"},
    "console": {"port": "/dev/serial0"},
    "tariff": {
        "version": "2026-11",
        "service_fen_per_kwh": 30,
        "time_bands": [
            {"from_w": 0, "to_w": 200, "fen_per_hour": 20},
            {"from_w": 200, "to_w": 400, "fen_per_hour": 35},
            {"from_w": 400, "fen_per_hour": 60},
        ],
        "energy_periods": [
            {"start": "00:00", "end": "08:00", "electricity_fen_per_kwh": 40},
            {"start": "08:00", "end": "22:00", "electricity_fen_per_kwh": 55},
            {"start": "22:00", "end": "24:00", "electricity_fen_per_kwh": 40},
        ],
    },
}

# Outlet codes of the example: no two differ by only one character, none contains 0/O or 1/I.
_CODES = ("A7K2", "B3M9", "C5T4", "D8R6", "E2W7", "F9H3", "G4N8", "H6P5", "J3X2", "K8V4")


def _outlet_values(index: int) -> dict[str, Any]:
    """Return the keys of one outlet: two outlets share a meter chip and a thermometer behind one channel of the mux."""
    return {
        "number": index + 1,
        "code": _CODES[index],
        "relay": f"expander:0x20/{index}",
        "meter": {"mux": 0x70, "channel": index // 2, "input": "AB"[index % 2]},
        "thermometer": {"mux": 0x70, "channel": index // 2, "address": 0x48},
        "alert": f"gpio:{_FREE_PINS[index]}",
    }


def _first_outlet() -> str:
    outlet = next(table for table in tables() if table.path == "outlet[]")
    values = _outlet_values(0)
    return f"{_comment(outlet.why)}[[outlet]]\n" + "".join(_commented(key, values.get(key.name)) for key in outlet.keys)


def _next_outlet(index: int) -> str:
    return "[[outlet]]\n" + "".join(f"{name} = {toml(name, value)}\n" for name, value in _outlet_values(index).items())


def _commented(key: KeyDoc, value: Any) -> str:
    facts = ", ".join(part for part in (key.unit, key.bounds) if part and not part.startswith("`"))
    comment = _comment(key.why + (f" ({facts})" if facts else ""))
    if value is not None:
        return f"{comment}{key.name} = {toml(key.name, value)}\n"
    return f"{comment}# {key.name} = {key.default or '…'}\n"


def _comment(text: str) -> str:
    """Return `text` as comment lines of at most LINE characters."""
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > LINE:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "".join(f"{each}\n" for each in [*lines, line] if each != "#")


def toml(name: str, value: Any) -> str:
    """Return `value` as TOML; addresses in hexadecimal, as in data sheets."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(key, each)}" for key, each in value.items()) + " }"
    if isinstance(value, tuple | list):
        if value and isinstance(value[0], dict):
            return "[\n" + "".join(f"    {toml(name, each)},\n" for each in value) + "]"
        return "[" + ", ".join(toml(name, each) for each in value) + "]"
    if isinstance(value, int) and name in _HEXADECIMAL:
        return f"0x{value:02x}"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)


def _tables(struct: StructType, path: str) -> Iterator[TableDoc]:
    nested: list[tuple[str, StructType]] = []
    keys: list[KeyDoc] = []
    for field in struct.fields:
        kind, _ = _plain(field.type)
        if isinstance(kind, StructType):
            nested.append((_below(path, field.name), kind))
        elif isinstance(kind, VarTupleType) and isinstance(item := _plain(kind.item_type)[0], StructType):
            nested.append((_below(path, field.name) + "[]", item))
        if path and path != "protections":
            keys.append(_key(field))
    if path:
        yield TableDoc(path, _doc(struct), keys)
    for below, kind in nested:
        yield from _tables(kind, below)


def _doc(kind: msgspec.inspect.Type) -> str:
    return " ".join((kind.cls.__doc__ or "").split()) if isinstance(kind, StructType) else ""


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _bracketed(path: str) -> str:
    """Return the path as it is written in the file."""
    return f"[[{path.removesuffix('[]')}]]" if path == "outlet[]" else f"[{path}]" if "[]" not in path else path


def _key(field: Field) -> KeyDoc:
    kind, why = _plain(field.type)
    default = None if field.required else "" if field.default is None else toml(field.name, field.default)
    return KeyDoc(field.name, unit_of(field.name), default, _bounds(kind, field.name), why or _doc(kind))


def _row(key: KeyDoc) -> str:
    default = "**required**" if key.default is None else f"`{key.default}`" if key.default else "none"
    cells = (f"`{key.name}`", key.unit, default, key.bounds, key.why)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, str]:
    """Return the type without its wrappers, and its description; for `X | None` the type is X."""
    why = ""
    while isinstance(kind, Metadata | UnionType):
        if isinstance(kind, Metadata):
            why = why or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        else:
            kind = next(each for each in kind.types if not isinstance(each, NoneType))
    return kind, why


def _bounds(kind: msgspec.inspect.Type, name: str) -> str:
    if isinstance(kind, IntType | FloatType):
        show = "0x{:02x}".format if name in _HEXADECIMAL else "{}".format
        low, high = kind.ge, kind.le
        if low is not None and high is not None:
            return f"{show(low)} to {show(high)}"
        parts = (("above", kind.gt), ("at least", low), ("at most", high))
        return ", ".join(f"{word} {show(bound)}" for word, bound in parts if bound is not None)
    if isinstance(kind, StrType):
        if kind.pattern is None:
            return f"at most {kind.max_length} characters" if kind.max_length is not None else ""
        words = re.fullmatch(r"\^\(([a-z|]+)\)\$", kind.pattern)
        return f"one of {', '.join(words[1].split('|'))}" if words else f"`{kind.pattern}`"
    if isinstance(kind, VarTupleType):
        return f"at most {kind.max_length} of them" if kind.max_length is not None else ""
    return ""


def _struct(kind: msgspec.inspect.Type) -> StructType:
    assert isinstance(kind, StructType)
    return kind
