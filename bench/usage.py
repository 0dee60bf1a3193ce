"""A usage log of a million records: export compared with SQLite's shell, export through the busy service, verification.

The reference is the `sqlite3` command writing the same columns of the same file as CSV, in the same run: it does only
this, and its numbers are the stored ones, but ours are yuan, kWh, local times and words. Memory is the growth of a
process during the export, above its use for a short log.

    python -m bench.usage [--records 1000000]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from bench.footprint import memory_mb
from cabinet.clock import SystemClock, WallTime
from cabinet.model import CostLine, EndReason
from cabinet.records import UsageRecord
from cabinet.reports import usage_csv
from cabinet.service.accounts import admin
from cabinet.service.ports import USAGE_READ
from cabinet.store import residents, usage
from cabinet.store.database import Database
from cabinet_testing.real_cabinet import RealCabinet
from campaigns.runner import commit, machine, percentile

EXPORT_BAR, MEMORY_BAR_MB, P99_BAR_MS, VERIFY_BAR_S = 3.0, 20.0, 50.0, 30.0
FIRST_MS = 1_767_196_800_000
RESIDENTS = 500
A_TRANSACTION = 20_000
ALONE_S = 10.0

# Columns of the CSV as expressions for the shell.
SHELL_COLUMNS = {
    "started": "body ->> '$.started.unix_ms'", "ended": "ended_unix_ms", "clock_trusted": "body ->> '$.ended.trusted'",
    "powered_min": "body ->> '$.powered_s'", "charging_min": "body ->> '$.charging_s'",
    "energy_kwh": "body ->> '$.energy_mwh'", "peak_power_w": "body ->> '$.peak_power_mw'",
    "mean_power_w": "body ->> '$.mean_power_mw'", "electricity_yuan": "body ->> '$.electricity_fen'",
    "service_yuan": "body ->> '$.service_fen'", "total_yuan": "body ->> '$.total_fen'",
    "held_yuan": "body ->> '$.held_fen'", "refund_yuan": "body ->> '$.refund_fen'", "number": "number",
    "record_hash": "record_hash", "card": "card",
}  # fmt: skip


def record(number: int, holder: str) -> UsageRecord:
    ended_ms = FIRST_MS + 30_000 * number
    lines = [
        CostLine("time", 11_950, "s", 20, 66, "0-200"),
        CostLine("electricity", 498_000, "mWh", 55, 27, "08:00-22:00"),
        CostLine("service", 498_000, "mWh", 30, 14),
    ]
    return UsageRecord(
        number=0, order_number=f"BENCH-{number:08}", session_id=f"{number:016x}", site_id="BENCH",
        outlet=1 + number % 10, card="", started=WallTime(ended_ms - 12_000_000, True), ended=WallTime(ended_ms, True),
        powered_s=12_000, charging_s=11_950, energy_mwh=498_000 + number % 1000, peak_power_mw=181_600,
        mean_power_mw=150_020, lines=lines, electricity_fen=27, service_fen=80, total_fen=107, held_fen=500,
        refund_fen=393, end_reason=EndReason.FULL, fault=None, tariff_version="bench", previous_hash="",
        record_hash="", holder=holder,
    )  # fmt: skip


def fill(path: Path, records: int) -> None:
    database = Database(path)
    with database.transaction() as connection:
        for number in range(RESIDENTS):
            residents.add(connection, f"card{number:06}", "", "hash", 0)
        holders = [residents.holder_of(connection, number + 1) for number in range(RESIDENTS)]
    for first in range(0, records, A_TRANSACTION):
        with database.transaction() as connection:
            for number in range(first, min(first + A_TRANSACTION, records)):
                usage.append(connection, record(number, holders[number % RESIDENTS]))
        print(f"\r{first}/{records} records", end="", file=sys.stderr)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    print(file=sys.stderr)


def shell_s(path: Path, target: Path) -> float:
    """Return the time of SQLite's shell to write the same columns."""
    columns = [SHELL_COLUMNS.get(name, f"body ->> '$.{name}'") for name in usage_csv.COLUMNS]
    query = f"SELECT {', '.join(columns)} FROM usage_record LEFT JOIN resident USING (holder) ORDER BY number"
    started = time.monotonic()
    with target.open("wb") as file:
        subprocess.run(["sqlite3", "-readonly", "-header", "-csv", str(path), query], stdout=file, check=True)
    return time.monotonic() - started


def command(cabinet: RealCabinet, *words: str) -> tuple[float, float]:
    """Run a `cabinet usage` command. Return its time in seconds and its peak memory in MB."""
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "cabinet.main", "usage", *words, "--config", str(cabinet.config)],
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        raise RuntimeError(f"cabinet usage {' '.join(words)}: status {status}")
    return time.monotonic() - started, used.ru_maxrss / 1024


