"""Sections of `cabinet.toml`: the declaration of a key, and the conversion of its value to milli-units."""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

NS = 1_000_000_000
# The end of a key's name gives its unit; the same quantity in the guard's integer units ends as on the right.
_MILLI = {
    "_a": "_ma", "_v": "_mv", "_w": "_mw", "_c": "_mc", "_k": "_mk", "_k_per_min": "_mk_per_min", "_s": "_ns",
}  # fmt: skip


def number(why: str, *, above: float | None = None, least: float | None = None, most: float | None = None) -> Meta:
    bounds: dict[str, Any] = {"gt": above, "ge": least, "le": most}
    meta: Meta = Meta(description=why, **bounds)
    return meta


def text(why: str, *, pattern: str | None = None, longest: int = 200) -> Meta:
    return Meta(pattern=pattern, min_length=1, max_length=longest, description=why)


Pin = Annotated[int, number("BCM number of a GPIO line", least=0, most=27)]
Address = Annotated[str, text("IP address or network", pattern="^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$", longest=50)]
I2cAddress = Annotated[int, number("7-bit I2C address", least=0x08, most=0x77)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; an undeclared key is an error."""

    ASCENDING: ClassVar[tuple[tuple[str, str], ...]] = ()  # pairs of keys: the first must be below the second


def milli(value: float) -> int:
    return round(1000 * value)


def nanoseconds(seconds: float) -> int:
    return round(NS * seconds)


def in_milli_units(section: Section) -> dict[str, Any]:
    """Return the values of `section` by name, in milli-units and nanoseconds: `peak_a` 30.0 is `peak_ma` 30000.

    Shares, counts and texts keep name and value.
    """
    converted = {}
    for name, value in msgspec.structs.asdict(section).items():
        unit = max((unit for unit in _MILLI if name.endswith(unit)), key=len, default="")
        if unit:
            value = nanoseconds(value) if unit == "_s" else milli(value)
        converted[name.removesuffix(unit) + _MILLI.get(unit, "")] = value
    return converted
