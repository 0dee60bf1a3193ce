"""`cabinet serve` without the pace of starts: a bench begins more charges in ten minutes than relays should close.

python -m bench.serve_unpaced --config CONFIG
"""

import sys

from cabinet.main import main
from cabinet.service import starting

WITHOUT_END = 1_000_000


def unpace() -> None:
    """For services that are made from now on."""
    starting.STARTS_A_CARD = starting.STARTS_AN_OUTLET = WITHOUT_END


if __name__ == "__main__":
    unpace()
    sys.exit(main(["serve", *sys.argv[1:]]))
