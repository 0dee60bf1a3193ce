"""Power curve as an SVG line: shown without JavaScript and on paper. Pure."""

from typing import Any, NamedTuple

from cabinet.records import CurvePoint
from cabinet.texts.scale import round_scale

WIDTH = 320
HEIGHT = 120
MAX_POINTS = 160
MIN_TOP_W = 10


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


def plot_data(curve: list[CurvePoint], after_s: int = -1) -> dict[str, Any]:
    """Return the data of the page's script: the points after `after_s`, and the ticks of both scales of the curve."""
    return {
        "points": [point for point in curve if point.at_s > after_s],
        "watts": list(_power_scale(curve)),
        "minutes": list(round_scale(0, curve[-1].at_s / 60 if curve else 0)),
    }


def _power_scale(curve: list[CurvePoint]) -> range:
    return round_scale(0, max([MIN_TOP_W, *(point.power_w for point in curve)]))


def polyline(curve: list[CurvePoint]) -> Polyline | None:
    """Return the curve thinned to MAX_POINTS, or None if it has fewer than two points.

    Of the points in one slot the highest is kept: a peak must not vanish.
    """
    if len(curve) < 2:
        return None
    span_s = max(curve[-1].at_s, 1)
    powers_w = [point.power_w for point in curve]
    top_w = _power_scale(curve)[-1]
    highest: dict[int, CurvePoint] = {}
    for point in curve:
        slot = point.at_s * (MAX_POINTS - 1) // span_s
        if slot not in highest or highest[slot].power_w < point.power_w:
            highest[slot] = point
    points = " ".join(
        f"{point.at_s * WIDTH // span_s},{HEIGHT - point.power_w * HEIGHT // top_w}" for point in highest.values()
    )
    return Polyline(points, top_w, span_s, max(powers_w), round(sum(powers_w) / len(powers_w)), powers_w[-1])
