"""Instructions of one turn of the guard: its own work in user space, without the kernel and without the bus's time.

The guard, its loop and a viewing client run under a manual clock over a recorded cabinet with a charge on every outlet
and alert lines (bench/tape.py). The product's own code runs down to the ioctl: the function that replaces the kernel
answers from the tape, and its own instructions are measured by repeating its last calls, and subtracted. So is the
sleep until the next turn, which only moves the clock. Counted by callgrind (Debian package valgrind); a time in a tight
loop is given beside it, because fewer instructions are not always less time.

    python -m bench.instructions [--outlets 10 40] [--turns 300]
    python -m bench.instructions --no-count      the time only, in seconds
"""

import argparse
import ctypes
import json
import logging
import operator
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import smbus2.smbus2

from bench.scan import cabinet_of
from bench.tape import Tape, TapedCabinet, TurningClock, sink
from cabinet.clock import NS, ManualClock, WallTime
from cabinet.guard import loop as loop_module
from cabinet.guard.loop import Loop
from cabinet.hardware import bus as bus_module
from cabinet.hardware.bus import KernelBus
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import Welcome
from cabinet.link.server import LinkServer
from cabinet.sim.smbus import Message
from campaigns.runner import commit, machine

BAR = 500_000  # at ten outlets
RECORDED_NS = 12 * NS  # for ten outlets: covers every slow value and every check of a setting
WARM_TURNS = 350  # the voltage, each slow value and a snapshot have had their turn
REPEATED_CALLS = 340
REPEATS = 5
VIEWER_S = 60.0
VIEWER = """
import socket, sys
from cabinet.link.guard_protocol import Hello, MAX_FRAME, Role, encode
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect(sys.argv[1])
sock.send(encode(Hello(Role.VIEWER)))
while sock.recv(MAX_FRAME):
    pass
"""


class TapedKernel:
    """Replacement of `ioctl` for one I2C adapter: every transfer goes to a tape."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._address = 0
        self.calls = 0
        self.last: list[tuple[int, int, Any]] = []
        self.keeping = False

    def ioctl(self, fd: int, request: int, data: Any = 0, mutate: bool = True) -> int:
        """Do what the kernel's I2C driver does for the requests in use; count the transfers."""
        if self.keeping and request == smbus2.smbus2.I2C_RDWR:
            self.last.append((fd, request, data))
        if request == smbus2.smbus2.I2C_RDWR:
            self._combined(data)
        elif request == smbus2.smbus2.I2C_SLAVE:
            self._address = data
        elif request == smbus2.smbus2.I2C_SMBUS:
            self._byte(data)
        return 0

    def _combined(self, data: Any) -> None:
        self.calls += 1
        messages: list[Message] = []
        read = None
        for place in range(data.nmsgs):
            message = data.msgs[place]
            if message.flags & 1:
                read = message
                messages.append((message.addr, None, message.len))
            else:
                messages.append((message.addr, ctypes.string_at(message.buf, message.len), 0))
        answer = self._tape.transfer(messages)
        if read is not None:
            ctypes.memmove(read.buf, answer, read.len)

    def _byte(self, data: Any) -> None:
        self.calls += 1
        if data.size != smbus2.smbus2.I2C_SMBUS_BYTE or data.read_write != smbus2.smbus2.I2C_SMBUS_READ:
            raise RuntimeError(f"the guard makes an SMBus transfer of size {data.size}, which no tape has")
        data.data.contents.byte = self._tape.transfer(((self._address, None, 1),))[0]


class KernelTape(Tape):
    """The tape without waiting: under the manual clock a transfer takes its time on the wire by moving the clock."""

    clock: ManualClock

    def wait(self, start_ns: int, wire_ns: int) -> None:
        self.clock.advance_ns(wire_ns)


