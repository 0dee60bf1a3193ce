"""Arguments that several sub-commands share."""

import argparse
import os
from pathlib import Path

DEFAULT_CONFIG = "/etc/cabinet/cabinet.toml"


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE`, else $CABINET_CONFIG, else /etc/cabinet/cabinet.toml."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("CABINET_CONFIG", DEFAULT_CONFIG)),
        metavar="FILE",
        help=f"configuration (default: $CABINET_CONFIG, else {DEFAULT_CONFIG})",
    )
