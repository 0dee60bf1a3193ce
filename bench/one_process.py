"""Reference for bench.trip: guard, service, exports and syncs as threads of one process, as in most such controllers.

The guard's code, its real-time priority and the cabinet are the same; only the process is shared. There is no keeper.

    python -m bench.one_process --config CONFIG
"""

import argparse
import asyncio
import contextlib
import os
import threading
from pathlib import Path
from unittest import mock

from bench.jitter import export, sync
from bench.serve_unpaced import unpace
from cabinet import config as configuration
from cabinet.clock import SystemClock
from cabinet.commands.hardware import openers
from cabinet.commands.serve import serve
from cabinet.config import Config
from cabinet.errors import LinkError
from cabinet.guard import loop
from cabinet.guard.counters import Counters
from cabinet.link.client import BlockingGuard
from cabinet.link.protocol import Role
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import wait_for


def guard_thread(config: Config) -> None:
    """Run the guard until this process ends. A thread cannot handle signals; the service handles them."""
    beats = os.open(os.devnull, os.O_WRONLY)
    with mock.patch.object(loop, "signal"):
        loop.run_guard(config, *openers(config), SystemClock(), Counters(len(config.outlet)), beats, realtime=True)


def answers(config: Config) -> bool:
    """Return whether the guard answers."""
    with contextlib.suppress(LinkError), BlockingGuard(guard_socket(Path(config.paths.run)), Role.VIEWER) as guard:
        return bool(guard.snapshot().outlets)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    config = configuration.load(parser.parse_args().config)
    threading.Thread(target=guard_thread, args=(config,), daemon=True).start()
    wait_for("the guard", lambda: answers(config))
    for work in (export, sync):
        threading.Thread(target=work, args=(lambda: False,), daemon=True).start()
    unpace()
    asyncio.run(serve(config))
    os._exit(0)  # endless threads would keep the process alive


if __name__ == "__main__":
    main()
