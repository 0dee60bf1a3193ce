"""Power curve as an SVG line: shown without JavaScript and on paper. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from cabinet.records import CurvePoint

WIDTH = 320
HEIGHT = 120
MAX_POINTS = 160


class Polyline(NamedTuple):
    """SVG points within WIDTH × HEIGHT; the scales are 0 to `top_w` and 0 to `span_s`.

    `peak_w`, `mean_w` and `last_w` summarise the curve for the text below it.
    """

    points: str
    top_w: int
    span_s: int
    peak_w: int
    mean_w: int
    last_w: int


def polyline(curve: list[CurvePoint]) -> Polyline | None:
    """Return the curve thinned to MAX_POINTS, or None if it has fewer than two points.

    Of the points in one slot the highest is kept: a peak must not vanish.
    """
    if len(curve) < 2:
        return None
    span_s = max(curve[-1].at_s, 1)
    powers_w = [point.power_w for point in curve]
    top_w = round_up(max(powers_w), (10, 20, 50))
    highest: dict[int, CurvePoint] = {}
    for point in curve:
        slot = point.at_s * (MAX_POINTS - 1) // span_s
        if slot not in highest or highest[slot].power_w < point.power_w:
            highest[slot] = point
    points = " ".join(
        f"{point.at_s * WIDTH // span_s},{HEIGHT - point.power_w * HEIGHT // top_w}" for point in highest.values()
    )
    return Polyline(points, top_w, span_s, max(powers_w), round(sum(powers_w) / len(powers_w)), powers_w[-1])


def round_up(value: float, factors: Sequence[int]) -> int:
    """Return the smallest of `factors` × 1, 10, 100 … that is not below `value`; `factors` ascend within a decade."""
    step = 1
    while value > factors[-1] * step:
        step *= 10
    return next(factor * step for factor in factors if value <= factor * step)
