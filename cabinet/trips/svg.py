"""Panels of a plot as SVG: step lines over time, limits as labelled dashed lines, one scale each. Pure.

Lengths are in units of the picture, which is 640 wide; a phone shows them at about half a pixel each.
"""

import math
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

import msgspec

from cabinet import plain_text
from cabinet.texts.scale import round_scale

WIDTH = 640
BOTTOM = 34  # left free under the last panel, for a legend
_LEFT, _RIGHT = 66, 622
_TITLE, _HEIGHT, _LABELS = 30, 132, 24  # of one panel, from the top
_THINNEST = 0.8  # narrower stretches are drawn as one, as high as the highest of them
_NEAR = 17  # labels of limits closer than this are placed at opposite ends

_INK, _SOFT, _GRID, _CLOSED, _BLIND, _LIMIT = "#111827", "#6b7280", "#e5e7eb", "#e7f6ec", "#d1d5db", "#b91c1c"


class LineSegment(NamedTuple):
    """One value, in thousandths of the scale's unit, over a time span; None: not known."""

    from_s: float
    to_s: float
    value: int | None


class StepLine(msgspec.Struct, frozen=True):
    """A step line. `name` follows the panel's title in the line's colour; for `thinnest` see `_THINNEST`."""

    stretches: list[LineSegment]
    colour: str
    name: str = ""
    filled: bool = False
    thinnest: float = _THINNEST


class Limit(NamedTuple):
    value: int
    label: str


class Axis(msgspec.Struct, frozen=True):
    """Time axis from the trip: its beginning and end, the distance between ticks, and the unit of the labels."""

    from_s: float
    to_s: float
    step_s: float
    label_s: float  # 1: labelled in seconds, 0.001: in milliseconds
    unit: str = ""  # of the labels; if empty, there are none

    def x(self, at_s: float) -> float:
        share = (min(max(at_s, self.from_s), self.to_s) - self.from_s) / (self.to_s - self.from_s)
        return _LEFT + share * (_RIGHT - _LEFT)


class Panel(msgspec.Struct, frozen=True):
    """One panel. `note` is at the right end of the title: the limits that did not fit on the scale."""

    title: str
    note: str
    axis: Axis
    lines: list[StepLine]
    limits: list[Limit]
    closed: list[tuple[float, float]]  # spans in which the outlet had power
    marks_s: list[float]  # trips; the one at 0 is the subject of the plot
    mark_label: str


class _Scale(NamedTuple):
    ticks: range
    top: int

    def y(self, value: int) -> float:
        return self.top + _HEIGHT * (self.ticks[-1] - value) / (self.ticks[-1] - self.ticks[0])


def _escaped(content: str) -> str:
    return escape(plain_text.one_line(content), quote=False)


def text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "start",
    colour: str = _INK,
    size: int = 15,
    weight: int = 400,
    halo: bool = False,
) -> str:
    """Return one line of text; with `halo` it stays readable on top of lines."""
    outline = ' stroke="#fff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}"{outline}>{_escaped(content)}</text>'
    )


_LAST_LABEL = 80


def draw_panel(panel: Panel, top: int) -> tuple[str, int]:
    """Return the panel below `top`, and the position of its end."""
    scale = _scale(panel, top + _TITLE)
    parts = [
        _title(panel, scale.top - 9),
        text(_RIGHT, scale.top - 9, panel.note, anchor="end", colour=_LIMIT, size=14),
        *_ground(panel, scale),
        *_grid(panel, scale),
        *(_step_line(line, panel.axis, scale) for line in panel.lines),
        *_limits(panel, scale),
        *_marks(panel, scale),
    ]
    return "\n".join(part for part in parts if part), scale.top + _HEIGHT + (_LABELS if panel.axis.unit else 8)


def _title(panel: Panel, y: float) -> str:
    names = "".join(
        f'<tspan dx="10" fill="{line.colour}">{_escaped(line.name)}</tspan>' for line in panel.lines if line.name
    )
    title = _escaped(panel.title)
    return f'<text x="{_LEFT}" y="{y}" fill="{_INK}" font-size="16" font-weight="600">{title}{names}</text>'


def highest(lines: Iterable[StepLine], axis: Axis) -> int:
    """Return the greatest value that `axis` shows; 0 if none is known."""
    return max(_shown(lines, axis), default=0)


def _shown(lines: Iterable[StepLine], axis: Axis) -> list[int]:
    return [
        value
        for line in lines
        for from_s, to_s, value in line.stretches
        if value is not None and to_s > axis.from_s and from_s < axis.to_s
    ]


def _scale(panel: Panel, top: int) -> _Scale:
    """Return round ticks from just below the lowest value or limit to just above the highest; with 0 if it is near."""
    values = [*_shown(panel.lines, panel.axis), *(limit.value for limit in panel.limits)] or [0, 1000]
    low, high = min(values), max(values)
    if 0 <= low <= high / 3:
        low = 0
    ticks = round_scale(low, high)
    if any(limit.value == high for limit in panel.limits) and ticks[-1] - high < ticks.step // 2:
        ticks = range(ticks.start, ticks.stop + ticks.step, ticks.step)  # for its letters, which are above the line
    return _Scale(ticks, top)


