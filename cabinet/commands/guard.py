"""`cabinet guard`: run the keeper and its guard."""

import argparse

from msgspec import structs

from cabinet import plain_text
from cabinet.clock import MS, SystemClock
from cabinet.commands.hardware import openers
from cabinet.commands.options import add_config
from cabinet.errors import CabinetError
from cabinet.guard.keeper import Keeper
from cabinet.system.computers import load_here

DEMO_SCAN_S = 0.005  # the longest that the configuration admits
DEMO_IDLE_NS = 40 * MS  # the heartbeat hardware waits 100 ms; together with a scan no multiple of a half-cycle


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  cabinet guard --config /etc/cabinet/cabinet.toml"
    add_config(parser)
    parser.add_argument(
        "--demo",
        action="store_true",
        help="no real-time priority, few scans while every outlet is open; for simulated hardware only",
    )


def main(args: argparse.Namespace) -> int:
    plain_text.set_up_logging()
    config = load_here(args.config)
    if not args.demo:
        return Keeper(config, *openers(config), SystemClock()).run()
    if not config.simulated:
        raise CabinetError(f"{args.config}: --demo is for simulated hardware")
    config = structs.replace(config, guard=structs.replace(config.guard, scan_period_s=DEMO_SCAN_S))
    return Keeper(config, *openers(config), SystemClock(), DEMO_IDLE_NS).run()
