"""A recording in words and numbers: the fault, its time, and a table of one outlet's readings around it. Pure."""

import datetime
from bisect import bisect_left
from collections.abc import Iterable

from cabinet.clock import MS
from cabinet.texts import Texts
from cabinet.texts.trip_values import trip_values_text
from cabinet.trips.format import CLOSED, Header, OutletLimits, Recording, TripMark

COLUMNS = ("time_ms", "state", "peak", "current", "power", "voltage", "temperature")

# (distance from the trip, length of a line): every scan around the trip, a few lines a second elsewhere
_DENSITY_MS = ((30, 0), (200, 20), (3000, 250))


def moment(header: Header, zone: datetime.tzinfo | None) -> str:
    """Return the time of the first trip, by the site's clock (`zone` None: this machine's)."""
    at = datetime.datetime.fromtimestamp(header.unix_ms / 1000, datetime.UTC).astimezone(zone)
    return at.isoformat(" ", "seconds")[:19]


def place(mark: TripMark, words: Texts) -> str:
    return words("cabinet") if mark.outlet is None else words("outlet", outlet=mark.outlet)


def cause(mark: TripMark, words: Texts) -> str:
    """Return the fault, "latched" if it is, and the numbers: "Short circuit, latched: peak 61.2 A, limit 30 A"."""
    name = words(f"fault.{mark.fault.value}.name")
    latched = words("comma") + words("latched") if mark.latched else ""
    return name + latched + (words("colon") + trip_values_text(mark.why, words) if mark.why else "")


def limit_texts(limits: OutletLimits, words: Texts) -> dict[str, str]:
    """Return every limit with its name and unit."""
    return {
        name: words(f"limit.{name}", value=f"{getattr(limits, name) / 1000:g}") for name in limits.__struct_fields__
    }


def lead_outlet(recording: Recording) -> int:
    """Return the outlet to show first: the one that tripped, or for the whole cabinet the one with the most current."""
    for mark in recording.header.marks:
        if mark.outlet in recording.tracks:
            return mark.outlet
    return max(recording.tracks, key=lambda outlet: max(_numbers(recording.tracks[outlet].peak_ma), default=0))


def rows(recording: Recording, outlet: int, words: Texts) -> list[list[str]]:
    """Return the table: titles first, then a line a scan close to the trip and a line a quarter second elsewhere.

    If a line covers several scans, it has the highest peak of them and the newest of all other values.
    """
    track = recording.tracks[outlet]
    zero_ns = recording.header.marks[0].at_ns
    table = [[words(f"column.{name}") for name in COLUMNS]]
    for first, last in _lines(recording.at_ns, zero_ns):
        closed = track.flags[last] & CLOSED
        table.append(
            [
                f"{(recording.at_ns[last] - zero_ns) / MS:.1f}",
                words("relay.closed" if closed else "relay.open"),
                _figure(max(_numbers(track.peak_ma[first : last + 1]), default=None), 2, words),
                _figure(track.current_ma[last], 3, words),
                _figure(track.power_mw[last], 1, words),
                _figure(track.voltage_mv[last], 1, words),
                _figure(track.temperature_mc[last], 1, words),
            ]
        )
    return table


def _lines(at_ns: list[int], zero_ns: int) -> Iterable[tuple[int, int]]:
    """Yield the first and last row of each line of the table."""
    first = 0
    while first < len(at_ns):
        from_ms = (at_ns[first] - zero_ns) / MS
        line_ms = next((line_ms for far_ms, line_ms in _DENSITY_MS if abs(from_ms) <= far_ms), _DENSITY_MS[-1][1])
        end_ns = at_ns[first] + line_ms * MS
        closer_ns = [zero_ns - far_ms * MS for far_ms, _ in _DENSITY_MS if from_ms < -far_ms]
        end = bisect_left(at_ns, min([end_ns, *closer_ns]))
        yield first, max(first, end - 1)
        first = max(first, end - 1) + 1


def _figure(value: int | None, decimals: int, words: Texts) -> str:
    return words("unknown") if value is None else f"{value / 1000:.{decimals}f}"


def _numbers(values: list[int | None]) -> list[int]:
    return [value for value in values if value is not None]
