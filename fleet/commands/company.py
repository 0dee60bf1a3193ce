"""`fleet company`: property companies and their sites."""

import argparse

from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import audit, companies
from fleet.store.database import Connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A site group is the unit of staff rights: a login may be for some groups only.\n\n"
        "examples:\n"
        '  fleet company add "Green Court"\n'
        '  fleet company site "Green Court" --site "East gate" --group east --address "12 Garden Road"\n'
        "  fleet company list"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = options.add_action(actions, "add", "add a property company", company=False)
    add.add_argument("name", metavar="NAME")
    site = options.add_action(actions, "site", "add a site to a company", company=False)
    site.add_argument("name", metavar="NAME", help="of the company")
    site.add_argument("--site", required=True, metavar="NAME", help="as residents see it")
    site.add_argument("--group", default="", metavar="GROUP", help="site group, for staff rights (default: none)")
    site.add_argument("--address", default="", metavar="TEXT")
    site.add_argument("--timezone", default="Asia/Shanghai", metavar="ZONE", help="(default: Asia/Shanghai)")
    options.add_action(actions, "list", "list companies and their sites", company=False)


def main(args: argparse.Namespace) -> int:
    options.in_transaction(args, {"add": _add, "site": _site, "list": _list}[args.action](args))
    return 0


def _add(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company_id = await companies.add(connection, args.name)
        await audit.add(connection, company_id, options.operator(), "company_added", subject=args.name)

    return work


def _site(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        options.check_zone(args.timezone)
        company = await options.company_of(connection, args.name)
        await companies.add_site(connection, company.id, args.site, args.address, args.group, args.timezone)
        await audit.add(connection, company.id, options.operator(), "site_added", subject=args.site)

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        for company in await companies.everyone(connection):
            print(company.name)
            for site in await companies.sites(connection, company.id):
                print(f"  {site.name:<30} {site.site_group:<16} {site.timezone:<16} {site.address}")

    return work
