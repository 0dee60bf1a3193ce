"""`cabinet usage`: export the usage log, and verify that it was not changed."""

import argparse
import base64
import contextlib
import re
import sqlite3
import sys
import zoneinfo
from pathlib import Path
from typing import BinaryIO

import msgspec
from nacl.signing import VerifyKey

from cabinet import config as configuration
from cabinet import normal_form, plain_text
from cabinet.clock import SystemClock, days_ms
from cabinet.commands.options import add_config, add_days
from cabinet.config import Config
from cabinet.errors import CabinetError, StoreError, os_error_at
from cabinet.link.uplink_protocol import keys_file, read_keys
from cabinet.records import SignedClosing, UsageFilter
from cabinet.reports import kept, usage_csv, usage_sums, usage_xlsx
from cabinet.service.accounts import admin
from cabinet.service.charges.pricing import SiteTime
from cabinet.store import month_closing, proof, usage
from cabinet.store.database import Database
from cabinet.system import file_output
from cabinet.texts import LANGUAGES
from cabinet.uplink.anchors import AnchorError, open_anchor


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works while the service runs, and with the service down.\n\n"
        "examples:\n"
        "  cabinet usage export --format csv --from 2026-11-01 --to 2026-11-30 --output november.csv\n"
        "  cabinet usage export --format xlsx --output all.xlsx\n"
        "  cabinet usage export --group month\n"
        "  cabinet usage verify\n"
        "  cabinet usage closings > closings.jsonl; cabinet usage key > cabinet.key\n"
        "  cabinet usage verify --key $(cat cabinet.key) --closings closings.jsonl\n"
        "  cabinet usage heads >> heads.jsonl; cabinet usage verify --heads heads.jsonl\n"
        "  cabinet usage verify --export november.xlsx\n"
        "  cabinet usage verify --anchor anchor.json\n"
        "  cabinet usage verify --receipt SG-1-00000042 '3f1c…'"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="one row a charge", description="One row a charge, in order.")
    add_config(export)
    export.add_argument("--format", choices=("csv", "xlsx", "jsonl"), default="csv", help="(default: csv)")
    add_days(export, "first day by end of charge")
    export.add_argument("--outlet", type=int, metavar="N", help="of this outlet only")
    export.add_argument("--group", choices=usage_sums.GROUPS, help="sums, one row a month, an outlet or a card")
    export.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0], help="language of the CSV's words")
    export.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    verify = actions.add_parser(
        "verify",
        help="find what was changed, cut off or made again",
        description=(
            "Exit status 0: the log is as it was written, and as everything that you give was kept. 1: it is not, or a"
            " file cannot be read; a line for each thing says what and where."
        ),
    )
    add_config(verify)
    verify.add_argument("--key", help="public key of this cabinet that you have kept (default: its own)")
    verify.add_argument(
        "--closings", type=Path, metavar="FILE", help="closings that you have kept, as they were listed"
    )
    verify.add_argument("--heads", type=Path, metavar="FILE", help="heads that you have kept, as they were listed")
    verify.add_argument(
        "--anchor", type=Path, metavar="FILE", help="heads signed by the fleet (fleet usage heads --sign)"
    )
    verify.add_argument("--export", type=Path, metavar="FILE", help="an export that you have kept: csv, xlsx or jsonl")
    verify.add_argument(
        "--receipt", nargs=2, metavar=("ORDER", "HASH"), help="a resident's receipt: order or record number, and hash"
    )
    listing = actions.add_parser(
        "closings",
        help="the signed closings of every month",
        description="One JSON object a line. Keep them elsewhere, with the key: they show a log rewritten as a whole.",
    )
    add_config(listing)
    heads = actions.add_parser(
        "heads",
        help="the last record of every day with its hash",
        description="One JSON object a line. Keep them elsewhere every day: they show an end that was cut off.",
    )
    add_config(heads)
    add_days(heads, "first day by end of charge")
    key = actions.add_parser("key", help="the public key that closings are signed with", description="Base64, Ed25519.")
    add_config(key)


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    path = admin.database_path(config)
    if not path.exists():
        raise CabinetError(f"{path}: there is no usage log yet; has `cabinet serve` run with this configuration?")
    zone = zoneinfo.ZoneInfo(config.site.timezone)
    with contextlib.closing(Database(path, read_only=True)) as database:
        if args.action in ("verify", "closings"):
            _say_unclosed(database, config)
        if args.action == "verify":
            return _verify(database, config, args)
        if args.action == "closings":
            with database.reading() as connection:
                for signed in month_closing.all_signed(connection):
                    print(plain_text.json_text(msgspec.json.encode(signed)))
            return 0
        if args.action == "heads":
            with database.reading() as connection:
                for head in proof.heads(connection, config.site, *days_ms(args.from_day, args.to_day, zone)):
                    print(plain_text.json_text(msgspec.json.encode(head)))
            return 0
        if args.action == "key":
            print(month_closing.public(month_closing.load_key(admin.key_path(config))))
            return 0
        if args.group is not None and args.format == "xlsx":
            raise CabinetError("sums come as csv or jsonl")
        file_output.check_not_terminal(args.format, args.output)
        with file_output.output(args.output) as output:
            _export(args, zone, database, output)
    return 0


