"""Mistakes of a tariff as a whole: every power and every minute of every day must have one price. Pure."""

from collections.abc import Iterator, Sequence

from cabinet.config.tariff_keys import EnergyPeriodSection, TariffFile, TariffSection
from cabinet.errors import ConfigError


def tariff_mistakes(tariff: TariffSection, prefix: str = "") -> Iterator[ConfigError]:
    """Yield every mistake, with the path of its key after `prefix`."""
    yield from _band_gaps(tariff, prefix)
    kinds = ("workday", "holiday") if any(period.days != "every" for period in tariff.energy_periods) else ("every",)
    for kind in kinds:
        mistake = _period_gap(tariff.energy_periods, kind, prefix)
        if mistake is not None:
            yield mistake
            break  # for both kinds it would be reported twice
    if len(kinds) == 2 and not (tariff.holidays or tariff.weekends_are_holidays):
        yield ConfigError(f"{prefix}holidays", "no day is a holiday: name some, or set weekends_are_holidays")
    for name in ("cap_fen", "day_cap_fen"):
        cap_fen = getattr(tariff, name)
        if cap_fen is not None and cap_fen < tariff.minimum_fen:
            yield ConfigError(f"{prefix}{name}", f"{cap_fen} is below minimum_fen {tariff.minimum_fen}")
    yield from _wrong_days(tariff, prefix)
    yield from _too_fine(tariff, prefix)
    hours: set[int] = set()
    for index, package in enumerate(tariff.packages, 1):
        if package.hours in hours:
            yield ConfigError(f"{prefix}packages[{index}].hours", f"there is a package of {package.hours} h already")
        hours.add(package.hours)


def _band_gaps(tariff: TariffSection, prefix: str) -> Iterator[ConfigError]:
    expected: int | None = 0
    for index, band in enumerate(tariff.time_bands, 1):
        path = f"{prefix}time_bands[{index}]"
        if expected is None:
            yield ConfigError(path, f"comes after a band without an upper end (to_w of band {index - 1})")
            return
        if band.from_w != expected:
            word = "gap" if band.from_w > expected else "overlap"
            yield ConfigError(
                f"{path}.from_w", f"{word}: starts at {band.from_w} W, the band before ends at {expected} W"
            )
        if band.to_w is not None and band.to_w <= band.from_w:
            yield ConfigError(f"{path}.to_w", f"{band.to_w} W is not above from_w {band.from_w} W")
        expected = band.to_w
    if not tariff.time_bands:
        yield ConfigError(f"{prefix}time_bands", "no band: give one from_w = 0 without to_w (0 fen, if time is free)")
    elif expected is not None:
        yield ConfigError(f"{prefix}time_bands", f"gap: no price from {expected} W up; leave to_w out of the last band")


def _period_gap(periods: Sequence[EnergyPeriodSection], kind: str, prefix: str) -> ConfigError | None:
    """Return the first gap or overlap in a day of that kind, or None."""
    of_kind = "" if kind == "every" else f" of a {kind}"
    clock = 0
    for index, period in enumerate(periods, 1):
        if period.days not in ("every", kind):
            continue
        path = f"{prefix}energy_periods[{index}]"
        start, end = minute_of_day(period.start), minute_of_day(period.end)
        if start != clock:
            word = "gap" if start > clock else "overlap"
            return ConfigError(
                f"{path}.start", f"{word}: starts at {period.start}, expected {clock // 60:02}:{clock % 60:02}{of_kind}"
            )
        if end <= start:
            return ConfigError(f"{path}.end", f"{period.end} is not after {period.start}")
        clock = end
    if clock != 24 * 60:
        return ConfigError(
            f"{prefix}energy_periods", f"gap: no price from {clock // 60:02}:{clock % 60:02} to 24:00{of_kind}"
        )
    return None


def _too_fine(tariff: TariffSection, prefix: str) -> Iterator[ConfigError]:
    prices = [("service_fen_per_kwh", tariff.service_fen_per_kwh)]
    prices += [
        (f"energy_periods[{index}].electricity_fen_per_kwh", period.electricity_fen_per_kwh)
        for index, period in enumerate(tariff.energy_periods, 1)
    ]
    for path, price in prices:
        if round(price, 2) != price:
            yield ConfigError(f"{prefix}{path}", f"{price:g} has more than two decimals")


def _wrong_days(tariff: TariffSection, prefix: str) -> Iterator[ConfigError]:
    for index, day in enumerate(tariff.workdays, 1):
        if day in tariff.holidays:
            yield ConfigError(f"{prefix}workdays[{index}]", f"{day} is among the holidays too")
    if not isinstance(tariff, TariffFile) or tariff.valid_from is None or tariff.valid_until is None:
        return
    if tariff.valid_until < tariff.valid_from:
        yield ConfigError(f"{prefix}valid_until", f"{tariff.valid_until} is before valid_from {tariff.valid_from}")


def minute_of_day(text: str) -> int:
    """Return the minutes since midnight of "HH:MM"."""
    return int(text[:2]) * 60 + int(text[3:])
