"""A recording as a picture (SVG): current, power, voltage and temperature of one outlet around its trip. Pure.

The first panel shows the fault itself, which lasts a few hundredths of a second, fifteen times wider than the others.
The picture is wide enough for print, and its letters stay readable if a phone shows the whole width.
"""

import datetime
import math
import textwrap
import unicodedata
from collections.abc import Iterator
from html import escape

import msgspec

from cabinet import plain_text
from cabinet.clock import NS
from cabinet.texts import Texts
from cabinet.trips.format import CLOSED, Recording, TripMark
from cabinet.trips.svg import BOTTOM, WIDTH, Axis, Limit, LineSegment, Panel, StepLine, draw_panel, highest, text
from cabinet.trips.table import cause, limit_texts, moment, place

GAP_PERIODS = 10  # rows further apart than this many scans: a gap without readings
REACH = 1.6  # a limit up to this many times the highest value gets its line; a higher one is named in the title

_PEAK, _RMS, _OTHER = "#c2570c", "#1d4ed8", "#6b7280"
_FONTS = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
_MARGIN, _TITLE_SIZE, _LINE_SIZE = 16, 24, 16
_LETTERS = 76  # narrow letters on a line under the title
_CYCLE = 4.0  # width of a mains cycle in a panel of three seconds: a load's peaks are one line


def plot(recording: Recording, outlet: int, words: Texts, zone: datetime.tzinfo | None = None) -> str:
    """Return the SVG of `outlet`, which must be one of the recording's. For `zone` see `table.moment`."""
    scene = _Scene(recording, outlet, words)
    title = scene.title()
    drawn = [text(_MARGIN, 36, title, size=_TITLE_SIZE, weight=600)]
    top = 36
    for line in _facts(recording, scene.mark, words, zone):
        top += _LINE_SIZE + 7
        drawn.append(text(_MARGIN, top, line, size=_LINE_SIZE, colour="#374151"))
    top += 10
    for panel in scene.panels():
        svg, top = draw_panel(panel, top)
        drawn.append(svg)
    height = top + BOTTOM
    drawn.append(text(WIDTH / 2, height - 12, words("plot.legend"), anchor="middle", colour=_OTHER, size=14))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'xml:lang="{words.language}" font-family="{_FONTS}">\n'
        f"<title>{escape(plain_text.one_line(title), quote=False)}</title>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _facts(recording: Recording, mark: TripMark, words: Texts, zone: datetime.tzinfo | None) -> list[str]:
    """Return the lines under the title: time, fault and its numbers."""
    header = recording.header
    unsure = "" if header.clock_trusted else f" ({words('clock_not_synchronised')})"
    told = place(mark, words) + words("colon") + cause(mark, words)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in told)
    return [moment(header, zone) + unsure, *textwrap.wrap(told, _LETTERS - wide)]


