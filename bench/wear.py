"""Bytes written to the SD card in an hour with ten charges: checkpoints every ten seconds, each synced to disk.

The service runs over a fake guard under a manual clock, with real files and real syncs. The bench counts every byte
passed to the kernel (`wchar` of proc(5)), for the write-ahead log and the main file.

These are the writes of the product. The card takes more, because of the file system's journal:

    python -m bench.wear [--minutes 60]
    python -m bench.wear --on /mnt/card --minutes 5

With `--on FOLDER` a real cabinet keeps its state there, ten charge in real time, and the kernel counts the bytes
written to the folder's block device. No other program should write to it meanwhile.
"""

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.disk import device_bytes
from cabinet import config as configuration
from cabinet_testing.real_cabinet import RealCabinet
from cabinet_testing.service_harness import FULL, ServiceHarness
from campaigns.runner import commit, machine

CHECKPOINT_S = 10
SETTLING_S = 20  # until the writes of the start are over
GROWN_S = 420  # until the write-ahead log has its full length and is overwritten in place
CARD_TB = 10  # endurance of a cheap 16 GB card: about 600 times its size, without its internal writes


def written_bytes() -> int:
    """Return the bytes written by this process since its start. Raises RuntimeError if not counted."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    raise RuntimeError("the kernel counts no writes (/proc/self/io)")


async def hour(harness: ServiceHarness, minutes: int) -> tuple[int, int]:
    """Return the bytes written without charges, and with ten."""
    async with harness.running() as service:
        before = written_bytes()
        for _ in range(6 * minutes):
            harness.clock.advance_ns(CHECKPOINT_S * 1_000_000_000)
            harness.guard.show()
            await service.checkpoint()
        idle = written_bytes() - before
        for number, outlet in enumerate(harness.config.outlet, 1):
            await service.start(number, outlet.code, FULL, f"k{number}")
        before = written_bytes()
        for _ in range(6 * minutes):
            for _ in range(CHECKPOINT_S):
                harness.guard.charge_all(1, 150_000)
            harness.guard.show()
            await service.checkpoint()
        charging = written_bytes() - before
    return idle, charging


def played(minutes: int) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        harness = ServiceHarness(Path(folder), residents=10)
        Path(harness.config.paths.run).mkdir(
            parents=True, exist_ok=True
        )  # in memory on a Pi; holds the service's status
        harness.connection_class = sqlite3.Connection
        return asyncio.run(hour(harness, minutes))


def real(folder: Path, minutes: float) -> tuple[int, int]:
    """Do as `hour` with the whole product in real time, with the sockets in memory as on a Pi."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as run, tempfile.TemporaryDirectory(dir=folder) as state:
        cabinet = RealCabinet(Path(state))
        text = cabinet.config.read_text(encoding="utf-8")
        text = text.replace(f'run = "{cabinet.run}"', f'run = "{run}"').replace("checkpoint_s = 1.0\n", "")
        cabinet.config.write_text(text, encoding="utf-8")
        cabinet.run = Path(run)
        cabinet.start()
        try:
            idle = written_while(folder, minutes, SETTLING_S)
            for outlet in configuration.load(cabinet.config).outlet:
                cabinet.plug(outlet.number, "lithium-48v", 10)
                cabinet.resident(str(10023400 + outlet.number)).start(outlet.code)
            return idle, written_while(folder, minutes, GROWN_S)
        finally:
            cabinet.stop()


def written_while(folder: Path, minutes: float, after_s: float) -> int:
    time.sleep(after_s)
    os.sync()
    before = device_bytes(folder)
    time.sleep(60 * minutes)
    os.sync()
    return device_bytes(folder) - before


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wear", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--on", type=Path, metavar="FOLDER", help="a real cabinet in a folder of a disk of its own")
    args = parser.parse_args()
    idle, charging = real(args.on, args.minutes) if args.on else played(args.minutes)
    per_hour = 60 / args.minutes
    print(f"{machine()}, commit {commit()}\n")
    print("| an hour | MB written |\n|---|---|")
    print(f"| nobody charges | {idle * per_hour / 1e6:.1f} |\n| ten charge | {charging * per_hour / 1e6:.1f} |")
    years = CARD_TB * 1e12 / (charging * per_hour * 24 * 365)
    print(
        f"\nwith ten charging day and night, {CARD_TB} TB last {years:.0f} years; the flight recorder writes only trips"
    )


if __name__ == "__main__":
    main()
