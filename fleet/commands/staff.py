"""`fleet staff`: logins of property companies."""

import argparse
import secrets

from cabinet.errors import CabinetError
from cabinet.records import ROLES
from cabinet.secret_hash import hash_secret
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import audit, staff
from fleet.store.database import Connection
from fleet.store.staff import FleetStaffRow


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Roles: operator (everything), accountant (money and audit), viewer (no names, no money).\n\n"
        "examples:\n"
        '  fleet staff add wang --company "Green Court" --role operator       prints the password\n'
        '  fleet staff add li --company "Green Court" --role viewer --group east --group west\n'
        '  fleet staff role li --company "Green Court" --role accountant\n'
        '  fleet staff password wang --company "Green Court"\n'
        '  fleet staff list --company "Green Court"'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = options.add_action(actions, "add", "add a login; prints its password, which is not kept")
    role = options.add_action(actions, "role", "change role and site groups of a login")
    password = options.add_action(actions, "password", "set and print a new password; signs the login out")
    remove = options.add_action(actions, "remove", "remove a login")
    for action in (add, role, password, remove):
        action.add_argument("name", metavar="NAME")
    for action in (add, role):
        action.add_argument("--role", choices=ROLES, required=True)
        action.add_argument("--group", action="append", default=[], metavar="GROUP", help="site group; none: all sites")
    options.add_action(actions, "list", "list the logins of a company")


def main(args: argparse.Namespace) -> int:
    work = {"add": _add, "role": _role, "password": _password, "remove": _remove, "list": _list}[args.action]
    options.in_transaction(args, work(args))
    return 0


def _add(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        password = secrets.token_urlsafe(12)
        await staff.add(connection, company.id, args.name, hash_secret(password), args.role, args.group)
        await audit.add(
            connection, company.id, options.operator(), "staff_add", subject=args.name, detail=args.role
        )  # fmt: skip
        print(password)

    return work


def _role(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        row = await _row(connection, args)
        await staff.set_role(connection, row.company_id, row.id, args.role)
        await staff.set_site_groups(connection, row.company_id, row.id, args.group)
        await audit.add(
            connection, row.company_id, options.operator(), "staff_role", subject=row.name, detail=args.role
        )  # fmt: skip

    return work


def _password(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        row = await _row(connection, args)
        password = secrets.token_urlsafe(12)
        await staff.set_password(connection, row.company_id, row.id, hash_secret(password))
        await audit.add(connection, row.company_id, options.operator(), "staff_password", subject=row.name)
        print(password)

    return work


def _remove(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        row = await _row(connection, args)
        await staff.remove(connection, row.company_id, row.id)
        await audit.add(connection, row.company_id, options.operator(), "staff_remove", subject=row.name)

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        for row in await staff.everyone(connection, company.id):
            print(f"{row.name:<24} {row.role:<11} {', '.join(row.site_groups) or 'all sites'}")

    return work


async def _row(connection: Connection, args: argparse.Namespace) -> FleetStaffRow:
    company = await options.company_of(connection, args.company)
    row = await staff.by_name(connection, company.id, args.name)
    if row is None:
        raise CabinetError(f"{args.name}: {args.company} has no such login: fleet staff list")
    return row
