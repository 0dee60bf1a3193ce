"""`cabinet serve` without rate limits of starts: a bench starts more charges in ten minutes than relays should.

python -m bench.serve_unpaced --config CONFIG
"""

import sys

from cabinet.main import main
from cabinet.service.charges import start_stop

WITHOUT_END = 1_000_000


def unpace() -> None:
    """Remove the rate limits for services created from now on."""
    start_stop.MAX_STARTS_PER_CARD = start_stop.MAX_STARTS_PER_OUTLET = WITHOUT_END


if __name__ == "__main__":
    unpace()
    sys.exit(main(["serve", *sys.argv[1:]]))
