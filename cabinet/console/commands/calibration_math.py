"""Calibration: calculates the gains that match the cabinet's readings to a reference meter. Pure.

The ratio of true to read value is fitted through zero over all points, by least squares. Points that do not lie on one
line are a mistake, not a calibration: a load that changed meanwhile, a wrong number typed, a broken sensor. The code
of a refusal here has a text `calibration.<code>`.
"""

import msgspec

from cabinet.errors import Refused
from cabinet.maintenance import UNITY_PPM, Gains

MIN_MA, MIN_MW = 100, 20_000  # below these, noise is a large part of a meter's reading
MAX_SPREAD = 0.02  # max. distance of a point from the fitted line, as a share of the true value
MAX_DEVIATION = 0.01  # max. deviation of a reading with the new gains from the reference
MIN_PPM, MAX_PPM = UNITY_PPM // 2, UNITY_PPM * 3 // 2  # range that the guard accepts
MIN_POINTS = 2
APART = 1.5  # min. ratio of the largest load to the smallest


class Point(msgspec.Struct, frozen=True):
    """One load: the reference meter's values, and the cabinet's readings with the gains in use."""

    true_ma: int
    true_mw: int
    read_ma: int
    read_mw: int


def parse(typed: str) -> tuple[int, int]:
    """Return milliwatts and milliamperes of `500 2.27`: watts, then amperes. Raises Refused."""
    typed = typed.replace("，", ",")
    if not typed.isascii() or "_" in typed:  # float() accepts more forms than people write
        raise Refused("numbers")
    words = typed.replace(",", ".").lower().replace("w", " ").replace("a", " ").split()
    try:
        watts, amperes = (float(word) for word in words)
    except ValueError:
        raise Refused("numbers") from None
    if not (0 < watts <= 10_000 and 0 < amperes <= 50):  # also rejects NaN
        raise Refused("numbers")
    return round(watts * 1000), round(amperes * 1000)


def check_point(point: Point) -> None:
    """Check the size of the load. Raises Refused if it is too small for a calibration, or not measured."""
    if point.read_ma < MIN_MA or point.read_mw < MIN_MW:
        raise Refused("too_small", watts=MIN_MW // 1000, amps=f"{MIN_MA / 1000:g}")


def fitted(points: list[Point], gains: Gains) -> Gains:
    """Return the gains that make the readings true. Raises Refused if the points do not allow it."""
    if len(points) < MIN_POINTS:
        raise Refused("points", least=MIN_POINTS)
    if max(p.true_mw for p in points) < APART * min(p.true_mw for p in points):
        raise Refused("apart", factor=f"{APART:g}")
    return Gains(
        _gain([(p.true_ma, p.read_ma) for p in points], gains.current_ppm, "current"),
        _gain([(p.true_mw, p.read_mw) for p in points], gains.power_ppm, "power"),
    )


def relative_deviation(true: int, read: int) -> float:
    """Return the signed deviation of `read` from `true`, as a share of `true`."""
    return (read - true) / true


def _gain(pairs: list[tuple[int, int]], now_ppm: int, what: str) -> int:
    slope = sum(true * read for true, read in pairs) / sum(read * read for _, read in pairs)
    for true, read in pairs:
        if abs(relative_deviation(true, round(slope * read))) > MAX_SPREAD:
            raise Refused(f"spread_{what}", percent=f"{100 * MAX_SPREAD:g}")
    ppm = round(now_ppm * slope)
    if not MIN_PPM <= ppm <= MAX_PPM:
        raise Refused(f"gain_{what}", gain=f"{ppm / UNITY_PPM:.3f}")
    return ppm
