"""Time of `cabinet failsafe` to open all relays, if guard and keeper are hung and there is no heartbeat hardware.

Four outlets charge; then both processes are stopped, so only the command can open the relays. The time is from its
start, including the interpreter's, to the last contact open, by the simulator's clock.

    python -m bench.failsafe [--times 10]
"""

import argparse
import os
import random
import signal
import tempfile
from pathlib import Path

from cabinet_testing.real_cabinet import RealCabinet, running, wait_for
from campaigns.live import CODES, Live
from campaigns.runner import commit, machine

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}
LIMIT_MS = 300


def once(cabinet: RealCabinet, live: Live) -> float:
    """Run one measurement. Return milliseconds; afterwards the four charge again."""
    live.all_charge()
    seq = cabinet.journal()[-1]["seq"]
    pids = [cabinet.processes["guard"].popen.pid, *cabinet.guard_pids()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    from_ms = cabinet.now_ms()
    cabinet.command("failsafe")
    opened = [each for each in cabinet.journal(seq) if each["kind"] == "contacts_opened" and each["outlet"] in CODES]
    wait_for("every relay open", cabinet.all_contacts_open)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGKILL)
    cabinet.processes.pop("guard").kill()
    cabinet.start("guard")
    if {each["outlet"] for each in opened} != set(CODES):
        raise RuntimeError(f"failsafe came back with only {opened} open")
    return float(max(each["at_ns"] for each in opened)) / 1e6 - from_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with (
        tempfile.TemporaryDirectory(prefix="failsafe-") as folder,
        running(Path(folder), NO_HEARTBEAT, "sim", "guard", "service") as cabinet,
    ):
        live = Live(cabinet, random.Random(1), lambda text: None)
        live.start()
        took_ms = sorted(once(cabinet, live) for _ in range(times))
    print(f"{machine()}, commit {commit()}\n")
    print("| | times | median ms | worst ms | limit ms |\n|---|---|---|---|---|")
    print(f"| failsafe | {times} | {took_ms[times // 2]:.0f} | {took_ms[-1]:.0f} | {LIMIT_MS} |")


if __name__ == "__main__":
    main()
