"""`cabinet failsafe`: open every relay and the contactor; it needs only the configuration."""

import argparse
import sys

from cabinet.commands.hardware import openers
from cabinet.commands.options import add_config
from cabinet.config import load
from cabinet.hardware.failsafe import open_everything


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works beside a guard that hangs; run again it does the same again. Exit status 1: something could not be\n"
        "opened, each named in a line; cut the cabinet's supply by hand then.\n\n"
        "example:\n  cabinet failsafe --config /etc/cabinet/cabinet.toml"
    )
    add_config(parser)


def main(args: argparse.Namespace) -> int:
    config = load(args.config)
    errors = open_everything(config, *openers(config))
    for error in errors:
        print(f"failsafe: {error}", file=sys.stderr)
    if not errors:
        print("every relay and the contactor are open")
    return 1 if errors else 0
