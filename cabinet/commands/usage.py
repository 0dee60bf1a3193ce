"""`cabinet usage`: the usage log as a file, and the proof that nobody has changed it."""

import argparse
import contextlib
import datetime
import shutil
import sys
import tempfile
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from cabinet import config as configuration
from cabinet import usage_sums, usage_table, usage_xlsx
from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.errors import CabinetError
from cabinet.service import admin
from cabinet.service.bill import SiteTime
from cabinet.service.ports import Signed, UsageFilter
from cabinet.store import closings, usage
from cabinet.store.database import Database
from cabinet.texts import LANGUAGES


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works while the service runs, and with the service down.\n\n"
        "examples:\n"
        "  cabinet usage export --format csv --from 2026-11-01 --to 2026-11-30 --output november.csv\n"
        "  cabinet usage export --format xlsx --output all.xlsx\n"
        "  cabinet usage export --group month\n"
        "  cabinet usage verify\n"
        "  cabinet usage closings > closings.jsonl; cabinet usage key > cabinet.key\n"
        "  cabinet usage verify --key $(cat cabinet.key) --closings closings.jsonl"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="one row a charge", description="One row a charge, in order.")
    add_config(export)
    export.add_argument("--format", choices=("csv", "xlsx", "jsonl"), default="csv", help="(default: csv)")
    export.add_argument("--from", dest="from_day", type=_day, metavar="DAY", help="first day by end of charge")
    export.add_argument("--to", dest="to_day", type=_day, metavar="DAY", help="last day, included")
    export.add_argument("--outlet", type=int, metavar="N", help="of this outlet only")
    export.add_argument("--group", choices=usage_sums.GROUPS, help="sums, one row a month, an outlet or a card")
    export.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0], help="language of the CSV's words")
    export.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    verify = actions.add_parser(
        "verify",
        help="find the first record that was changed",
        description="Exit status 0: the log is as it was written. 1: it is not; the first bad record is named.",
    )
    add_config(verify)
    verify.add_argument("--key", help="public key of this cabinet that you have kept (default: its own)")
    verify.add_argument(
        "--closings", type=Path, metavar="FILE", help="closings that you have kept, as they were listed"
    )
    listing = actions.add_parser(
        "closings",
        help="the signed closings of every month",
        description="One JSON object a line. Keep them elsewhere, with the key: they show a log rewritten as a whole.",
    )
    add_config(listing)
    key = actions.add_parser("key", help="the public key that closings are signed with", description="Base64, Ed25519.")
    add_config(key)


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2026-11-04") from None


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    path = admin.database_path(config)
    if not path.exists():
        raise CabinetError(f"{path}: there is no usage log yet; has `cabinet serve` run with this configuration?")
    database = Database(path, read_only=True)
    try:
        if args.action in ("verify", "closings"):
            _say_unclosed(database, config)
        if args.action == "verify":
            return _verify(database, config, args.key, args.closings)
        if args.action == "closings":
            with database.reading() as connection:
                for signed in closings.all_signed(connection):
                    print(msgspec.json.encode(signed).decode())
            return 0
        if args.action == "key":
            print(closings.public(closings.load_key(admin.key_path(config))))
            return 0
        if args.group is not None and args.format == "xlsx":
            raise CabinetError("sums come as csv or jsonl")
        if args.format == "xlsx" and args.output is None and sys.stdout.isatty():
            raise CabinetError("a spreadsheet is nothing for a terminal: give --output FILE")
        with _output(args.output) as output:
            _export(args, config, database, output)
    finally:
        database.close()
    return 0


def _say_unclosed(database: Database, config: Config) -> None:
    """On standard error, as the list itself goes to a file."""
    wall, site_time = SystemClock().wall(), SiteTime(config.site.timezone)
    month = site_time.month_before(wall)
    with database.reading() as connection:
        if month in closings.months_closed(connection):
            return
        if not closings.to_be_closed(connection, site_time.month_start_ms(wall)):
            return
    why = "the service does so within an hour, or its log says why not"
    if not wall.trusted:
        why = "the clock is not synchronised (timedatectl), so which month it is may be wrong"
    print(f"{month} is not closed yet: {why}", file=sys.stderr)


def _verify(database: Database, config: Config, key: str | None, kept: Path | None) -> int:
    with database.reading() as connection:
        found = usage.verify(connection)
        own = list(closings.all_signed(connection))
        signed = own + (_kept(kept) if kept is not None else [])
        if key is None and signed:
            key = closings.public(closings.load_key(admin.key_path(config)))
        broken = [(each, closings.problem_of(connection, each, key or "")) for each in signed]
    numbers = [each.closing.number for each in own]
    problems = [
        f"closing {number} is missing" for number in range(1, max(numbers, default=0) + 1) if number not in numbers
    ]
    problems += [f"closing of {each.closing.month}: {problem}" for each, problem in broken if problem is not None]
    if found.bad is not None:
        problems.insert(0, f"record {found.bad.number} is not as it was written: {found.bad.problem}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        closed = f", {len(signed)} closings hold" if signed else ""
        print(f"OK: {found.records} records, unbroken{closed}")
    return 1 if problems else 0


def _kept(path: Path) -> list[Signed]:
    try:
        return [msgspec.json.decode(line, type=Signed) for line in path.read_bytes().splitlines() if line]
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise CabinetError(f"{path}: is no list of closings: {error}") from error


def _export(args: argparse.Namespace, config: Config, database: Database, output: BinaryIO) -> None:
    site_time = SiteTime(config.site.timezone)
    from_ms = None if args.from_day is None else site_time.start_of_ms(args.from_day)
    to_ms = None if args.to_day is None else site_time.start_of_ms(args.to_day + datetime.timedelta(days=1))
    wanted, zone = UsageFilter(0, from_ms, to_ms, args.outlet), zoneinfo.ZoneInfo(config.site.timezone)
    with database.reading() as connection:
        if args.group is not None:
            sums = usage_sums.grouped(usage.figures_of(connection, wanted), args.group, zone)
            output.writelines(usage_sums.lines(sums, args.group, args.format, args.lang))
            return
        records = usage.found(connection, wanted)
        if args.format == "xlsx":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "usage.xlsx"
                usage_xlsx.write(path, records, args.lang, zone)
                with path.open("rb") as sheet:
                    shutil.copyfileobj(sheet, output)
        elif args.format == "jsonl":
            for record in records:
                output.write(usage_table.json_line(record))
        else:
            for line in usage_table.csv_lines(records, args.lang, zone):
                output.write(line.encode())


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there as a whole or not at all."""
    if path is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stderr.close()  # whoever read has seen enough, such as `head`
        return
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CabinetError(f"{path}: {error.strerror}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
