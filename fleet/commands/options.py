"""Parts shared by several sub-commands: arguments, and a transaction of the database."""

import argparse
import asyncio
import datetime
import getpass
import zoneinfo
from collections.abc import Awaitable, Callable

from psycopg import IsolationLevel

from cabinet import normal_form
from cabinet.errors import CabinetError, Refused
from cabinet.texts import LANGUAGES, table
from fleet import config as configuration
from fleet.config import FleetConfig
from fleet.store import cabinets, companies, database, residents
from fleet.store.companies import CompanyRow
from fleet.store.database import Connection
from fleet.store.residents import FleetResidentRow

Work = Callable[[Connection, FleetConfig], Awaitable[None]]


def add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, *, company: bool = True
) -> argparse.ArgumentParser:
    """Add the action of a command with `--config`, and with `--company` unless it concerns all."""
    action = actions.add_parser(name, help=summary, description=summary)
    configuration.add_config(action)
    if company:
        action.add_argument("--company", required=True, metavar="NAME")
    return action


def add_resident(action: argparse.ArgumentParser) -> None:
    """Add the arguments that name one resident."""
    named = action.add_mutually_exclusive_group(required=True)
    named.add_argument("--phone", metavar="NUMBER")
    named.add_argument("--card", metavar="CARD")
    named.add_argument("--resident", type=int, metavar="ID")


def add_cabinets(action: argparse.ArgumentParser) -> None:
    """Add `--cabinet ID` and `--site NAME`, which choose among the cabinets of the company."""
    action.add_argument("--cabinet", action="append", metavar="ID", help="only these (default: all)")
    action.add_argument("--site", metavar="NAME", help="only those of this site")


def add_days(action: argparse.ArgumentParser) -> None:
    """Add `--from DAY` and `--to DAY`, by the end of a charge."""
    action.add_argument("--from", dest="from_day", type=_day, metavar="DAY", help="first day, by the end of a charge")
    action.add_argument("--to", dest="to_day", type=_day, metavar="DAY", help="last day, included")


def _day(text: str) -> datetime.date:
    found = normal_form.day(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2026-11-04")
    return found


def in_transaction(args: argparse.Namespace, work: Work, *, snapshot: bool = False) -> None:
    """Run `work` in one transaction of the configured database; a refusal becomes its sentence.

    With `snapshot`, all its queries read the same moment.
    """

    async def body() -> None:
        config = configuration.load(args.config)
        async with await database.connect(config.database.url) as connection:
            await database.check_version(connection)
            await connection.commit()
            if snapshot:
                await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await work(connection, config)

    try:
        asyncio.run(body())
    except Refused as refused:
        sentence = table("common", LANGUAGES[-1]).get(f"refusal.{refused.code}", refused.code)
        raise CabinetError(sentence) from refused


def check_zone(name: str) -> None:
    """Raise CabinetError unless `name` is an IANA zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise CabinetError(f"{name}: there is no such time zone, such as Asia/Shanghai") from None


async def company_of(connection: Connection, name: str) -> CompanyRow:
    """Return the company with this name. Raises CabinetError."""
    company = await companies.by_name(connection, name)
    if company is None:
        raise CabinetError(f"{name}: there is no such company: fleet company list")
    return company


async def cabinets_of(connection: Connection, company_id: int, args: argparse.Namespace) -> list[str]:
    """Return the cabinets that `add_cabinets` chooses. Raises CabinetError."""
    site_id = None
    if args.site is not None:
        site = await companies.site_by_name(connection, company_id, args.site)
        if site is None:
            raise CabinetError(f"{args.site}: there is no such site: fleet company list")
        site_id = site.id
    page = await cabinets.listed(connection, company_id, site_id=site_id, limit=1_000_000)
    found = [row.id for row in page.cabinets]
    if args.cabinet is None:
        return found
    if missing := set(args.cabinet) - set(found):
        raise CabinetError(f"{', '.join(sorted(missing))}: no such cabinet: fleet cabinet list")
    return [cabinet for cabinet in found if cabinet in args.cabinet]


async def resident_of(connection: Connection, company_id: int, args: argparse.Namespace) -> FleetResidentRow:
    """Return the resident that the arguments name. Raises CabinetError."""
    if args.phone is not None:
        found, word = await residents.by_phone(connection, company_id, args.phone), args.phone
    elif args.card is not None:
        found, word = await residents.by_card(connection, company_id, args.card), args.card
    else:
        found, word = await residents.get(connection, company_id, args.resident), str(args.resident)
    if found is None:
        raise CabinetError(f"{word}: {args.company} has no such resident")
    return found


def operator() -> str:
    """Return the name of the account that runs the command, for the audit log."""
    return getpass.getuser()
