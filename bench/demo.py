"""CPU time of every process of `cabinet run` with all outlets open, as a share of one core; and whether it tripped.

python -m bench.demo [--seconds 120] [--realtime]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTLE_S = 10
AIM_PERCENT = 25


def family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_s(pid: int) -> float:
    """Return user and system time of a process since its start: fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def name(pid: int) -> str:
    """Return the name that the process gave itself, or its sub-command."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    own = Path(f"/proc/{pid}/comm").read_text().strip()
    return own if own.startswith("cabinet-") else words[words.index("cabinet.main") + 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--realtime", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cabinet.main", "run", "--state", folder, "--port", "0"]
        run = subprocess.Popen(
            [*command, "--realtime"] if args.realtime else command, stdout=subprocess.PIPE, text=True
        )
        try:
            assert run.stdout is not None
            next(line for line in run.stdout if "Ctrl-C stops everything" in line)
            time.sleep(SETTLE_S)
            before = {pid: cpu_s(pid) for pid in family(run.pid)}
            started = time.monotonic()
            time.sleep(args.seconds)
            taken_s = time.monotonic() - started
            shares = [(name(pid), 100 * (cpu_s(pid) - spent) / taken_s) for pid, spent in before.items()]
        finally:
            run.send_signal(signal.SIGINT)
            said, _ = run.communicate()
    for process, share in shares:
        print(f"{process:<16}{share:6.1f} % of a core")
    total = sum(share for _, share in shares)
    print(f"{'together':<16}{total:6.1f} % of {AIM_PERCENT} % allowed: {total / AIM_PERCENT:.2f}")
    print(f"{said.count('TRIPPED')} trips")


if __name__ == "__main__":
    main()