class CellClock(TurningClock):
    """A manual clock as cheap to read as the kernel's: its reading is no work of the guard."""

    def __init__(self) -> None:
        super().__init__()
        self._cell = [self._now_ns]
        self.monotonic_ns = partial(operator.getitem, self._cell, 0)  # type: ignore[method-assign, assignment]

    def advance_ns(self, duration_ns: int) -> None:
        self._cell[0] += duration_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self._cell[0] = max(self._cell[0], deadline_ns)

    def set_back(self, now_ns: int) -> None:
        """Undo the time of transfers that are only repeated."""
        self._cell[0] = now_ns

    def wall(self) -> WallTime:
        self._now_ns = self._cell[0]
        return super().wall()


class KernelCabinet(TapedCabinet):
    """A taped cabinet with the product's own bus code above the taped kernel."""

    turning: CellClock

    def new_clock(self) -> TurningClock:
        return CellClock()

    def open_bus(self) -> Any:
        tape = super().open_bus()
        self.kernel = TapedKernel(tape)
        bus_module.ioctl = self.kernel.ioctl  # type: ignore[attr-defined, assignment]
        bus = KernelBus()
        smbus2.smbus2.ioctl = self.kernel.ioctl  # type: ignore[attr-defined]
        bus.fd = os.open(os.devnull, os.O_RDWR)  # no adapter, and never used as one
        return bus

    def make_tape(self, bus: Any, muxes: Any, bit_ns: float) -> Tape:
        tape = KernelTape(bus, muxes, bit_ns)
        tape.clock = self.turning
        return tape


class ManualSelect:
    """Replacement of the loop's `select` module: waiting moves the clock; descriptors are only polled."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._select = select.select

    def select(self, readers: list[int], writers: list[int], errors: list[int], left_s: float) -> Any:
        ready = self._select(readers, writers, errors, 0)
        if not ready[0]:
            self._clock.advance_ns(round(left_s * NS))
        return ready


class CountedGuard:
    """Guard and loop of a cabinet with a charge on every outlet, ready to run turns."""

    def __init__(self, outlets: int, folder: Path) -> None:
        config = cabinet_of(outlets)
        sim = self.sim = KernelCabinet(folder, config)
        sim.record(RECORDED_NS * max(1, outlets // 10))
        sim.close_doors()
        guard = sim.guard
        self._socket = folder / "guard.sock"
        welcome = Welcome(guard_protocol.VERSION, guard.guard_run, guard.epoch, [unit.number for unit in guard.units])
        calls = guard.events, guard.handle, guard.snapshot, guard.bus_view, sim.clock, guard.maintenance_state
        self._server = LinkServer(self._socket, welcome, *calls)
        self._loop = Loop(config, guard, sim.alerts, self._server, sim.clock, sink())
        self._events = guard.events.last_seq
        self.joined: dict[int, bytes] = {}
        self._viewer = subprocess.Popen([sys.executable, "-c", VIEWER, str(self._socket)], env=os.environ)
        loop_module.select = ManualSelect(sim.clock)  # type: ignore[attr-defined, assignment]
        give_up_s = time.monotonic() + VIEWER_S
        while not any(client.snapshots for client in self._server._clients.values()):
            if time.monotonic() > give_up_s:
                raise RuntimeError("the viewing client does not connect")
            self.turns(1)
        self.turns(WARM_TURNS)

    def turns(self, count: int) -> None:
        """Run turns of the loop. Raises RuntimeError if the guard found a fault in the recording."""
        loop, guard = self._loop, self.sim.guard
        tick, left = guard.tick, count

        def counted(late_ns: int = 0) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                loop.stop()
            tick(late_ns)

        guard.tick = counted  # type: ignore[method-assign, assignment]
        loop._stopping = False
        loop.run()
        guard.tick = tick  # type: ignore[method-assign]
        faults = [event for event in guard.events.kept if event.seq > self._events and event.fault is not None]
        if faults:
            raise RuntimeError(f"the guard found a fault in what was recorded: {faults[0]}")

    def repeat_calls(self, calls: list[tuple[int, int, Any]]) -> None:
        """Repeat only the replacement of the kernel, with the arguments of earlier calls."""
        ioctl = self.sim.kernel.ioctl
        self.sim.tape.joined.update(self.joined)  # the muxes as they were before the first of them
        now_ns = self.sim.turning.monotonic_ns()
        for fd, request, data in calls:
            ioctl(fd, request, data)
        self.sim.turning.set_back(now_ns)

    def close(self) -> None:
        self._viewer.terminate()
        self._viewer.wait()
        self._server.close()
        self.sim.close()


def _measure(guard: CountedGuard, turns: int, around: Callable[[Callable[[], None]], float]) -> dict[str, float]:
    """Return figures a turn; `around` runs a function and returns its cost."""
    kernel = guard.sim.kernel
    guard.joined = dict(guard.sim.tape.joined)
    kernel.keeping = True
    guard.turns(REPEATED_CALLS // 17)
    kernel.keeping = False
    calls, kernel.last = kernel.last, []
    before = kernel.calls
    whole = around(lambda: guard.turns(turns))
    transfers = (kernel.calls - before) / turns
    before = kernel.calls
    taped = around(lambda: guard.repeat_calls(calls)) / (kernel.calls - before)
    return {"whole": whole / turns, "taped": taped * transfers, "transfers": transfers}


def _seconds(work: Callable[[], None]) -> float:
    start_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - start_ns) / NS


class Callgrind:
    """Counter of instructions of this process, which runs under callgrind with its instrumentation off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dumps = 0

    def __call__(self, work: Callable[[], None]) -> float:
        self._control("-i", "on")
        self._control("-z")
        work()
        self._control("-d", "counted")
        self._control("-i", "off")
        newest = max(self._folder.glob("callgrind.out*"), key=lambda path: path.stat().st_mtime_ns)
        found = re.search(r"^(?:summary|totals): (\d+)", newest.read_text(), re.MULTILINE)
        if found is None:
            raise RuntimeError(f"{newest} has no sum")
        newest.unlink()
        return float(found[1])

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            ["callgrind_control", *arguments, str(os.getpid())],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _child(outlets: int, turns: int, folder: Path, count: bool) -> None:
    """Measure one cabinet, in a process of its own; print the figures as JSON."""
    logging.disable(logging.ERROR)
    guard = CountedGuard(outlets, folder)
    if count:
        figures = _measure(guard, turns, Callgrind(folder))
    else:
        runs = [_measure(guard, turns, _seconds) for _ in range(REPEATS)]
        figures = min(runs, key=lambda run: run["whole"] - run["taped"])
    guard.close()
    print(json.dumps(figures))