def _ground(panel: Panel, scale: _Scale) -> list[str]:
    """Return the background: spans with the outlet closed, and spans with an unknown value of the first line."""
    blind = [(from_s, to_s) for from_s, to_s, value in panel.lines[0].stretches if value is None]
    return [
        f'<rect x="{left:.1f}" y="{scale.top}" width="{right - left:.1f}" height="{_HEIGHT}" fill="{colour}"/>'
        for colour, spans in ((_CLOSED, panel.closed), (_BLIND, _joined(blind)))
        for left, right in ((panel.axis.x(from_s), panel.axis.x(to_s)) for from_s, to_s in spans)
        if right - left >= 1
    ]


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for from_s, to_s in spans:
        if joined and from_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], to_s)
        else:
            joined.append((from_s, to_s))
    return joined


def _grid(panel: Panel, scale: _Scale) -> list[str]:
    bottom, axis = scale.top + _HEIGHT, panel.axis
    parts = []
    for value in scale.ticks:
        y = scale.y(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_GRID}"/>')
        parts.append(text(_LEFT - 7, y + 5, f"{value / 1000:g}", anchor="end", colour=_SOFT))
    first, last = math.ceil(axis.from_s / axis.step_s - 1e-9), math.floor(axis.to_s / axis.step_s + 1e-9)
    for tick in range(first, last + 1):
        x = axis.x(tick * axis.step_s)
        parts.append(f'<path d="M{x:.1f} {scale.top}V{bottom}" stroke="{_GRID}"/>')
        if axis.unit:
            at_end = tick == last and axis.x(tick * axis.step_s) > _RIGHT - 1
            label = f"{tick * axis.step_s / axis.label_s:g}" + (f" {axis.unit}" if tick == last else "")
            if tick == last - 1 and axis.x(last * axis.step_s) - x < _LAST_LABEL:
                continue  # the last label includes the unit and reaches up to here
            parts.append(text(x, bottom + 18, label, anchor="end" if at_end else "middle", colour=_SOFT))
    return parts


def _step_line(line: StepLine, axis: Axis, scale: _Scale) -> str:
    """Return one path, interrupted while the value is not known."""
    bottom = scale.top + _HEIGHT
    path, area, end_x = [], [], None
    for left, right, value in _thinned(line, axis):
        y = scale.y(value)
        if end_x is None or left > end_x + 0.01:
            if end_x is not None:
                area.append(f"V{bottom}Z")
            path.append(f"M{left:.1f} {y:.1f}")
            area.append(f"M{left:.1f} {bottom}V{y:.1f}")
        else:
            path.append(f"V{y:.1f}")
            area.append(f"V{y:.1f}")
        path.append(f"H{right:.1f}")
        area.append(f"H{right:.1f}")
        end_x = right
    if end_x is None:
        return ""
    drawn = f'<path d="{"".join(path)}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
    if not line.filled:
        return drawn
    return f'<path d="{"".join(area)}V{bottom}Z" fill="{line.colour}" fill-opacity="0.2"/>\n{drawn}'


def _thinned(line: StepLine, axis: Axis) -> list[tuple[float, float, int]]:
    """Return (left, right, value) of the stretches on `axis`; equal neighbours, and invisibly thin ones, are merged."""
    thinned: list[tuple[float, float, int]] = []
    for from_s, to_s, value in line.stretches:
        if value is None or to_s <= axis.from_s or from_s >= axis.to_s:
            continue
        left, right = axis.x(from_s), axis.x(to_s)
        if thinned and left <= thinned[-1][1] + 0.01:
            before = thinned[-1]
            if before[2] == value or right - before[0] < line.thinnest:
                thinned[-1] = (before[0], right, max(before[2], value))
                continue
        thinned.append((left, right, value))
    return thinned


def _limits(panel: Panel, scale: _Scale) -> list[str]:
    """Return dashed lines with labels on the right, or on the left if two would overlap."""
    parts, before_y = [], -math.inf
    for limit in sorted(panel.limits, reverse=True):
        y = scale.y(limit.value)
        right = y - before_y >= _NEAR
        before_y = y if right else -math.inf
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_LIMIT}" stroke-width="1.5" stroke-dasharray="7 5"/>'
        )
        label_y = y - 5 if y - scale.top > 16 else y + 15
        x, anchor = (_RIGHT - 4, "end") if right else (_LEFT + 4, "start")
        parts.append(text(x, label_y, limit.label, anchor=anchor, colour=_LIMIT, size=14, halo=True))
    return parts


def _marks(panel: Panel, scale: _Scale) -> list[str]:
    parts = []
    for at_s in panel.marks_s:
        if not panel.axis.from_s <= at_s <= panel.axis.to_s:
            continue
        x = panel.axis.x(at_s)
        look = f'stroke="{_INK}" stroke-width="2"' if at_s == 0 else f'stroke="{_SOFT}" stroke-dasharray="2 3"'
        parts.append(f'<path d="M{x:.1f} {scale.top - 5}V{scale.top + _HEIGHT}" {look}/>')
        if at_s == 0:
            parts.append(text(x, scale.top - 9, panel.mark_label, anchor="middle", size=14, weight=600))
    return parts
