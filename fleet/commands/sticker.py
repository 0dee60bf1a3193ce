"""`fleet sticker`: address and text that cabinets print on their stickers."""

import argparse

from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import audit, desired
from fleet.store.database import Connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "`cabinet stickers` prints them, at the cabinet. Its own pages keep the address of cabinet.toml.\n"
        "A cabinet that is offline gets them when it returns.\n\n"
        "examples:\n"
        '  fleet sticker set --company "Green Court"                       web.public_url of the fleet in the codes\n'
        '  fleet sticker set --company "Green Court" --text "Green Court: scan to charge"\n'
        '  fleet sticker list --company "Green Court"'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    wanted = options.add_action(actions, "set", "set them for all cabinets of a company, or some")
    options.add_cabinets(wanted)
    wanted.add_argument("--address", metavar="URL", help="in the codes (default: web.public_url)")
    wanted.add_argument("--text", default="", help='in place of "Scan to charge" in both languages (default: that)')
    options.add_action(actions, "list", "list the cabinets with what they have in force")


def main(args: argparse.Namespace) -> int:
    options.in_transaction(args, {"set": _set, "list": _list}[args.action](args))
    return 0


def _set(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        address = args.address or config.web.public_url
        for cabinet in await options.cabinets_of(connection, company.id, args):
            await desired.set_value(connection, company.id, cabinet, "public_url", address)
            await desired.set_value(connection, company.id, cabinet, "sticker_text", args.text)
            detail = f"{address} {args.text}".strip()
            await audit.add(connection, company.id, options.operator(), "sticker_set", subject=cabinet, detail=detail)
            print(f"{cabinet}: {detail}")

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        for kind in ("public_url", "sticker_text"):
            for row in await desired.of_kind(connection, company.id, kind):
                state = "in force" if row.in_force else f"refused: {row.rejected}" if row.rejected else "not yet"
                print(f"{row.cabinet:<32} {kind:<12} {row.value or '-'}: {state}")

    return work
