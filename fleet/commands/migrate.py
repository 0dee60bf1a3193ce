"""`fleet migrate`: create or update the schema."""

import argparse
import asyncio

from fleet import config as configuration
from fleet.store import database


def configure(parser: argparse.ArgumentParser) -> None:
    configuration.add_config(parser)
    parser.epilog = (
        "Safe to repeat, and while others run it: one process migrates, the others wait. A table that stays in use\n"
        "longer than `database.lock_timeout_s` ends it with exit status 1, and nothing of that step is changed.\n\n"
        "examples:\n"
        "  fleet migrate\n"
        "  fleet migrate --config ./fleet.toml"
    )


def main(args: argparse.Namespace) -> int:
    section = configuration.load(args.config).database
    done = asyncio.run(database.migrate(section.url, section.lock_timeout_s))
    for name in done:
        print(f"applied {name}")
    if not done:
        print("the schema is up to date")
    return 0
