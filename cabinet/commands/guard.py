"""`cabinet guard`: run the keeper and its guard."""

import argparse

from cabinet import plain_text
from cabinet.clock import SystemClock
from cabinet.commands.hardware import openers
from cabinet.commands.options import add_config
from cabinet.config import load
from cabinet.guard.keeper import Keeper


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  cabinet guard --config /etc/cabinet/cabinet.toml"
    add_config(parser)


def main(args: argparse.Namespace) -> int:
    plain_text.set_up_logging()
    config = load(args.config)
    return Keeper(config, *openers(config), SystemClock()).run()
