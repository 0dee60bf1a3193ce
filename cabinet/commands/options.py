"""Arguments shared by several sub-commands."""

import argparse
import os
from pathlib import Path

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
