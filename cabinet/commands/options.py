"""Arguments shared by several sub-commands."""

import argparse
import datetime
import os
from pathlib import Path

from cabinet import normal_form

DEFAULT_CONFIG = "/etc/cabinet/cabinet.toml"
FALLBACK_CONFIG = "var/cabinet.toml"  # the simulated cabinet that `cabinet run` has made in this folder
# For the help of commands that write the database, or files next to it.
AS_SERVICE = "On an installed cabinet the records are the service's: put before each: sudo -u cabinet-service"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE`, else $CABINET_CONFIG, else /etc/cabinet/cabinet.toml, else ./var/cabinet.toml."""
    parser.add_argument(
        "--config",
        type=Path,
        default=default_config(),
        metavar="FILE",
        help=f"configuration (default: $CABINET_CONFIG, else {DEFAULT_CONFIG}, else ./{FALLBACK_CONFIG})",
    )


def default_config() -> Path:
    """Return the default path. If no cabinet is installed, a simulated one in the current folder is the default."""
    if configured := os.environ.get("CABINET_CONFIG"):
        return Path(configured)
    fallback = Path(FALLBACK_CONFIG)
    return fallback if fallback.exists() and not Path(DEFAULT_CONFIG).exists() else Path(DEFAULT_CONFIG)


def add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, *, config: bool = True
) -> argparse.ArgumentParser:
    """Add the action of a command, described as in the command's list, with `--config` unless it needs none."""
    action = actions.add_parser(name, help=summary, description=summary)
    if config:
        add_config(action)
    return action


def add_days(parser: argparse.ArgumentParser, first: str = "first day") -> None:
    """Add `--from DAY` and `--to DAY`."""
    parser.add_argument("--from", dest="from_day", type=_day, metavar="DAY", help=first)
    parser.add_argument("--to", dest="to_day", type=_day, metavar="DAY", help="last day, included")


def _day(text: str) -> datetime.date:
    found = normal_form.day(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, such as 2026-11-04")
    return found
