"""Memory of every process of a running cabinet, and the time from the guard's start to protection.

RSS counts a page shared by two processes twice; PSS counts it once, and is the memory really used. Keeper and guard
share most of their pages, because one is forked from the other.

    python -m bench.footprint
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from cabinet.errors import LinkError
from cabinet_testing.real_cabinet import Process, RealCabinet, running

STARTS = 5
REQUESTS = 1000
AIM_GUARD_MB, AIM_SERVICE_MB, AIM_START_S = 40, 90, 0.6


def memory_mb(pid: int) -> tuple[float, float]:
    """Return (RSS, PSS) in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) / 1024
    return found["Rss"], found["Pss"]


def guard_start_s(cabinet: RealCabinet) -> float:
    """Return the time until the guard is ready; also print the time until every outlet may be closed."""
    cabinet.processes.pop("guard").stop()
    started = time.monotonic()
    guard = Process("guard", ["guard"], cabinet.folder, cabinet.config)
    cabinet.processes["guard"] = guard
    ready_s = time.monotonic() - started
    while True:
        with contextlib.suppress(LinkError):
            if all(outlet.refusal is None for outlet in cabinet.snapshot().outlets):
                break
    print(f"  guard protects after {ready_s:.2f} s, outlets may be closed after {time.monotonic() - started:.2f} s")
    return ready_s


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cabinet:
        starts = [guard_start_s(cabinet) for _ in range(STARTS)]
        with httpx.Client(base_url=cabinet.url) as client:
            for _ in range(REQUESTS):
                client.get("/s/C5T4").raise_for_status()
        pids = {name: process.popen.pid for name, process in cabinet.processes.items()}
        pids = {"keeper": pids.pop("guard"), "guard": cabinet.guard_pid(), **pids}
        memory = {name: memory_mb(pid) for name, pid in pids.items()}
    print(f"{'process':<10}{'RSS MB':>10}{'PSS MB':>10}   (service after {REQUESTS} requests)")
    for name, (rss, pss) in memory.items():
        print(f"{name:<10}{rss:>10.1f}{pss:>10.1f}")
    guard_mb = memory["keeper"][1] + memory["guard"][1]
    start_s = statistics.median(starts)
    print(f"guard + keeper  {guard_mb:6.1f} MB PSS of {AIM_GUARD_MB} allowed: {guard_mb / AIM_GUARD_MB:.2f}")
    print(
        f"service         {memory['service'][1]:6.1f} MB PSS of {AIM_SERVICE_MB} allowed: "
        f"{memory['service'][1] / AIM_SERVICE_MB:.2f}"
    )
    print(
        f"start           {start_s:6.2f} s  of {AIM_START_S} s allowed, median of {STARTS}: {start_s / AIM_START_S:.2f}"
    )


if __name__ == "__main__":
    main()
