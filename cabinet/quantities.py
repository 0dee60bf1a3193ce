"""A whole number with its unit, told from the suffix of its name, as people read it: peak_ma 61200 → "peak 61.2 A".

Pure. For staff: the numbers of a trip (`Trip.why`), on the console and in the log of `cabinet run`.
"""

_UNITS: dict[str, tuple[int, str]] = {  # suffix → divisor, unit
    "_ma": (1000, "A"),
    "_mv": (1000, "V"),
    "_mw": (1000, "W"),
    "_mc": (1000, "°C"),
    "_mk": (1000, "K"),
    "_mk_per_min": (1000, "K/min"),
    "_mhz": (1000, "Hz"),
    "_mwh": (1000, "Wh"),
    "_uj": (1_000_000, "J"),
    "_ns": (1_000_000, "ms"),
    "_us": (1000, "ms"),
    "_ms": (1, "ms"),
    "_s": (1, "s"),
    "_permille": (10, "%"),
}


def quantity(name: str, value: int) -> str:
    """`value` with the unit of `name` and the rest of the name before it; a name without a unit stays as it is."""
    suffix = max((suffix for suffix in _UNITS if name.endswith(suffix)), key=len, default="")
    divisor, unit = _UNITS.get(suffix, (1, ""))
    label = name.removesuffix(suffix).replace("_", " ")
    return " ".join(part for part in (label, _decimal(value, divisor), unit) if part)


def quantities(values: dict[str, int]) -> str:
    """All of them, comma between."""
    return ", ".join(quantity(name, value) for name, value in values.items())


def _decimal(value: int, divisor: int) -> str:
    """Up to three significant decimals, no needless zeros."""
    text = f"{value / divisor:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
