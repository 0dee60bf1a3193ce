"""Cost of monitoring: duration of a scan against the bare bus time, and the guard's share of one core.

The guard, its loop and a viewing client run in real time over a recorded cabinet with a charge on every outlet
(bench/tape.py): a transfer takes as long as its bits at 400 kHz, without any simulation time. The rest is the guard's
own work. On a Pi the kernel's I2C driver adds a wake-up and an ioctl per transfer.

    python -m bench.scan [--outlets 10 20 40] [--seconds 10]
"""

import argparse
import logging
import os
import socket
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path

from bench.tape import TapedCabinet, sink
from cabinet.clock import NS
from cabinet.config import Config, parse
from cabinet.config.wiring import OUTPUT_ONLY
from cabinet.guard.loop import Loop, become_realtime
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import Hello, Role, Welcome
from cabinet.link.server import LinkServer
from campaigns.runner import commit, machine

RATIO_BAR, CORE_BAR, CORE_AIM = 1.3, 0.50, 0.25
RECORDED_NS = 12 * NS  # covers every slow value of forty outlets many times
ALERT_PINS = (4, 5, 6, 12, 13, 16, 18, 19, 20, 21)
INTERRUPT_PINS = (14, 15, 8)
EXPANDER_INPUTS = [pin for pin in range(16) if pin not in OUTPUT_ONLY]
CODE_SIGNS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def cabinet_of(outlets: int) -> Config:
    """Return the demo cabinet with more outlets: two per meter chip, eight chips per mux, 16 relays per expander.

    Alert lines end at the computer while it has pins, the others at separate expanders.
    """
    head = demo_toml().partition("[[outlet]]")[0]
    muxes = [0x70 + number for number in range((outlets + 15) // 16)]
    expanders = [0x20 + number for number in range((outlets + 15) // 16)]
    head = head.replace("expanders = [0x20]", f"expanders = {expanders}").replace("muxes = [0x70]", f"muxes = {muxes}")
    interrupts = [
        f"{{ address = {0x24 + number:#04x}, interrupt_pin = {INTERRUPT_PINS[number]} }}"
        for number in range(-(-(outlets - len(ALERT_PINS)) // len(EXPANDER_INPUTS)))
    ]
    head = head.replace("muxes =", f"alert_expanders = [{', '.join(interrupts)}]\nmuxes =")
    head += f"[feed]\nlimit_w = {700 * outlets}\n\n"
    head = head.replace('feed_meter = { mux = 0x70, channel = 5, input = "A" }\n', "")
    return parse(head + "".join(_outlet(index) for index in range(outlets)), f"{outlets} outlets")


def demo_toml() -> str:
    return resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")


def _outlet(index: int) -> str:
    first, second = CODE_SIGNS[index % 32], CODE_SIGNS[(index // 32 + index) % 32]
    behind = f"mux = {0x70 + index // 16}, channel = {index // 2 % 8}"
    beyond, place = divmod(index - len(ALERT_PINS), len(EXPANDER_INPUTS))
    alert = f"gpio:{ALERT_PINS[index]}" if beyond < 0 else f"expander:{0x24 + beyond:#04x}/{EXPANDER_INPUTS[place]}"
    return (
        f'[[outlet]]\nnumber = {index + 1}\ncode = "{first}{first}{second}{second}"\n'
        f'relay = "expander:{0x20 + index // 16:#04x}/{index % 16}"\nalert = "{alert}"\n'
        f'meter = {{ {behind}, input = "{"AB"[index % 2]}" }}\nthermometer = {{ {behind}, address = 0x48 }}\n'
    )


def measure(outlets: int, seconds: float) -> str:
    """Measure one cabinet. Return its row of the table."""
    config = cabinet_of(outlets)
    with tempfile.TemporaryDirectory() as folder:
        sim = TapedCabinet(Path(folder), config)
        sim.record(RECORDED_NS)
        sim.play()
        row = _run(sim, Path(folder) / "guard.sock", seconds)
        trips = [event for event in sim.guard.events.kept if event.fault is not None]
        if trips:
            raise RuntimeError(f"the guard found a fault in what was recorded: {trips[0]}")
        sim.close()
    return row


def _run(sim: TapedCabinet, path: Path, seconds: float) -> str:
    guard, tape = sim.guard, sim.tape
    welcome = Welcome(guard_protocol.VERSION, guard.guard_run, guard.epoch, [unit.number for unit in guard.units])
    told = guard.events, guard.handle, guard.snapshot, guard.bus_view, sim.clock, guard.maintenance_state
    server = LinkServer(path, welcome, *told)
    beat_fd = sink()
    loop = Loop(sim.config, guard, sim.alerts, server, sim.clock, beat_fd)
    scans_ns: list[int] = []
    wires_ns: list[int] = []
    tick = guard.tick

    def timed(late_ns: int = 0) -> None:
        start_ns, wire_ns = time.monotonic_ns(), tape.wire_ns
        tick(late_ns)
        scans_ns.append(time.monotonic_ns() - start_ns)
        wires_ns.append(tape.wire_ns - wire_ns)

    guard.tick = timed  # type: ignore[method-assign, assignment]
    threading.Timer(seconds, loop.stop).start()
    watcher = os.fork()
    if watcher == 0:
        _watch(path, seconds)
    cpu_ns, wall_ns, waited_ns = time.thread_time_ns(), time.monotonic_ns(), tape.waited_ns
    loop.run()
    own_ns = time.thread_time_ns() - cpu_ns - (tape.waited_ns - waited_ns)
    wall_ns = time.monotonic_ns() - wall_ns
    os.waitpid(watcher, 0)
    server.close()
    os.close(beat_fd)
    return _row(len(guard.units), scans_ns, wires_ns, own_ns / wall_ns, wall_ns)


def _watch(path: Path, seconds: float) -> None:
    """Receive the published snapshots as the service does, in a separate process."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    end_s = time.monotonic() + seconds - 0.2
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(path))
        client.send(guard_protocol.encode(Hello(Role.VIEWER)))
        while time.monotonic() < end_s and client.recv(guard_protocol.MAX_FRAME):
            pass
    os._exit(0)


def _row(outlets: int, scans_ns: list[int], wires_ns: list[int], share: float, wall_ns: int) -> str:
    wire_ms, scan_ms = sum(wires_ns) / len(wires_ns) / 1e6, sum(scans_ns) / len(scans_ns) / 1e6
    ordered = sorted(scan / wire for scan, wire in zip(scans_ns, wires_ns, strict=True))
    middle, high = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
    return (
        f"| {outlets} | {wall_ns / len(scans_ns) / 1e6:.2f} | {wire_ms:.2f} | {scan_ms:.2f} | {middle:.2f} "
        f"| {high:.2f} | {share:.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outlets", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    realtime = become_realtime(50)
    print(f"{machine()}, commit {commit()}, {'SCHED_FIFO' if realtime else 'NOT real time'}, bus at 400 kHz\n")
    print("| outlets | turn ms | bus ms | scan ms | scan over bus, p50 | p99 | guard's own share of a core |")
    print("|---|---|---|---|---|---|---|")
    for outlets in args.outlets:
        print(measure(outlets, args.seconds), flush=True)
    print(f"\nbars: scan over bus {RATIO_BAR} at ten outlets; share {CORE_BAR:.0%}, aim {CORE_AIM:.0%}")


if __name__ == "__main__":
    main()
