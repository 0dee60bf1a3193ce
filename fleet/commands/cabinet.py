"""`fleet cabinet`: add, list and revoke cabinets; make enrolment codes."""

import argparse
import asyncio
import datetime
import getpass
import ssl
from pathlib import Path

import msgspec

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError, Refused
from cabinet.uplink.messages import CabinetId
from fleet import config as configuration
from fleet import enrolment, revocation
from fleet.broker import BrokerFolder
from fleet.config import FleetConfig
from fleet.revocation import FleetEndpoint
from fleet.store import audit, cabinets, certificates, companies, database, outlet_codes
from fleet.store.cabinets import CabinetRow
from fleet.store.database import Connection
from fleet.trust import TrustFolder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A code is good once, for trust.code_hours. Type it at the cabinet's console (uplink enrol CODE), or there:\n"
        "cabinet uplink enrol CODE --fleet https://...\n\n"
        "examples:\n"
        '  fleet cabinet add c-garden-3 --company "Green Court" --site "East gate"\n'
        "  fleet cabinet list\n"
        "  fleet cabinet code c-garden-3        another code: it expired, or the cabinet got a new card\n"
        "  fleet cabinet codes c-garden-3 C5T1 C5T2   it has two more outlets\n"
        "  fleet cabinet revoke c-garden-3      stolen or sold: its connection is closed at once"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _action(actions, "add", "add a cabinet to a site, and make its enrolment code")
    add.add_argument("cabinet", metavar="ID", help="small letters, digits and -; in its certificate, for ever")
    add.add_argument("--company", required=True, metavar="NAME")
    add.add_argument("--site", required=True, metavar="NAME")
    add.add_argument("--name", metavar="TEXT", help="as people see it (default: the id)")
    add.add_argument(
        "--code", action="append", default=[], metavar="CODE", help="printed code of an outlet, and no other"
    )
    listed = _action(actions, "list", "list the cabinets: connection, last message, end of the certificate")
    listed.add_argument("--company", metavar="NAME", help="(default: all)")
    listed.add_argument("--revoked", action="store_true", help="revoked ones too")
    code = _action(actions, "code", "make another enrolment code; earlier unused ones are void")
    code.add_argument("cabinet", metavar="ID")
    code.add_argument("--restore", action="store_true", help="also for a revoked cabinet, which it lets in again")
    codes = _action(actions, "codes", "give printed codes of outlets to a cabinet, or list those that it has")
    codes.add_argument("cabinet", metavar="ID")
    codes.add_argument("codes", nargs="*", metavar="CODE")
    codes.add_argument("--take-away", action="store_true", help="take them from it instead")
    revoke = _action(actions, "revoke", "refuse a cabinet from now on, and close its connection")
    revoke.add_argument("cabinet", metavar="ID")


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=summary)
    configuration.add_config(action)
    return action


def main(args: argparse.Namespace) -> int:
    return asyncio.run(_main(args, configuration.load(args.config)))


async def _main(args: argparse.Namespace, config: FleetConfig) -> int:
    async with await database.connect(config.database.url, autocommit=True) as connection:
        await database.check_version(connection)
        if args.action == "add":
            await _add(connection, config, args)
        elif args.action == "list":
            await _list(connection, args)
        elif args.action == "codes":
            await _codes(connection, args)
        elif args.action == "code":
            await _code(connection, config, args)
        else:
            return await _revoke(connection, config, args.cabinet)
    return 0


async def _add(connection: Connection, config: FleetConfig, args: argparse.Namespace) -> None:
    try:
        msgspec.convert(args.cabinet, CabinetId)
    except msgspec.ValidationError:
        raise CabinetError(f"{args.cabinet}: an id has 3 to 32 small letters, digits and -") from None
    company = await companies.by_name(connection, args.company)
    if company is None:
        raise CabinetError(f"{args.company}: there is no such company: fleet company list")
    site = await companies.site_by_name(connection, company.id, args.site)
    if site is None:
        raise CabinetError(f"{args.site}: {args.company} has no such site: fleet company list")
    try:
        async with connection.transaction():
            await cabinets.add(connection, company.id, site.id, args.cabinet, args.name or args.cabinet)
            await audit.add(connection, company.id, getpass.getuser(), "cabinet_added", subject=args.cabinet)
            if args.code:
                await _give(connection, company.id, args.cabinet, args.code)
    except Refused:
        raise CabinetError(f"{args.cabinet}: this id is in use") from None
    print(await enrolment.make_code(connection, args.cabinet, _code_life(config)))


