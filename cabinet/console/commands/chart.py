"""Character chart for any terminal: bars over time, and a line at the limit. Pure."""

from cabinet.texts.scale import round_scale

COLUMNS = 64
MAX_ROWS = 10
LABEL = 8


def chart(
    points: list[tuple[float, float]], start: float, end: float, unit: str, time_unit: str, limit: float
) -> list[str]:
    """Return the chart lines. `points` are (time, value); a column shows its highest value; values are not below 0.

    Every line fits into 80 columns. Time 0 has a mark on the axis.
    """
    tops: list[float | None] = [None] * COLUMNS
    for at, value in points:
        column = min(COLUMNS - 1, int((at - start) / (end - start) * COLUMNS))
        before = tops[column]
        tops[column] = value if before is None else max(before, value)
    known = [top for top in tops if top is not None]
    highest = max([*known, limit], default=limit) or 1.0
    ticks = round_scale(0, highest)
    rows_a_tick = MAX_ROWS // (len(ticks) - 1)
    step = ticks.step / rows_a_tick
    rows = rows_a_tick * (len(ticks) - 1)
    limit_row = min(rows - 1, int(limit / step))
    lines = []
    for row in reversed(range(rows)):
        empty = "-" if row == limit_row else " "
        bars = "".join("#" if top is not None and top > row * step else empty for top in tops)
        label = "" if (row + 1) % rows_a_tick else f"{(row + 1) // rows_a_tick * ticks.step}"
        lines.append(f"{label:>{LABEL - 2}} |{bars}".rstrip())
    zero = min(COLUMNS - 1, int(-start / (end - start) * COLUMNS))
    axis = "".join("^" if column == zero else "." if top is None else "_" for column, top in enumerate(tops))
    lines.append(f"{unit:>{LABEL - 2}} +{axis}")
    left, right = f"{start:g}", f"{end:g} {time_unit}"
    middle = "0".center(COLUMNS - len(left) - len(right))
    lines.append(" " * LABEL + left + middle + right)
    return lines
