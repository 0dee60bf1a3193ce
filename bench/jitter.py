"""Delay of the guard's loop: in a separate process, and as a thread in the process of a log export.

Both loops sleep to absolute deadlines one scan period apart and record the delay of each wake-up. Both runs have the
same concurrent work: repeated exports of the usage log, as CSV and JSON lines, and a database that syncs to disk. In
the first run the work is in other processes, as in this product; in the second it is in threads of the same process.

    python -m bench.jitter [--seconds 10]
"""

import argparse
import multiprocessing
import sqlite3
import tempfile
import threading
import time
import zoneinfo
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.usage import record
from cabinet.clock import NS
from cabinet.guard.loop import become_realtime
from cabinet.records import UsageRecord
from cabinet.reports import usage_csv

PERIOD_NS = 3_000_000  # guard.scan_period_s
RECORDS = 5_000

Stop = Callable[[], bool]


def records() -> list[UsageRecord]:
    """Return a log to export."""
    return [
        msgspec.structs.replace(record(number, "bench"), number=number, previous_hash="0" * 64, record_hash="1" * 64)
        for number in range(1, RECORDS + 1)
    ]


def export(stop: Stop) -> None:
    """Export the usage log as CSV and JSON lines, repeatedly."""
    log, zone = records(), zoneinfo.ZoneInfo("Asia/Shanghai")
    while not stop():
        "".join(usage_csv.csv_lines(log, "zh", zone))
        b"\n".join(map(usage_csv.json_line, log))


def sync(stop: Stop) -> None:
    """Commit with fsync, as checkpoints do."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "bench.sqlite")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE checkpoint (outlet, energy_mwh)")
        while not stop():
            with database:
                database.executemany("INSERT INTO checkpoint VALUES (?, ?)", [(n, n) for n in range(200)])
        database.close()


def loop(seconds: float) -> tuple[list[int], int]:
    """Return the delay of every turn in ns, and the total number of missed periods."""
    late_ns: list[int] = []
    missed = 0
    deadline_ns = time.monotonic_ns() + PERIOD_NS
    end_ns = deadline_ns + int(seconds * NS)
    while deadline_ns < end_ns:
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / NS)
        now_ns = time.monotonic_ns()
        late_ns.append(now_ns - deadline_ns)
        skipped = (now_ns - deadline_ns) // PERIOD_NS
        missed += skipped
        deadline_ns += (1 + skipped) * PERIOD_NS
    return late_ns, missed


def _loop_process(seconds: float, answer: "multiprocessing.Queue[tuple[bool, list[int], int]]") -> None:
    realtime = become_realtime(50)
    answer.put((realtime, *loop(seconds)))


def in_own_process(seconds: float) -> tuple[bool, list[int], int]:
    stopping = multiprocessing.Event()
    work = [multiprocessing.Process(target=job, args=(stopping.is_set,), daemon=True) for job in (export, sync)]
    answer: multiprocessing.Queue[tuple[bool, list[int], int]] = multiprocessing.Queue()
    guard = multiprocessing.Process(target=_loop_process, args=(seconds, answer))
    for process in (*work, guard):
        process.start()
    result = answer.get()
    stopping.set()
    for process in (*work, guard):
        process.join()
    if any(process.exitcode for process in work):
        raise SystemExit("the work beside the loop failed: the figures would mean nothing")
    return result


def _thread_process(seconds: float, answer: "multiprocessing.Queue[tuple[list[int], int]]") -> None:
    stopping = threading.Event()
    failed: list[str] = []
    threading.excepthook = lambda what: failed.append(str(what.exc_value))
    work = [threading.Thread(target=job, args=(stopping.is_set,)) for job in (export, sync)]
    for thread in work:
        thread.start()
    answer.put(loop(seconds))
    stopping.set()
    for thread in work:
        thread.join()
    if failed:
        raise SystemExit(f"the work beside the loop failed: {failed}")


def as_thread(seconds: float) -> tuple[list[int], int]:
    answer: multiprocessing.Queue[tuple[list[int], int]] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_thread_process, args=(seconds, answer))
    process.start()
    result = answer.get()
    process.join()
    if process.exitcode:
        raise SystemExit("the work beside the loop failed: the figures would mean nothing")
    return result


def row(name: str, late_ns: list[int], missed: int) -> str:
    ordered = sorted(late_ns)
    points = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 for share in (0.5, 0.99, 0.999, 1)]
    periods = len(late_ns) + missed
    return f"{name:<34}" + "".join(f"{ms:>10.3f}" for ms in points) + f"{missed:>8} of {periods}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    realtime, own, own_missed = in_own_process(args.seconds)
    thread, thread_missed = as_thread(args.seconds)
    print(
        f"loop of {PERIOD_NS / 1e6:g} ms beside a log export and a syncing database, {args.seconds:g} s each; ms late"
    )
    print(f"{'':<34}{'p50':>10}{'p99':>10}{'p99.9':>10}{'worst':>10}  missed")
    print(row("own process" + (", SCHED_FIFO" if realtime else ", NOT real time"), own, own_missed))
    print(row("thread of the exporting process", thread, thread_missed))
    middle = sorted(thread)[len(thread) // 2] / max(1, sorted(own)[len(own) // 2])
    print(f"ratio of the medians, thread over process: {middle:.0f}")


if __name__ == "__main__":
    main()
