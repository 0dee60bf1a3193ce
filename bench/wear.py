"""What an hour with ten charges writes to the SD card: checkpoints every ten seconds, each on disk before it counts.

The service runs over a guard double under a manual clock, with real files and real syncs; every byte that it hands to
the kernel is counted (`wchar` of proc(5)), the write-ahead log and the main file alike.

    python -m bench.wear [--minutes 60]
"""

import argparse
import asyncio
import sqlite3
import tempfile
from pathlib import Path

from campaigns.runner import commit, machine
from tests.unit.service.rig import FULL, Rig

CHECKPOINT_S = 10
CARD_TB = 10  # that a cheap card of 16 GB takes: some 600 times its size, without what it rearranges itself


def written_bytes() -> int:
    """By this process since its start."""
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    raise RuntimeError("the kernel counts no writes (/proc/self/io)")


async def hour(rig: Rig, minutes: int) -> tuple[int, int]:
    """Bytes while nothing charges, and while ten do."""
    async with rig.running() as service:
        before = written_bytes()
        for _ in range(6 * minutes):
            rig.clock.advance_ns(CHECKPOINT_S * 1_000_000_000)
            rig.guard.show()
            await service.checkpoint()
        idle = written_bytes() - before
        for number, outlet in enumerate(rig.config.outlet, 1):
            await service.start(number, outlet.code, FULL, f"k{number}")
        before = written_bytes()
        for _ in range(6 * minutes):
            for _ in range(CHECKPOINT_S):
                rig.guard.charge_all(1, 150_000)
            rig.guard.show()
            await service.checkpoint()
        charging = written_bytes() - before
    return idle, charging


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wear", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder), residents=10)
        Path(rig.config.paths.run).mkdir(parents=True, exist_ok=True)  # memory on a Pi; the service's pulse goes there
        rig.connection_class = sqlite3.Connection
        idle, charging = asyncio.run(hour(rig, args.minutes))
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
