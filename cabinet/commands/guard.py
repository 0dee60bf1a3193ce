"""`cabinet guard`: the keeper and its guard."""

import argparse
import logging

from cabinet.clock import SystemClock
from cabinet.commands.hardware import openers
from cabinet.commands.options import add_config
from cabinet.config import load
from cabinet.guard.keeper import Keeper


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  cabinet guard --config /etc/cabinet/cabinet.toml"
    add_config(parser)


def main(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    config = load(args.config)
    return Keeper(config, *openers(config), SystemClock()).run()