def _run_child(outlets: int, turns: int, count: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.instructions", "--child", folder, "--outlets", str(outlets)]
        command += ["--turns", str(turns)]
        if count:
            tool = [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={folder}/callgrind.out",
            ]
            command = [*tool, "-q", *command]
        else:
            command += ["--no-count"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outlets", type=int, nargs="+", default=[10])
    parser.add_argument("--turns", type=int, default=300, help="counted; the time is of ten times as many")
    parser.add_argument("--no-count", action="store_true", help="only the time")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        _child(args.outlets[0], args.turns, args.child, not args.no_count)
        return
    count = not args.no_count
    if count and shutil.which("valgrind") is None:
        parser.error("callgrind is not installed: apt-get install valgrind; or give --no-count")
    print(f"{machine()}, commit {commit()}\n")
    print("| outlets | transfers a turn | instructions a turn | bar | own time a turn, us |")
    print("|---|---|---|---|---|")
    for outlets in args.outlets:
        timed = _run_child(outlets, 10 * args.turns, count=False)
        own_us = 1e6 * (timed["whole"] - timed["taped"])
        counted = _run_child(outlets, args.turns, count=True) if count else None
        number = "" if counted is None else f"{counted['whole'] - counted['taped']:,.0f}"
        bar = f"{BAR:,}" if outlets == 10 else ""
        print(f"| {outlets} | {timed['transfers']:.1f} | {number} | {bar} | {own_us:.0f} |", flush=True)


if __name__ == "__main__":
    main()