def _say_unclosed(database: Database, config: Config) -> None:
    """Print the unclosed month on standard error, as the list itself goes to a file."""
    wall, site_time = SystemClock().wall(), SiteTime(config.site.timezone)
    month = site_time.month_before(wall)
    with database.reading() as connection:
        if month in month_closing.months_closed(connection):
            return
        if not month_closing.to_be_closed(connection, site_time.month_start_ms(wall)):
            return
    why = "the service does so within an hour, or its log says why not"
    if not wall.trusted:
        why = "the clock is not synchronised (timedatectl), so which month it is may be wrong"
    print(f"{month} is not closed yet: {why}", file=sys.stderr)


def _verify(database: Database, config: Config, args: argparse.Namespace) -> int:
    """Verify that the log is as it was written and as it was kept elsewhere. Return the exit status."""
    kept_closings = kept.closings(args.closings) if args.closings is not None else kept.KeptClosings([])
    marks = kept.heads(args.heads) if args.heads is not None else []
    marks += kept.export(args.export) if args.export is not None else []
    marks += _anchor(config, args.anchor) if args.anchor is not None else []
    with database.reading() as connection:
        found = usage.verify(connection)
        own = list(month_closing.all_signed(connection))
        key, problems = _trusted_key(config, args.key, own, kept_closings)
        problems += proof.compare_closings(connection, own, kept_closings.closings, key)
        if args.receipt is not None:
            marks.append(_receipt(connection, *args.receipt))
        compared, changed = proof.compare_records(connection, marks)
        changed += kept.changed_figures(connection, marks)
    problems += changed
    if found.bad is not None:
        problems.insert(0, f"record {found.bad.number} is not as it was written: {found.bad.problem}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        holding = len(own) + len(kept_closings.closings)
        closed = f", {holding} closings hold" if holding else ""
        as_kept = f", {compared} kept records are as they were" if compared else ""
        print(f"OK: {found.records} records, unbroken{closed}{as_kept}")
    return 1 if problems else 0


def _trusted_key(
    config: Config, given: str | None, own: list[SignedClosing], kept_closings: kept.KeptClosings
) -> tuple[str, list[str]]:
    """Return the public key that signatures of closings must match: the one given, else the one kept with the closings,
    else the cabinet's own; and the problems of the cabinet's own key if it differs from the one kept."""
    newest = max(kept_closings.closings, key=lambda signed: signed.closing.number, default=None)
    trusted = (given or "").strip() or kept_closings.key or ("" if newest is None else newest.closing.key)
    path = admin.key_path(config)
    if not trusted:
        return (month_closing.public(month_closing.load_key(path)) if own else ""), []
    try:
        path.stat()
        signs_with = month_closing.public(month_closing.load_key(path))
    except FileNotFoundError:
        return trusted, []  # this is a copy of the database on another computer
    except (OSError, StoreError) as error:
        return trusted, [f"what this cabinet signs with cannot be compared: {error}"]
    if signs_with == trusted:
        return trusted, []
    return trusted, [
        f"this cabinet signs with another key than the one kept: {signs_with} in {path}, kept {trusted}: put the file"
        " back from a backup, or, if you replaced it yourselves, keep the new key beside the old one"
    ]


def _anchor(config: Config, path: Path) -> list[proof.KeptRecord]:
    """Return the marks of heads that the cabinet's own fleet has signed. Raises CabinetError."""
    keys = read_keys(keys_file(Path(config.paths.state)))
    if keys is None:
        raise CabinetError("this cabinet is not enrolled at a fleet: there is no key to check the signature with")
    with os_error_at(path):
        content = path.read_bytes()
    trusted = {key.key_id: VerifyKey(base64.b64decode(key.public)) for key in keys.keys}
    try:
        anchor = open_anchor(content, trusted, keys.cabinet)
    except AnchorError as error:
        raise CabinetError(f"{path}: {error}") from error
    return [proof.KeptRecord(head.number, head.record_hash, f"{path.name}, {head.day}") for head in anchor.heads]


def _receipt(connection: sqlite3.Connection, which: str, record_hash: str) -> proof.KeptRecord:
    """Return the mark of a receipt, by order number or record number: both are on the receipt."""
    order, number = normal_form.order_number(which), normal_form.whole(which)
    if number is None:
        number = proof.number_of_order(connection, order)
    if number is None:
        raise CabinetError(f"the log here has no order {order}: is the receipt of this cabinet? if so, it was cut off")
    plain_hash = normal_form.spelling(record_hash).lower()
    if not re.fullmatch("[0-9a-f]{64}", plain_hash):
        raise CabinetError(f"{record_hash!r} is no hash: it has 64 digits and letters a to f, blanks as you like")
    return proof.KeptRecord(number, plain_hash, f"receipt of {order}")


def _export(args: argparse.Namespace, zone: zoneinfo.ZoneInfo, database: Database, output: BinaryIO) -> None:
    wanted = UsageFilter(0, *days_ms(args.from_day, args.to_day, zone), args.outlet)
    with database.reading() as connection:
        if args.group is not None:
            sums = usage_sums.grouped(usage.figures_of(connection, wanted), args.group, zone)
            output.writelines(usage_sums.lines(sums, args.group, args.format, args.lang))
            return
        records = usage.found(connection, wanted)
        if args.format == "xlsx":
            file_output.copy_sheet(output, lambda path: usage_xlsx.write(path, records, args.lang, zone))
        elif args.format == "jsonl":
            for record in records:
                output.write(usage_csv.json_line(record))
        else:
            for line in usage_csv.csv_lines(records, args.lang, zone):
                output.write(line.encode())