async def _list(connection: Connection, args: argparse.Namespace) -> None:
    company = None
    if args.company is not None:
        company = await companies.by_name(connection, args.company)
        if company is None:
            raise CabinetError(f"{args.company}: there is no such company: fleet company list")
    for row in await cabinets.everyone(connection, with_revoked=args.revoked):
        if company is None or row.company_id == company.id:
            newest = next(iter(await certificates.of_cabinet(connection, row.id)), None)
            until = "-" if newest is None else newest.not_after.date().isoformat()
            heard = "-" if row.heard is None else row.heard.isoformat(" ", "seconds")
            print(f"{row.id:<32} {_condition(row, newest is not None):<12} {heard:<25} {until:<10} {row.site}")


def _condition(row: CabinetRow, enrolled: bool) -> str:
    if row.revoked is not None:
        return "revoked"
    if not enrolled:
        return "not enrolled"
    return "online" if row.online else "offline"


async def _code(connection: Connection, config: FleetConfig, args: argparse.Namespace) -> None:
    row = await _cabinet(connection, args.cabinet)
    if row.revoked is not None and not args.restore:
        raise CabinetError(f"{row.id}: is revoked; a code lets it in again: --restore")
    code = await enrolment.make_code(connection, row.id, _code_life(config))
    async with connection.transaction():
        await audit.add(connection, row.company_id, getpass.getuser(), "cabinet_code", subject=row.id)
    print(code)


async def _codes(connection: Connection, args: argparse.Namespace) -> None:
    row = await _cabinet(connection, args.cabinet)
    if args.codes:
        async with connection.transaction():
            if args.take_away:
                await outlet_codes.take_away(connection, row.company_id, row.id, args.codes)
            else:
                await _give(connection, row.company_id, row.id, args.codes)
    print(" ".join(await outlet_codes.given(connection, row.company_id, row.id)) or "none yet: its first connection")


async def _give(connection: Connection, company_id: int, cabinet: str, codes: list[str]) -> None:
    try:
        await outlet_codes.give(connection, company_id, cabinet, codes)
    except Refused:
        raise CabinetError(f"{' '.join(codes)}: one of them is another cabinet's") from None
    await audit.add(connection, company_id, getpass.getuser(), "codes_given", subject=cabinet, detail=" ".join(codes))


async def _revoke(connection: Connection, config: FleetConfig, cabinet: str) -> int:
    """Return 0 if the connection is closed for certain."""
    row = await _cabinet(connection, cabinet)
    await revocation.revoke(connection, row.company_id, row.id, getpass.getuser())
    trust, folder = TrustFolder(Path(config.trust.folder)), BrokerFolder(Path(config.broker.folder))
    now = datetime.datetime.fromtimestamp(SystemClock().wall().unix_ms / 1000, datetime.UTC)
    if not await revocation.publish_list(connection, trust, folder, now):
        print(f"{folder.path / 'crl.pem'} is new: have the broker read it (systemctl reload, or SIGHUP)")
    if await revocation.close_connection(endpoint(config), row.id):
        print(f"{row.id}: revoked; it has no connection")
        return 0
    print(f"{row.id}: revoked, but it connects again: the broker has not read the revocation list")
    return 1


def endpoint(config: FleetConfig) -> FleetEndpoint:
    """Return the broker's listener for the fleet's own processes."""
    broker = config.broker

    def tls() -> ssl.SSLContext | None:
        if not broker.ca:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(broker.ca)
        context.load_cert_chain(broker.certificate, broker.key)
        return context

    return FleetEndpoint(broker.host, broker.port, tls)


async def _cabinet(connection: Connection, cabinet: str) -> CabinetRow:
    for row in await cabinets.everyone(connection, with_revoked=True):
        if row.id == cabinet:
            return row
    raise CabinetError(f"{cabinet}: there is no such cabinet: fleet cabinet list --revoked")


def _code_life(config: FleetConfig) -> datetime.timedelta:
    return datetime.timedelta(hours=config.trust.code_hours)
