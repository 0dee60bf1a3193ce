"""What staff do at the console when they have seen to a short circuit's cause. `unlatch.py OUTLET`."""

import sys
from pathlib import Path

from cabinet.link.client import BlockingGuard
from cabinet.link.protocol import ClearLatch, Role

if __name__ == "__main__":
    with BlockingGuard(Path("/run/cabinet/guard.sock"), Role.CONSOLE) as guard:
        guard.request(lambda number: ClearLatch(number, int(sys.argv[1]), "bench"))
