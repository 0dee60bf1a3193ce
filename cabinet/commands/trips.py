"""`cabinet trips`: list, show and plot the flight recorder's recordings of trips."""

import argparse
import sys
import zoneinfo
from pathlib import Path

import msgspec

from cabinet import config as configuration
from cabinet import plain_text, texts
from cabinet.commands.options import add_config
from cabinet.console.terminal.columns import pad
from cabinet.errors import CabinetError
from cabinet.texts import Texts
from cabinet.trips import folder as trips_folder
from cabinet.trips import table
from cabinet.trips.format import Recording, TripFileError
from cabinet.trips.plot import plot

_GAP = "  "


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works while the guard runs, and on a folder copied from another cabinet.\n\n"
        "examples:\n"
        "  cabinet trips list\n"
        "  cabinet trips show 3 --outlet 4\n"
        "  cabinet trips plot 3 --out trip.svg"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every recorded trip, oldest first")
    show = actions.add_parser("show", help="the readings of one outlet around a trip, as a table")
    picture = actions.add_parser("plot", help="the same as a picture (SVG)")
    for action in (listing, show, picture):
        add_config(action)
        action.add_argument("--state", type=Path, metavar="DIR", help="state folder, in place of the configuration's")
        action.add_argument("--lang", choices=texts.LANGUAGES, default=texts.LANGUAGES[0], help="language of the words")
    for action in (show, picture):
        action.add_argument("number", type=int, metavar="N", help="of the recording, as listed")
        action.add_argument("--outlet", type=int, metavar="N", help="(default: the one that tripped)")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="for programs; show gives every row of the outlet")
    picture.add_argument("--out", type=Path, metavar="FILE", help="(default: trip-N.svg in this folder; -: to here)")


def main(args: argparse.Namespace) -> int:
    folder, zone = _where(args)
    words = Texts("trips", args.lang)
    try:
        if args.action == "list":
            _list(args, folder, zone, words)
            return 0
        recording = trips_folder.load(folder, args.number)
        outlet = _outlet(args, recording)
        if args.action == "show":
            _show(args, recording, outlet, zone, words)
        else:
            _plot(args, plot(recording, outlet, words, zone))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has ended, such as `head`
    return 0


def _where(args: argparse.Namespace) -> tuple[Path, zoneinfo.ZoneInfo | None]:
    """Return the folder of recordings and the site's zone; with `--state` the zone is None: this machine's."""
    if args.state is not None:
        return args.state / trips_folder.FOLDER, None
    config = configuration.load(args.config)
    return Path(config.paths.state) / trips_folder.FOLDER, zoneinfo.ZoneInfo(config.site.timezone)


def _outlet(args: argparse.Namespace, recording: Recording) -> int:
    outlet: int = table.lead_outlet(recording) if args.outlet is None else args.outlet
    if outlet not in recording.tracks:
        raise CabinetError(f"--outlet {outlet}: the recording has {', '.join(map(str, recording.tracks))}")
    return outlet


def _list(args: argparse.Namespace, folder: Path, zone: zoneinfo.ZoneInfo | None, words: Texts) -> None:
    try:
        numbers = trips_folder.numbers(folder)
    except OSError as error:
        raise CabinetError(f"{folder}: cannot be read ({error.strerror})") from error
    if args.json:
        print(_json([_entry(folder, number) for number in numbers]))
        return
    for number in numbers:
        try:
            recording = trips_folder.load(folder, number)
        except TripFileError as error:
            print(f"{number:6d}{_GAP}{error}")
            continue
        when = _when(recording, zone, words)
        for mark in recording.header.marks:
            print(f"{number:6d}{_GAP}{when}{_GAP}{pad(table.place(mark, words), 10)}{_GAP}{table.cause(mark, words)}")
    if not numbers:
        print(words("nothing", folder=folder))


def _entry(folder: Path, number: int) -> dict[str, object]:
    """Return one recording for programs; if it is damaged, only its number and the error."""
    try:
        header = trips_folder.load(folder, number).header
    except TripFileError as error:
        return {"number": number, "error": str(error)}
    return {
        "number": number,
        "unix_ms": header.unix_ms,
        "clock_trusted": header.clock_trusted,
        "unrecorded": header.unrecorded,
        "trips": header.marks,
    }


def _show(
    args: argparse.Namespace, recording: Recording, outlet: int, zone: zoneinfo.ZoneInfo | None, words: Texts
) -> None:
    header = recording.header
    if args.json:
        rows = {"at_ns": recording.at_ns, "inside_mc": recording.inside_mc, "outlet": recording.tracks[outlet]}
        print(_json({"number": args.number, "outlet": outlet, "header": header, "rows": rows}))
        return
    print(_when(recording, zone, words))
    for mark in header.marks:
        print(f"{table.place(mark, words)}{_GAP}{table.cause(mark, words)}")
    print(words("limits", limits=words("comma").join(table.limit_texts(header.limits[outlet], words).values())))
    if header.unrecorded:
        print(words("unrecorded", count=header.unrecorded))
    print()
    print(words("outlet", outlet=outlet))
    for cells in table.rows(recording, outlet, words):
        print(_GAP.join(pad(cell, -8) for cell in cells))


def _when(recording: Recording, zone: zoneinfo.ZoneInfo | None, words: Texts) -> str:
    header = recording.header
    unsure = "" if header.clock_trusted else f" ({words('clock_not_synchronised')})"
    return table.moment(header, zone) + unsure


def _plot(args: argparse.Namespace, svg: str) -> None:
    out = args.out or Path(f"trip-{args.number}.svg")
    if str(out) == "-":
        print(svg, end="")
        return
    try:
        out.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise CabinetError(f"{out}: cannot be written ({error.strerror})") from error
    print(out)


def _json(value: object) -> str:
    return plain_text.json_text(msgspec.json.encode(value))
