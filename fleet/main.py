"""The `fleet` command: its sub-commands."""

import sys

from cabinet import sub_commands

DESCRIPTION = "One place for the cabinets, residents, money and logs of property companies."

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
    return sub_commands.run("fleet", DESCRIPTION, EPILOG, COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
