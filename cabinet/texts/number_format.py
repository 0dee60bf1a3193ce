"""Integer milli-units as numbers for people: the same on pages, in tables and on the console. Pure.

Numbers are in plain decimal notation without a unit; the unit's word belongs to the language.
"""

import datetime
import functools
import zoneinfo

from cabinet.clock import WallTime

MWH_PER_KWH = 1_000_000
MW_PER_W = 1000
CACHED = 4096  # a table of a million rows has few different amounts, and takes half the time


@functools.lru_cache(maxsize=CACHED)
def yuan(fen: int) -> str:
    """Return `fen` in yuan with both decimals: 30 → "0.30", -5 → "-0.05"."""
    sign, rest = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{rest // 100}.{rest % 100:02d}"


def yuan_per(fen: int, per: int) -> str:
    """Return the price of one, in yuan, if `per` (1 or 100) cost `fen`: with as many decimals as needed."""
    whole = yuan(fen // per)
    return whole if fen % per == 0 else f"{whole}{fen % per:02d}".rstrip("0")


def kwh(energy_mwh: int) -> str:
    """Return kWh with the three decimals of a receipt, rounded down as the bill is: 352_900 → "0.352"."""
    return f"{energy_mwh // MWH_PER_KWH}.{energy_mwh % MWH_PER_KWH // 1000:03d}"


@functools.lru_cache(maxsize=CACHED)
def watts(power_mw: int) -> str:
    """Return milliwatts in whole watts, rounded to the nearest."""
    return str((power_mw + MW_PER_W // 2) // MW_PER_W)


@functools.lru_cache(maxsize=CACHED)
def minutes(seconds: int) -> str:
    """Return seconds in minutes with one decimal, rounded down."""
    return f"{seconds // 60}.{seconds % 60 // 6}"


def celsius(temperature_mc: int) -> str:
    """Return thousandths of a degree in whole degrees, rounded to the nearest."""
    return str((temperature_mc + 500) // 1000)


def local(moment: WallTime, zone: zoneinfo.ZoneInfo | None) -> datetime.datetime:
    """Return the moment by the site's wall clock; if `zone` is None, by this computer's."""
    return datetime.datetime.fromtimestamp(moment.unix_ms / 1000, zone)


@functools.lru_cache(maxsize=CACHED)
def masked(card: str) -> str:
    """Return a card for lists: its last four characters, but never more than half of them, unmasked."""
    shown = min(4, len(card) // 2)
    return "*" * (len(card) - shown) + card[len(card) - shown :]


def masked_name(name: str) -> str:
    """Return the first letter and a mark for the rest: 王芳 is 王*."""
    return f"{name[0]}*" if name else ""
