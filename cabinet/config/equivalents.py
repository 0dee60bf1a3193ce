"""Conversion of limits to the unit of another limit of the same quantity: watts to amperes, peaks to RMS. Pure.

The power factor relates watts and amperes, the crest factor peak and RMS. Measured on household rectifier
loads: 0.39 to 0.99, and 1.5 to 2.8. A charger of several hundred watts without correction has 0.6 to 0.7.
"""

import math
from collections.abc import Iterator

from cabinet.config.keys import Config

NOMINAL_V = 220.0
MIN_POWER_FACTOR = 0.6  # of a charger near the outlet's limit: a lower one would exceed the limits of harmonics
MAX_CREST = 2.8
IMAGE_SHARE = 1.2  # of `rated_a`: the thermal image never lets more through for long


def equivalents(config: Config) -> Iterator[str]:
    """Yield a sentence for each pair of limits; it begins with "warning" if they contradict each other."""
    rated_a = config.protections.overcurrent.rated_a
    max_a = IMAGE_SHARE * rated_a
    peak_a = config.protections.short_circuit.peak_a
    lowest_v = config.protections.voltage.lowest_v
    for power_w in sorted({outlet.max_power_w for outlet in config.outlet}):
        factor = power_w / NOMINAL_V / max_a
        least_a, needed_a = power_w / NOMINAL_V, power_w / NOMINAL_V / MIN_POWER_FACTOR
        yield (
            f"max_power_w {power_w:g} W: {least_a:.1f} A at a power factor of 1, {needed_a:.1f} A at "
            f"{MIN_POWER_FACTOR:g}; protections.overcurrent.rated_a {rated_a:g} A opens above {max_a:.1f} A, "
            f"which is before this power below a power factor of {factor:.2f}"
        )
        if factor > MIN_POWER_FACTOR:
            yield (
                f"warning: an ordinary charger is opened as overcurrent and latched before it has {power_w:g} W: "
                f"protections.overcurrent.rated_a should be {math.ceil(10 * needed_a / IMAGE_SHARE) / 10:g} or more"
            )
        if needed_a * MAX_CREST > peak_a:
            yield (
                f"warning: peaks of {needed_a * MAX_CREST:.0f} A belong to a charger of {power_w:g} W at a power "
                f"factor of {MIN_POWER_FACTOR:g}: protections.short_circuit.peak_a {peak_a:g} A takes it for a short"
            )
    yield (
        f"protections.short_circuit.peak_a {peak_a:g} A: {peak_a / math.sqrt(2):.1f} A RMS of a heater, "
        f"{peak_a / MAX_CREST:.1f} A of a rectifier with a crest factor of {MAX_CREST:g}"
    )
    if max_a > config.hardware.relay_rated_a:
        yield (
            f"warning: protections.overcurrent.rated_a lets {max_a:.1f} A through a relay of "
            f"{config.hardware.relay_rated_a:g} A (hardware.relay_rated_a)"
        )
    charge = config.charge
    if charge.unplugged_w >= charge.no_load_w:
        yield (
            f"warning: charge.unplugged_w {charge.unplugged_w:g} W is not below charge.no_load_w "
            f"{charge.no_load_w:g} W: what draws between them is a load and unplugged at once"
        )
    feed_w = config.feed.limit_w
    yield (
        f"feed.limit_w {feed_w:g} W: {feed_w / NOMINAL_V:.0f} A at a power factor of 1, "
        f"{feed_w / NOMINAL_V / MIN_POWER_FACTOR:.0f} A at {MIN_POWER_FACTOR:g}, a quarter more at {lowest_v:g} V: "
        "breaker and cable of the supply are for the chargers that come"
    )
