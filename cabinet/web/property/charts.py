"""Chart geometry for SVG templates, without script and without inline style. Pure.

All charts fit a box of WIDTH × HEIGHT; the style sheet sets the size of letters, as it depends on the screen.
"""

import datetime
import zoneinfo
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cabinet.records import LoadSample
from cabinet.service.property_views import DaySum, LoadView
from cabinet.web.curve import round_up

WIDTH, HEIGHT = 340, 176
LEFT, RIGHT, TOP, BOTTOM = 40, 336, 12, 152
"""Edges of the plot area; the rest of the box is for labels."""

FEWEST_TOP = 10
GAP_SHARE = 0.25  # of a bar's slot
MAX_LABELS = 7


class Tick(NamedTuple):
    at: float
    label: str


class Bar(NamedTuple):
    """Stacked bar of two parts, from the bottom up; `sums` are its figures."""

    x: float
    width: float
    lower_y: float
    lower_height: float
    upper_y: float
    upper_height: float
    sums: DaySum


class BarChart(NamedTuple):
    bars: list[Bar]
    y_ticks: list[Tick]
    x_ticks: list[Tick]


class LoadChart(NamedTuple):
    """Load chart: `area` and `line` are SVG paths of the mean, `peaks` of the peak load; `limit_y` None: no limit."""

    area: str
    line: str
    peaks: str
    limit_y: float | None
    y_ticks: list[Tick]
    x_ticks: list[Tick]


def load_chart(view: LoadView, zone: zoneinfo.ZoneInfo) -> LoadChart | None:
    """Return the chart, or None if nothing was measured on that day."""
    if not view.samples:
        return None
    top_w = _top(max(*(each.peak_mw for each in view.samples), view.limit_mw or 0, 1000 * FEWEST_TOP) // 1000 + 1)
    span_s = view.to_unix_s - view.from_unix_s

    def x(unix_s: int) -> float:
        return round(LEFT + (unix_s - view.from_unix_s) / span_s * (RIGHT - LEFT), 1)

    def y(power_mw: int) -> float:
        return round(_y(power_mw / 1000, top_w), 1)

    areas, lines, peaks = [], [], []
    for run in _runs(view.samples, view.step_s):
        means = "".join(
            f"{'L' if index else 'M'}{x(each.start_unix_s)} {y(each.mean_mw)}H{x(each.start_unix_s + view.step_s)}"
            for index, each in enumerate(run)
        )
        lines.append(means)
        end_x = x(run[-1].start_unix_s + view.step_s)
        areas.append(f"{means}L{end_x} {BOTTOM}H{x(run[0].start_unix_s)}Z")
        peaks.append(
            "".join(f"M{x(each.start_unix_s)} {y(each.peak_mw)}H{x(each.start_unix_s + view.step_s)}" for each in run)
        )
    hours = [view.from_unix_s + hour * 3600 for hour in range(0, span_s // 3600 + 1, 6)]
    return LoadChart(
        "".join(areas),
        "".join(lines),
        "".join(peaks),
        None if view.limit_mw is None else y(view.limit_mw),
        _y_ticks(top_w, str),
        [Tick(x(at_s), _hour_label(at_s, view, zone)) for at_s in hours],
    )


def _hour_label(at_s: int, view: LoadView, zone: zoneinfo.ZoneInfo) -> str:
    if at_s >= view.to_unix_s:
        return "24:00"
    return f"{datetime.datetime.fromtimestamp(at_s, zone):%H:%M}"


def _runs(samples: Sequence[LoadSample], step_s: int) -> list[list[LoadSample]]:
    """Return runs of consecutive samples; between two runs nothing was measured."""
    runs: list[list[LoadSample]] = []
    for sample in samples:
        if runs and sample.start_unix_s == runs[-1][-1].start_unix_s + step_s:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


def money_chart(sums: Sequence[DaySum], label: Callable[[DaySum], str]) -> BarChart:
    """Return a chart in yuan: electricity below, service on top."""
    return _bars(sums, label, lambda each: each.sums.electricity_fen / 100, lambda each: each.sums.service_fen / 100)


def energy_chart(sums: Sequence[DaySum], label: Callable[[DaySum], str]) -> BarChart:
    """Return a chart of the energy in kWh."""
    return _bars(sums, label, lambda each: each.sums.energy_mwh / 1_000_000, lambda _: 0.0)


def _bars(
    sums: Sequence[DaySum],
    label: Callable[[DaySum], str],
    lower: Callable[[DaySum], float],
    upper: Callable[[DaySum], float],
) -> BarChart:
    top = _top(max((lower(each) + upper(each) for each in sums), default=0))
    place = (RIGHT - LEFT) / max(len(sums), 1)
    bars = []
    for index, each in enumerate(sums):
        lower_y = _y(lower(each), top)
        upper_y = _y(lower(each) + upper(each), top)
        bars.append(
            Bar(
                round(LEFT + (index + GAP_SHARE / 2) * place, 1),
                round(place * (1 - GAP_SHARE), 1),
                round(lower_y, 1),
                round(BOTTOM - lower_y, 1),
                round(upper_y, 1),
                round(lower_y - upper_y, 1),
                each,
            )
        )
    every = -(-len(sums) // MAX_LABELS)
    x_ticks = [
        Tick(round(LEFT + (index + 0.5) * place, 1), label(each))
        for index, each in enumerate(sums)
        if (len(sums) - 1 - index) % every == 0
    ]
    return BarChart(bars, _y_ticks(top, lambda value: f"{value:g}"), x_ticks)


def _top(value: float) -> int:
    """Return the next of 4, 8, 10, 12, 16, 20, 30, 40, 80, 100 … that is not below `value`: each has round steps."""
    return round_up(value, (4, 8, 10, 12, 16, 20, 30))


def _y(value: float, top: float) -> float:
    return BOTTOM - value / top * (BOTTOM - TOP)


def _y_ticks(top: float, label: Callable[[int], str]) -> list[Tick]:
    """Return ticks from 0 to the top in round steps."""
    count = next(count for count in (4, 5, 2, 3, 1) if top % count == 0)
    return [
        Tick(round(_y(top * index / count, top), 1), label(int(top * index // count))) for index in range(count + 1)
    ]
