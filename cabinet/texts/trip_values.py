"""The numbers of a trip (`trip_values`) in the reader's language: peak_ma 61200 → "peak 61.2 A", "峰值 61.2 安". Pure.

For staff: on the property pages, the console, in `cabinet trips` and the log of `cabinet run`.
"""

from cabinet.texts import Texts

_UNITS: dict[str, tuple[int, str]] = {  # suffix → divisor, unit
    "_ma": (1000, "A"),
    "_mv": (1000, "V"),
    "_mw": (1000, "W"),
    "_mc": (1000, "°C"),
    "_mk": (1000, "K"),
    "_mk_per_min": (1000, "K/min"),
    "_mc_per_min": (1000, "°C/min"),
    "_min": (1, "min"),
    "_percent": (1, "%"),
    "_mhz": (1000, "Hz"),
    "_mwh": (1000, "Wh"),
    "_uj": (1_000_000, "J"),
    "_ns": (1_000_000, "ms"),
    "_us": (1000, "ms"),
    "_ms": (1, "ms"),
    "_s": (1, "s"),
    "_permille": (10, "%"),
}


def number_with_unit(name: str, value: int) -> str:
    """Return the rest of `name`, then `value` with the unit of `name`; a name without a unit is unchanged."""
    suffix = _suffix(name)
    divisor, unit = _UNITS.get(suffix, (1, ""))
    label = name.removesuffix(suffix).replace("_", " ")
    return " ".join(part for part in (label, _decimal(value, divisor), unit) if part)


def trip_values_text(values: dict[str, int], words: Texts) -> str:
    """Return all values in the words of `why.<name>`, separated by commas; a name without words stays as it is.

    Names without words come from old recordings.
    """
    return words("numbers.between").join(
        words(key, value=_decimal(value, _UNITS.get(_suffix(name), (1, ""))[0]))
        if key in words
        else number_with_unit(name, value)
        for name, value in values.items()
        for key in [f"why.{name}"]
    )


def _suffix(name: str) -> str:
    """Return the suffix that gives the unit of `name`; empty if there is none."""
    return max((suffix for suffix in _UNITS if name.endswith(suffix)), key=len, default="")


def _decimal(value: int, divisor: int) -> str:
    """Return up to three significant decimals, without needless zeros."""
    text = f"{value / divisor:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
