"""The `fleet` command: find the sub-command and load only its module."""

import argparse
import importlib
import sys

from cabinet import __version__, safe_output
from cabinet.errors import CabinetError

COMMANDS = {
    "serve": "the web pages of residents and property companies, and the enrolment of cabinets",
    "work": "the worker: takes in facts and states of cabinets, sends orders, ends what is overdue",
    "migrate": "bring the database to this version's schema",
    "check": "find every mistake in fleet.toml, and problems of database and broker",
    "cabinet": "add, list and revoke cabinets; make enrolment codes",
    "company": "add and list property companies and their sites",
    "staff": "add logins of property companies, change their roles, remove them",
    "resident": "add residents, top up wallets",
    "usage": "export and verify the usage logs of all cabinets",
    "ledger": "check the ledgers; statements",
    "merchant": "connect accounts at WeChat Pay and Alipay; failed refunds and differences",
    "tariff": "roll tariffs out to cabinets, and list who has them",
    "sticker": "address and text that cabinets print on their stickers",
    "broker": "write the broker's configuration and certificates",
}

EPILOG = """examples:
  fleet migrate                            create or update the database
  fleet cabinet add c-garden-3 --company "Green Court" --site "East gate"
  fleet work                               in one terminal, or as cabinet-fleet-worker.service
  fleet serve                              in another, or as cabinet-fleet-web.service
"""


def main(argv: list[str] | None = None) -> int:
    with safe_output.text_only():  # names and notes of others must not reach the terminal as commands
        return _run(argv)


def _run(argv: list[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="fleet",
        description="One place for the cabinets, residents, money and logs of property companies.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fleet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked_for = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == asked_for:
            module = importlib.import_module(f"fleet.commands.{name}")
            module.configure(command)
            command.set_defaults(main=module.main)
    args = parser.parse_args(arguments)
    try:
        return int(args.main(args))
    except CabinetError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
