"""Both simulated platforms as a process: `python -m fleet.sim.payments --port 8095 --folder FOLDER`.

Writes `wechat.json` and `alipay.json` into the folder, for `fleet merchant add`. Everything is in memory: the next run
has other keys and no payments.
"""

import argparse
import asyncio
import signal
import socket
from pathlib import Path

from cabinet.system.sd_notify import Notifier
from fleet.sim.payments.platforms import SimPlatforms, serving, write_accounts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, metavar="N")
    parser.add_argument("--folder", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)  # given to every process of a fleet
    args = parser.parse_args()
    asyncio.run(_serve(args.port, args.folder))
    return 0


async def _serve(port: int, folder: Path) -> None:
    platforms = SimPlatforms(f"http://127.0.0.1:{port}")
    platforms.shorten()
    write_accounts(platforms, folder)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    with socket.create_server(("127.0.0.1", port)) as listener:
        async with serving(platforms, listener):
            Notifier().ready(f"serving {platforms.address}")
            await over.wait()


if __name__ == "__main__":
    raise SystemExit(main())
