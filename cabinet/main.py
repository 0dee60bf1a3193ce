"""The `cabinet` command: its sub-commands."""

import sys

from cabinet import sub_commands

DESCRIPTION = "Controller of a charging cabinet for electric bicycles."

COMMANDS = {
    "run": "everything at once: simulator (if the hardware is simulated), guard, service and console",
    "guard": "the keeper and its guard: owns the relays and sensors, protects, meters",
    "serve": "the service: sessions, money, usage log, web pages",
    "console": "the maintenance console on its serial port",
    "uplink": "the link to a fleet: facts up, signed orders down; enrol, status",
    "steward": "does for the console what only root may do: clock, network, backup to a stick, restarts",
    "sim": "the simulated cabinet, and what happens in it: plug, unplug, fault, state",
    "failsafe": "open every relay and the contactor, with nothing but the configuration",
    "check": "find every mistake in a configuration file",
    "trips": "the flight recorder: list, show and plot what was measured around every trip",
    "tariff": "check, explain and add tariffs",
    "resident": "add residents, top up wallets",
    "ledger": "balances, statements, the accountant's export; give back, pay out, write off",
    "staff": "add logins of the property company's page and tokens of its API",
    "usage": "export and verify the usage log",
    "stickers": "printable stickers with the outlets' codes, PDF and SVG",
    "store": "check, back up and restore the database",
    "update": "install a signed bundle on trial; the old version comes back by itself where the new one fails",
    "bench": "measure on the cabinet itself, supply off, whether this computer keeps its reaction times",
    "boot": "what a Raspberry Pi's config.txt needs, and writing it there",
}

EPILOG = """examples:
  cabinet run                              a simulated cabinet to play with
  cabinet check /etc/cabinet/cabinet.toml  before a restart
  cabinet sim plug 3 demo                  plug a bike into outlet 3 of the simulator
  cabinet usage export --format csv        the usage log as a table
"""


def main(argv: list[str] | None = None) -> int:
    return sub_commands.run("cabinet", DESCRIPTION, EPILOG, COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