class _Scene:
    """One outlet of a recording; times in seconds count from its trip, or from the first trip of another outlet."""

    def __init__(self, recording: Recording, outlet: int, words: Texts) -> None:
        header = recording.header
        self._outlet = outlet
        self._words = words
        self._recording = recording
        self._track = recording.tracks[outlet]
        self._limits = header.limits[outlet]
        self._limit_texts = limit_texts(self._limits, words)
        self.mark = next((mark for mark in header.marks if mark.outlet in (outlet, None)), header.marks[0])
        self._at_s = [(at_ns - self.mark.at_ns) / NS for at_ns in recording.at_ns]
        self._marks_s = [(mark.at_ns - self.mark.at_ns) / NS for mark in header.marks]
        self._period_s = header.period_ns / NS
        self._closed = self._spans(CLOSED)

    def title(self) -> str:
        if self.mark.outlet not in (self._outlet, None):
            return self._words("plot.title_other", outlet=self._outlet)
        return self._words("plot.title", outlet=self._outlet, fault=self._words(f"fault.{self.mark.fault.value}.name"))

    def panels(self) -> Iterator[Panel]:
        words, track = self._words, self._track
        ends_s = (min([-2.0, *self._at_s[:1]]), max([1.0, *self._at_s[-1:]]))
        whole = Axis(*ends_s, step_s=0.5, label_s=1)
        labelled = msgspec.structs.replace(whole, unit=words("plot.seconds"))
        close_up = Axis(-0.1, 0.1, step_s=0.02, label_s=0.001, unit=words("plot.milliseconds"))
        peak = StepLine(list(self._since(track.peak_ma)), _PEAK, filled=True)
        small = msgspec.structs.replace(peak, name=words("plot.peak"), thinnest=_CYCLE)
        rms = StepLine(list(self._held(track.current_ma)), _RMS, words("plot.rms"))
        power = StepLine(list(self._held(track.power_mw)), _RMS)
        voltage = StepLine(list(self._held(track.voltage_mv)), _RMS)
        contacts = StepLine(list(self._held(track.temperature_mc)), _PEAK, words("plot.contacts"))
        inside = StepLine(list(self._held(self._recording.inside_mc)), _OTHER, words("plot.inside"))
        yield self._panel("close_up", close_up, [peak], ["short_peak_ma", "hard_peak_ma"])
        yield self._panel("current", whole, [small, rms], ["rated_ma", "short_peak_ma", "hard_peak_ma"])
        yield self._panel("power", whole, [power], ["max_power_mw"])
        yield self._panel("voltage", whole, [voltage], ["lowest_mv", "highest_mv"], reach=math.inf)
        yield self._panel("temperature", labelled, [contacts, inside], ["warn_mc", "trip_mc"], reach=math.inf)

    def _panel(self, name: str, axis: Axis, lines: list[StepLine], limits: list[str], reach: float = REACH) -> Panel:
        fits_ma = reach * highest(lines, axis)
        drawn, beyond = [], []
        for limit in limits:
            value = getattr(self._limits, limit)
            if value <= fits_ma:
                drawn.append(Limit(value, self._limit_texts[limit]))
            else:
                beyond.append(self._limit_texts[limit])
        return Panel(
            title=self._words(f"plot.{name}"),
            note=self._words("plot.beyond", limits=self._words("comma").join(beyond)) if beyond else "",
            axis=axis,
            lines=lines,
            limits=drawn,
            closed=self._closed,
            marks_s=self._marks_s,
            mark_label=self._words("plot.trip") if name == "close_up" else "",
        )

    def _held(self, values: list[int | None]) -> Iterator[LineSegment]:
        """Yield each number from its row to the next: slow readings stay until they are renewed."""
        for index, value in enumerate(values):
            from_s = self._at_s[index]
            to_s = self._at_s[index + 1] if index + 1 < len(values) else from_s + self._period_s
            if to_s - from_s > GAP_PERIODS * self._period_s:
                yield LineSegment(from_s, from_s + self._period_s, value)
                yield LineSegment(from_s + self._period_s, to_s, None)
            else:
                yield LineSegment(from_s, to_s, value)

    def _since(self, values: list[int | None]) -> Iterator[LineSegment]:
        """Yield each number from the row before to its row: it is the highest value of that time."""
        for index, value in enumerate(values):
            to_s = self._at_s[index]
            from_s = self._at_s[index - 1] if index else to_s - self._period_s
            if to_s - from_s > GAP_PERIODS * self._period_s:
                yield LineSegment(from_s, to_s - self._period_s, None)
                from_s = to_s - self._period_s
            yield LineSegment(from_s, to_s, value)

    def _spans(self, flag: int) -> list[tuple[float, float]]:
        """Return the spans in which the flag was set."""
        spans: list[tuple[float, float]] = []
        for index, flags in enumerate(self._track.flags):
            if not flags & flag:
                continue
            to_s = self._at_s[min(index + 1, len(self._at_s) - 1)]
            if index and self._track.flags[index - 1] & flag:
                spans[-1] = (spans[-1][0], to_s)
            else:
                spans.append((self._at_s[index], to_s))
        return spans
