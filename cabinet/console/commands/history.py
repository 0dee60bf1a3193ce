"""History: `trips`, `trip N`, `log`, `audit`."""

import contextlib

from cabinet.clock import MS, WallTime
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, optional, whole
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.commands.chart import chart
from cabinet.console.terminal.columns import GAP, fold, pad, table
from cabinet.errors import Refused, os_error_at
from cabinet.link.service_protocol import MAX_LINES, AskAudit, AuditAnswer
from cabinet.model import Event
from cabinet.texts import Texts, number_format
from cabinet.texts.trip_values import trip_values_text
from cabinet.trips import folder as trips_folder
from cabinet.trips import table as trip_table
from cabinet.trips.format import Recording, TripFileError

COUNT = whole("count", 1, MAX_LINES)
USUAL = 20
CLOSE_MS = 100  # range of a trip's chart, before and after the trip
TABLE_ROWS = 24  # rows of a recording shown: those nearest to the trip


@command("trips", Level.LOOK, optional(COUNT), example="trips", reads=True)
def trips(context: CommandContext, count: int | None) -> CommandResult:
    folder, words = context.state_folder / trips_folder.FOLDER, _trip_words(context)
    with os_error_at(folder):
        numbers = trips_folder.numbers(folder)[-(count or USUAL) :]
    rows, data = [], []
    for number in numbers:
        try:
            recording = trips_folder.load(folder, number)
        except TripFileError as error:
            rows.append([str(number), "", "", str(error)])
            data.append({"number": number, "error": str(error)})
            continue
        header = recording.header
        when = trip_table.moment(header, context.zone) + ("" if header.clock_trusted else " ?")
        for mark in header.marks:
            rows.append([str(number), when, trip_table.place(mark, words), trip_table.cause(mark, words)])
        data.append(
            {
                "number": number,
                "unix_ms": header.unix_ms,
                "clock_trusted": header.clock_trusted,
                "trips": header.marks,
            }
        )
    if not rows:
        return Output(context.words("trips.none"), [])
    titles = [context.words(f"trips.{key}") for key in ("number", "when", "where", "cause")]
    return Output("\n".join(table(titles, rows, right=[0])), data)


@command("trip", Level.LOOK, whole("trip", 1, 999_999), optional(OUTLET), example="trip 1", reads=True)
def trip(context: CommandContext, number: int, outlet: int | None) -> CommandResult:
    """Show a trip: its numbers, a chart of its peaks, and the rows nearest to it."""
    folder, words = context.state_folder / trips_folder.FOLDER, _trip_words(context)
    if not trips_folder.path_of(folder, number).exists():
        raise Refused("unknown_trip")
    recording = trips_folder.load(folder, number)
    shown = trip_table.lead_outlet(recording) if outlet is None else outlet
    if shown not in recording.tracks:
        raise Refused("unknown_outlet", outlet=shown)
    header, track = recording.header, recording.tracks[shown]
    lines = [
        trip_table.moment(header, context.zone)
        + ("" if header.clock_trusted else f" ({words('clock_not_synchronised')})")
    ]
    for mark in header.marks:
        lines += fold(f"{trip_table.place(mark, words)}{GAP}{trip_table.cause(mark, words)}")
    limits = words("comma").join(trip_table.limit_texts(header.limits[shown], words).values())
    lines += [*fold(words("limits", limits=limits)), "", context.words("trip.chart", outlet=shown)]
    lines += _chart(recording, shown)
    lines += ["", *_rows(recording, shown, words)]
    rows = {"at_ns": recording.at_ns, "inside_mc": recording.inside_mc, "outlet": track}
    return Output("\n".join(lines), {"number": number, "outlet": shown, "header": header, "rows": rows})


@command("log", Level.LOOK, optional(COUNT), example="log", reads=True)
def log(context: CommandContext, count: int | None) -> CommandResult:
    """Show the guard's own events, which it keeps even if the service is down."""
    recent = context.guard.recent()
    events = recent.events[-(count or USUAL) :]
    wall = context.clock.wall()
    lines, data = [], []
    for event in events:
        at = WallTime(wall.unix_ms - (recent.at_ns - event.at_ns) // MS, wall.trusted)
        lines += fold(f"{moment(context, at)}{GAP}{_told(event, context.words)}")
        data.append({"unix_ms": at.unix_ms, "trusted": at.trusted, "event": event})
    return Output("\n".join(lines) if lines else context.words("log.none"), data)


@command("audit", Level.SERVICE, optional(COUNT), example="audit", reads=True)
def audit(context: CommandContext, count: int | None) -> CommandResult:
    """Show the audit log of the console and the web pages: time, person, action, outcome."""
    found = context.backends.records.ask(AskAudit(count or USUAL), AuditAnswer)
    rows = []
    for line in found.lines:
        what = line.subject if line.action == "console" else f"{line.action} {line.subject}"
        rows.append([moment(context, line.at), line.who, what, line.detail])
    titles = [context.words(f"audit.{key}") for key in ("when", "who", "what", "outcome")]
    return Output("\n".join(table(titles, rows)) if rows else context.words("log.none"), found.lines)


def moment(context: CommandContext, at: WallTime) -> str:
    """Return date and time in the site's time zone; with a question mark if the clock was not trusted."""
    return number_format.local(at, context.zone).isoformat(" ", "seconds")[:19] + ("" if at.trusted else " ?")


def _told(event: Event, words: Texts) -> str:
    """Return an event as one line in the reader's language."""
    place = words("log.cabinet") if event.outlet is None else words("outlet.title", outlet=event.outlet)
    parts = [place, words(f"event.{event.kind.value}")]
    if event.fault is not None:
        parts.append(words(f"fault.{event.fault.value}.name") + (words("latched_mark") if event.latched else ""))
    if event.reason is not None:
        parts.append(words(f"end_reason.{event.reason.value}"))
    if event.why:
        with contextlib.suppress(KeyError):
            parts.append(trip_values_text(event.why, words))
    if event.who:
        parts.append(event.who)
    return GAP.join(parts)


def _trip_words(context: CommandContext) -> Texts:
    return Texts("trips", context.words.language)


def _chart(recording: Recording, outlet: int) -> list[str]:
    zero_ns = recording.header.marks[0].at_ns
    peaks = recording.tracks[outlet].peak_ma
    points = [
        ((at_ns - zero_ns) / MS, value / 1000)
        for at_ns, value in zip(recording.at_ns, peaks, strict=True)
        if value is not None and abs(at_ns - zero_ns) <= CLOSE_MS * MS
    ]
    return chart(points, -CLOSE_MS, CLOSE_MS, "A", "ms", recording.header.limits[outlet].short_peak_ma / 1000)


def _rows(recording: Recording, outlet: int, words: Texts) -> list[str]:
    titles, *rows = trip_table.rows(recording, outlet, words)
    nearest = min(range(len(rows)), key=lambda index: abs(float(rows[index][0])), default=0)
    first = max(0, nearest - TABLE_ROWS // 2)
    return [GAP.join(pad(cell, -8) for cell in row) for row in [titles, *rows[first : first + TABLE_ROWS]]]