class Others:
    """Another client that requests pages continuously."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self.took_ms: list[float] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url) as client:
            while not self._over.is_set():
                for path in ("/s/C5T4", "/healthz", "/"):
                    started = time.monotonic()
                    client.get(path)
                    self.took_ms.append(1000 * (time.monotonic() - started))
                self._over.wait(0.01)

    def __enter__(self) -> "Others":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def through_the_service(cabinet: RealCabinet, token: str) -> tuple[float, float, list[float], list[float]]:
    """Export the full log through the service while another client requests pages.

    Return seconds, growth of the service in MB, response times of the other client during and without the export.
    """
    pid = cabinet.processes["service"].popen.pid
    headers = {"authorization": f"Bearer {token}", "accept-encoding": "identity"}
    with httpx.Client(base_url=cabinet.url, headers=headers, timeout=None) as client:
        client.get("/api/v1/usage?limit=100&format=csv").raise_for_status()
        with Others(cabinet.url) as alone:
            time.sleep(ALONE_S)
        before_mb, most_mb = memory_mb(pid)[1], 0.0
        with Others(cabinet.url) as others:
            started = time.monotonic()
            with client.stream("GET", "/api/v1/usage/export?format=csv") as answer:
                for number, _ in enumerate(answer.iter_bytes(1 << 20)):
                    if number % 10 == 0:
                        most_mb = max(most_mb, memory_mb(pid)[1])
            took_s = time.monotonic() - started
    return took_s, most_mb - before_mb, sorted(others.took_ms), sorted(alone.took_ms)


def measure(folder: Path, records: int) -> None:
    cabinet = RealCabinet(folder)  # no guard: on a Pi it has a separate core, and there is no simulator
    try:
        path = cabinet.state / "cabinet.db"
        cabinet.start("service")
        cabinet.processes.pop("service").stop()
        small_mb = command(cabinet, "export", "--format", "csv")[1]
        shutil.rmtree(cabinet.state / "backups", ignore_errors=True)
        fill(path, records)
        size = path.stat().st_size / records
        shell = shell_s(path, folder / "shell.csv")
        took_s, most_mb = command(cabinet, "export", "--format", "csv", "--output", str(folder / "ours.csv"))
        verify_s, verify_mb = command(cabinet, "verify")
        database = Database(path)
        token = admin.add_token(database, SystemClock(), "bench", (USAGE_READ,))
        database.close()
        started = time.monotonic()
        cabinet.start("service")
        start_s = time.monotonic() - started
        while "backup: " not in cabinet.processes["service"].log and time.monotonic() < started + 300:
            time.sleep(0.5)
        served_s, grown_mb, waits_ms, alone_ms = through_the_service(cabinet, token)
    finally:
        cabinet.stop()
    lines = sum(1 for _ in (folder / "ours.csv").open("rb"))
    assert lines == records + 1, f"{lines} lines"
    p99_ms = percentile(waits_ms, 0.99)
    rows = [
        ("size of a record in the file, its indexes included", f"{size:.0f} bytes", ""),
        ("sqlite3's shell, the same columns as CSV", f"{shell:.1f} s", ""),
        ("cabinet usage export, CSV", f"{took_s:.1f} s, {took_s / shell:.2f} of the shell's", f"{EXPORT_BAR:g}"),
        ("its memory beyond that for a short log", f"{most_mb - small_mb:.1f} MB", f"{MEMORY_BAR_MB:.0f} MB"),
        ("cabinet usage verify", f"{verify_s:.1f} s, {verify_mb - small_mb:.1f} MB", f"{VERIFY_BAR_S:.0f} s"),
        ("the service's start with it", f"{start_s:.1f} s", ""),
        ("export through the service", f"{served_s:.1f} s, {served_s / shell:.2f} of the shell's", f"{EXPORT_BAR:g}"),
        ("the service's growth meanwhile", f"{grown_mb:.1f} MB", f"{MEMORY_BAR_MB:.0f} MB"),
        (
            f"others' requests meanwhile ({len(waits_ms)})",
            f"p50 {statistics.median(waits_ms):.1f}, p99 {p99_ms:.1f}, worst {waits_ms[-1]:.1f} ms",
            f"p99 {P99_BAR_MS:.0f} ms",
        ),
        (
            f"the same requests without an export ({len(alone_ms)})",
            f"p50 {statistics.median(alone_ms):.1f}, p99 {percentile(alone_ms, 0.99):.1f}, worst {alone_ms[-1]:.1f} ms",
            "",
        ),
    ]
    print(f"| {records} records | measured | bar |\n|---|---|---|")
    for name, measured, bar in rows:
        print(f"| {name} | {measured} | {bar} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.usage", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    args = parser.parse_args()
    print(f"{machine()}, commit {commit()}\n")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), args.records)


if __name__ == "__main__":
    main()
