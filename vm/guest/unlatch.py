"""Clear a latch, as staff do at the console after they have removed the cause of a short. `unlatch.py OUTLET`."""

import sys
from pathlib import Path

from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import ClearLatch, Role
from cabinet.system.run_folder import guard_socket

if __name__ == "__main__":
    with BlockingGuard(guard_socket(Path("/run/cabinet")), Role.CONSOLE) as guard:
        guard.request(lambda number: ClearLatch(number, int(sys.argv[1]), "bench"))
