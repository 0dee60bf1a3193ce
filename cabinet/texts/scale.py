"""Ticks of a chart's scale, the same in every chart. Pure."""

import math

ABOUT = 4  # distances on a scale


def round_scale(low: float, high: float) -> range:
    """Return about five ticks, at least two, from at or below `low` to at or above `high`.

    Their distance is 1, 2 or 5 times a power of ten, and at least 1.
    """
    rough = max((high - low) / ABOUT, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.floor(low / step) * step
    return range(first, max(math.ceil(high / step) * step, first + step) + 1, step)
