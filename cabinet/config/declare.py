"""Declaration of a key of `cabinet.toml`: its bounds, and a sentence on its purpose."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


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
