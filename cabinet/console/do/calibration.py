"""From what a reference meter says and what the cabinet reads to the gains that bring them together. Pure.

True over read is fitted through zero over all points, by least squares. Points that do not lie on one line are no
calibration but a mistake: a load that changed meanwhile, a wrong number typed, a sensor that is broken.
"""

import msgspec

from cabinet.errors import CabinetError
from cabinet.upkeep import UNITY_PPM, Gains

LEAST_MA, LEAST_MW = 100, 20_000  # below, a meter's noise is a large part of what it reads
MOST_SPREAD = 0.02  # of the true value, between a point and the line through all
MOST_STRAY = 0.01  # between what is read with the new gains and the reference
LEAST_PPM, MOST_PPM = UNITY_PPM // 2, UNITY_PPM * 3 // 2  # what the guard takes
LEAST_POINTS = 2
APART = 1.5  # the largest load over the smallest


class CalibrationError(CabinetError):
    """`key` names the text that says why; `params` fill it in."""

    def __init__(self, key: str, **params: int | str) -> None:
        super().__init__(key + "".join(f" {name}={value}" for name, value in params.items()))
        self.key = key
        self.params = params


class Point(msgspec.Struct, frozen=True):
    """One load: by the reference meter, and as the cabinet reads it with the gains in use."""

    true_ma: int
    true_mw: int
    read_ma: int
    read_mw: int


def parse(typed: str) -> tuple[int, int]:
    """Milliwatt and milliampere of `500 2.27`: watts, then amperes. Raises CalibrationError."""
    typed = typed.replace("，", ",")
    if not typed.isascii() or "_" in typed:  # Python reads more than people write
        raise CalibrationError("numbers")
    words = typed.replace(",", ".").lower().replace("w", " ").replace("a", " ").split()
    try:
        watts, amperes = (float(word) for word in words)
    except ValueError:
        raise CalibrationError("numbers") from None
    if not (0 < watts <= 10_000 and 0 < amperes <= 50):  # also what is no number at all
        raise CalibrationError("numbers")
    return round(watts * 1000), round(amperes * 1000)


def check_point(point: Point) -> None:
    """Raises CalibrationError for a load that is too small to calibrate with, or that nobody reads."""
    if point.read_ma < LEAST_MA or point.read_mw < LEAST_MW:
        raise CalibrationError("too_small", watts=LEAST_MW // 1000, amps=f"{LEAST_MA / 1000:g}")


def fitted(points: list[Point], gains: Gains) -> Gains:
    """The gains that make what was read true. Raises CalibrationError where the points do not allow it."""
    if len(points) < LEAST_POINTS:
        raise CalibrationError("points", least=LEAST_POINTS)
    if max(p.true_mw for p in points) < APART * min(p.true_mw for p in points):
        raise CalibrationError("apart", factor=f"{APART:g}")
    return Gains(
        _gain([(p.true_ma, p.read_ma) for p in points], gains.current_ppm, "current"),
        _gain([(p.true_mw, p.read_mw) for p in points], gains.power_ppm, "power"),
    )


def stray(true: int, read: int) -> float:
    """How far `read` is from `true`, as a share of it, with its sign."""
    return (read - true) / true


def _gain(pairs: list[tuple[int, int]], now_ppm: int, what: str) -> int:
    slope = sum(true * read for true, read in pairs) / sum(read * read for _, read in pairs)
    for true, read in pairs:
        if abs(stray(true, round(slope * read))) > MOST_SPREAD:
            raise CalibrationError(f"spread_{what}", percent=f"{100 * MOST_SPREAD:g}")
    ppm = round(now_ppm * slope)
    if not LEAST_PPM <= ppm <= MOST_PPM:
        raise CalibrationError(f"gain_{what}", gain=f"{ppm / UNITY_PPM:.3f}")
    return ppm
