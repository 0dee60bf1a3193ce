"""`fleet tariff`: roll tariffs out to cabinets, and list who has them."""

import argparse
from pathlib import Path

from cabinet.billing import tariff_files
from cabinet.config.check import read
from fleet import tariff_rollout
from fleet.commands import options
from fleet.config import FleetConfig
from fleet.store import audit, desired
from fleet.store.database import Connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A tariff file is one of docs/tariffs.md. A cabinet keeps the tariffs that it has; --only replaces them all.\n"
        "A cabinet that is offline gets them when it returns. Charges by phone need a tariff that was rolled out.\n\n"
        "examples:\n"
        '  fleet tariff roll-out winter.toml --company "Green Court"\n'
        '  fleet tariff roll-out winter.toml --company "Green Court" --cabinet c-garden-3 --only\n'
        '  fleet tariff list --company "Green Court"'
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    roll_out = options.add_action(actions, "roll-out", "set a tariff for all cabinets of a company, or some")
    roll_out.add_argument("file", type=Path, metavar="FILE")
    options.add_cabinets(roll_out)
    roll_out.add_argument("--only", action="store_true", help="drop the other tariffs of these cabinets")
    options.add_action(actions, "list", "list the tariffs, and which cabinets have them in force")


def main(args: argparse.Namespace) -> int:
    options.in_transaction(args, {"roll-out": _roll_out, "list": _list}[args.action](args))
    return 0


def _roll_out(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        text = read(args.file)
        tariff_files.load_text(text, str(args.file))  # its mistakes are named with the file
        chosen = await options.cabinets_of(connection, company.id, args)
        version = await tariff_rollout.roll_out(connection, company.id, chosen, text, only=args.only)
        for cabinet in chosen:
            await audit.add(
                connection, company.id, options.operator(), "tariff_schedule", subject=cabinet, detail=version
            )
            print(f"{cabinet}: {version}")

    return work


def _list(args: argparse.Namespace) -> options.Work:
    async def work(connection: Connection, config: FleetConfig) -> None:
        company = await options.company_of(connection, args.company)
        rows = await desired.of_kind(connection, company.id, "tariffs")
        for tariff in await desired.tariffs(connection, company.id):
            print(f"{tariff.version}, since {tariff.added.date()}")
            spread = tariff_rollout.spread(rows, tariff.toml)
            lines = [(cabinet, "in force") for cabinet in spread.in_force]
            lines += [(cabinet, "not yet") for cabinet in spread.coming]
            lines += [(cabinet, f"refused: {why}") for cabinet, why in spread.refused]
            lines += [(cabinet, "in force, to be dropped") for cabinet in spread.leaving]
            for cabinet, state in sorted(lines):
                print(f"  {cabinet:<32} {state}")

    return work
