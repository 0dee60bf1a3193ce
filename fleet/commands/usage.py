"""`fleet usage`: export and verify the usage logs of all cabinets."""

import argparse
import asyncio
import itertools
import sys
import zoneinfo
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from cabinet import plain_text
from cabinet.clock import SystemClock, days_ms
from cabinet.errors import CabinetError
from cabinet.records import UsageRecord
from cabinet.reports import usage_csv, usage_xlsx
from cabinet.system import file_output
from cabinet.texts import LANGUAGES
from cabinet.uplink.anchors import Anchor, sign_anchor
from fleet import verify
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import companies, usage
from fleet.store.database import Connection
from fleet.store.usage import FleetUsageFilter, MirroredRecord
from fleet.trust import TrustFolder
from fleet.verify import VerifiedLogs

AT_A_TIME = 1000  # records


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "export streams: a million records need no more memory than a thousand.\n"
        "verify checks every record and closing again. Exit status 1 if one is not as it was written.\n\n"
        "examples:\n"
        '  fleet usage export --company "Green Court" --from 2026-11-01 --to 2026-11-30 --output november.csv\n'
        '  fleet usage export --company "Green Court" --format jsonl --cabinet c-garden-3\n'
        "  fleet usage verify\n"
        '  fleet usage alarms --company "Green Court"\n'
        '  fleet usage heads --company "Green Court" --cabinet c-garden-3 > heads.jsonl   for the cabinet\'s own verify'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = options.add_action(actions, "export", "one row a charge, by cabinet and number")
    export.add_argument("--format", choices=("csv", "xlsx", "jsonl"), default="csv", help="(default: csv)")
    options.add_days(export)
    export.add_argument("--cabinet", metavar="ID", help="of this cabinet only")
    export.add_argument("--site", metavar="NAME", help="of this site only")
    export.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0], help="language of the CSV's words")
    export.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    verifying = options.add_action(actions, "verify", "check all logs again", company=False)
    verifying.add_argument("--company", metavar="NAME", help="(default: all)")
    options.add_action(actions, "alarms", "problems that were found while records arrived")
    heads = options.add_action(actions, "heads", "number and hash of the last record of each epoch of a cabinet")
    heads.add_argument("--cabinet", required=True, metavar="ID")
    heads.add_argument("--sign", action="store_true", help="signed, for `cabinet usage verify --anchor FILE`")


def main(args: argparse.Namespace) -> int:
    problems: list[str] = []
    work = {"export": _export, "verify": _verify, "alarms": _alarms, "heads": _heads}[args.action](args, problems)
    options.in_transaction(args, work, snapshot=True)
    return 1 if problems else 0


def _export(args: argparse.Namespace, _: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        sites = {site.id: site for site in await companies.sites(connection, company.id)}
        named = [site for site in sites.values() if site.name == args.site]
        if args.site is not None and not named:
            raise CabinetError(f"{args.site}: there is no such site: fleet company list")
        zones = {number: zoneinfo.ZoneInfo(site.timezone) for number, site in sites.items()}
        zone = zones[named[0].id] if named else next(iter(zones.values()), zoneinfo.ZoneInfo("Asia/Shanghai"))
        from_unix_ms, to_unix_ms = days_ms(args.from_day, args.to_day, zone)
        wanted = FleetUsageFilter(
            cabinet=args.cabinet,
            site_id=named[0].id if named else None,
            from_unix_ms=from_unix_ms,
            to_unix_ms=to_unix_ms,
        )
        file_output.check_not_terminal(args.format, args.output)
        with file_output.output(args.output) as output:
            records = _parts(usage.all_records(connection, company.id, wanted), zones)
            if args.format == "xlsx":
                await _write_sheet(output, records, args.lang, zone)
            else:
                await _write_lines(output, records, args.format, args.lang)

    return work


async def _parts(
    records: AsyncIterator[MirroredRecord], zones: dict[int, zoneinfo.ZoneInfo]
) -> AsyncIterator[tuple[list[UsageRecord], zoneinfo.ZoneInfo]]:
    """Yield records of one zone together, `AT_A_TIME` at most."""
    part: list[UsageRecord] = []
    zone: zoneinfo.ZoneInfo | None = None
    async for each in records:
        own = zones[each.site_id]
        if zone is not None and (own != zone or len(part) >= AT_A_TIME):
            yield part, zone
            part = []
        zone = own
        part.append(each.record())
    if zone is not None:
        yield part, zone


async def _write_lines(
    output: BinaryIO, parts: AsyncIterator[tuple[list[UsageRecord], zoneinfo.ZoneInfo]], form: str, language: str
) -> None:
    if form == "csv":
        output.write((usage_csv.BOM + usage_csv.csv_line(usage_csv.header(language))).encode())
    async for records, zone in parts:
        if form == "csv":
            for line in usage_csv.csv_lines(records, language, zone, with_header=False):
                output.write(line.encode())
        else:
            for record in records:
                output.write(usage_csv.json_line(record))


async def _write_sheet(
    output: BinaryIO,
    parts: AsyncIterator[tuple[list[UsageRecord], zoneinfo.ZoneInfo]],
    language: str,
    zone: zoneinfo.ZoneInfo,
) -> None:
    """Write a spreadsheet: its writer takes the records in a thread, while they are read here."""
    loop = asyncio.get_running_loop()
    iterator = aiter(parts)

    async def part() -> list[UsageRecord]:
        found = await anext(iterator, None)
        return [] if found is None else found[0]

    def records() -> "itertools.chain[UsageRecord]":
        return itertools.chain.from_iterable(iter(lambda: asyncio.run_coroutine_threadsafe(part(), loop).result(), []))

    await asyncio.to_thread(
        file_output.copy_sheet, output, lambda path: usage_xlsx.write(path, records(), language, zone)
    )


def _verify(args: argparse.Namespace, problems: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        verified = VerifiedLogs()
        for company in await companies.everyone(connection):
            if args.company in (None, company.name):
                async for problem in verify.problems(connection, company.id, verified):
                    problems.append(str(problem))
                    print(problem)
        print(
            f"{verified.records} records of {verified.logs} logs, {verified.closings} closings:"
            f" {len(problems)} problems" if problems else
            f"{verified.records} records of {verified.logs} logs and {verified.closings} closings are as written"
        )  # fmt: skip

    return work


def _alarms(args: argparse.Namespace, problems: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        for alarm in await usage.log_alarms(connection, company.id, limit=100_000):
            line = (
                f"{alarm.raised.isoformat(' ', 'seconds')} {alarm.cabinet}, epoch {alarm.epoch}:"
                f" {alarm.kind} at {alarm.number}: {alarm.detail}"
            )
            problems.append(line)
            print(plain_text.one_line(line))

    return work


def _heads(args: argparse.Namespace, _: list[str]) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        found = await usage.heads(connection, company.id, args.cabinet)
        if args.sign:
            key = TrustFolder(Path(config.trust.folder)).signing_keys()[0]
            anchor = Anchor(args.cabinet, SystemClock().wall().unix_ms, found)
            sys.stdout.write(plain_text.json_text(sign_anchor(key, anchor)) + "\n")
            return
        for head in found:
            sys.stdout.write(plain_text.json_text(msgspec.json.encode(head)) + "\n")

    return work
