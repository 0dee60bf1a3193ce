"""`cabinet staff`: manage logins to the property's pages, and tokens for programs that read its API."""

import argparse
import contextlib

from cabinet import config as configuration
from cabinet import normal_form
from cabinet.clock import SystemClock
from cabinet.commands.options import AS_SERVICE, add_action
from cabinet.plain_text import one_line
from cabinet.records import ROLES
from cabinet.service.accounts import admin
from cabinet.service.ports import SCOPES
from cabinet.store.database import Database


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Passwords and tokens are printed once and stored as hashes only. Works while the service runs.\n"
        f"{AS_SERVICE}\n\n"
        "examples:\n"
        "  cabinet staff add office\n"
        "  cabinet staff add accounts --role accountant\n"
        "  cabinet staff token accounting --scope usage:read\n"
        "  cabinet staff revoke accounting\n"
        "  cabinet staff one-step office\n"
        "  cabinet staff list"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = add_action(actions, "add", "a login of the property company's pages; its password is printed once")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role",
        choices=ROLES,
        default=ROLES[0],
        help="operator: everything; accountant: residents' money, audit log; viewer: figures (default: operator)",
    )
    add.add_argument("--password", help="at least 10 characters (default: a random one)")
    token = add_action(actions, "token", "a token of the API for one program; it is printed once")
    token.add_argument("name", metavar="NAME", help="the program that will use it")
    token.add_argument(
        "--scope", action="append", choices=SCOPES, required=True, help="what it may do; may be given again"
    )
    token.add_argument("--days", type=int, default=admin.TOKEN_DAYS, help="how long it is good (default: %(default)s)")
    add_action(actions, "revoke", "remove the login and the token of that name").add_argument("name", metavar="NAME")
    one_step = add_action(actions, "one-step", "switch off two-step sign-in of a login whose phone is lost")
    one_step.add_argument("name", metavar="NAME")
    add_action(actions, "list", "logins and tokens")


def main(args: argparse.Namespace) -> int:
    with contextlib.closing(admin.open_database(configuration.load(args.config))) as database:
        _do(args, database)
    return 0


def _do(args: argparse.Namespace, database: Database) -> None:
    clock, name = SystemClock(), normal_form.text(getattr(args, "name", ""))
    if args.action == "add":
        print(f"login {name}, password {admin.add_staff(database, clock, args.name, args.password, args.role)}")
    elif args.action == "token":
        scopes = tuple(dict.fromkeys(args.scope))
        print(
            f"token for {name} ({', '.join(scopes)}): {admin.add_token(database, clock, args.name, scopes, args.days)}"
        )
    elif args.action == "revoke":
        print(f"{name}: {' and '.join(admin.revoke(database, args.name))} removed")
    elif args.action == "one-step":
        admin.switch_off_second_factor(database, clock, args.name)
        print(f"{name}: signs in with the password alone now")
    else:
        staff, tokens = admin.list_staff(database)
        for each in staff:
            print(f"login  {one_line(each.name)}, {each.role}")
        for token in tokens:
            left = -((clock.wall().unix_ms - token.expires_unix_ms) // 86_400_000)
            until = f"{left} days left" if left > 0 else "expired"
            print(f"token  {one_line(token.name)} ({', '.join(token.scopes)}), {until}")
        if not staff and not tokens:
            print("no logins and no tokens yet: cabinet staff add NAME")
