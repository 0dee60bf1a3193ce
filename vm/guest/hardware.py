"""Hardware of the machine's pins and bus: the simulated cabinet, connected to the kernel's devices.

Transfers of the I2C adapter are passed to the simulator unchanged. Levels of output lines are passed on when they
change, and the simulator's alert lines pull the input lines. Every change of an output is logged in
/run/bench/lines.log with the monotonic clock, which the simulator's journal also uses.
"""

import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from gpiozero import DigitalInputDevice, OutputDevice

from cabinet.sim.control import SimControl
from cabinet.sim.wire import WirePinFactory

RUN = Path("/run/bench")
LINES = RUN / "lines"
OUTPUTS, ALERTS = (10, 11, 17), (4, 5)
LOOK_S = float(os.environ.get("LOOK_S", "0.002"))
PLUGGED = Path("/var/lib/bench/plugged")  # a bike stays plugged in when the cabinet loses power


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(55))  # hardware does not wait for software
    for line in PLUGGED.read_text().splitlines() if PLUGGED.exists() else []:
        outlet, load, charge = line.split()
        with SimControl(RUN / "sim-control.sock") as control:
            control.plug(int(outlet), load, float(charge))
    pins = WirePinFactory(RUN / "sim.sock")
    join_alerts(pins)
    threading.Thread(target=join_bus, daemon=True).start()
    notify()
    join_outputs(pins)


def join_bus() -> None:
    """Pass frames on; those of adapter and simulator differ only in their heads."""
    wire = os.open("/dev/i2c-bench", os.O_RDWR)
    sim = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sim.connect(str(RUN / "sim.sock"))
    while True:
        asked = os.read(wire, 4096)
        sim.send(struct.pack("<BQ", ord("T"), time.monotonic_ns()) + asked[4:])
        answer = sim.recv(16384)
        if answer[:1] != b"t":
            sys.exit(f"the simulator refused {asked[4:].hex()}: {answer!r}")
        _, done_ns, failed = struct.unpack_from("<BQH", answer)
        left_s = (done_ns - time.monotonic_ns()) / 1e9
        if left_s > 20e-6:
            time.sleep(left_s)
        os.write(wire, asked[:4] + struct.pack("<i", failed) + answer[11:])


def join_alerts(pins: WirePinFactory) -> None:
    for number in ALERTS:
        pull = os.open(LINES / f"sim_gpio{number}" / "pull", os.O_WRONLY)
        device = DigitalInputDevice(number, pull_up=True, pin_factory=pins)

        def show(low: bool, pull: int = pull) -> None:
            os.pwrite(pull, b"pull-down" if low else b"pull-up", 0)

        device.when_activated = lambda show=show: show(True)
        device.when_deactivated = lambda show=show: show(False)
        show(bool(device.value))
        kept.append(device)


def join_outputs(pins: WirePinFactory) -> None:
    files = {number: os.open(LINES / f"sim_gpio{number}" / "value", os.O_RDONLY) for number in OUTPUTS}
    devices = {number: OutputDevice(number, pin_factory=pins) for number in OUTPUTS}
    levels = dict.fromkeys(OUTPUTS, False)
    log = (RUN / "lines.log").open("a", buffering=1)
    while True:
        for number, file in files.items():
            high = os.pread(file, 1, 0) == b"1"
            if high != levels[number]:
                now_ns = time.monotonic_ns()
                devices[number].value = high
                levels[number] = high
                log.write(f"{now_ns} {number} {int(high)}\n")
        time.sleep(LOOK_S)


def notify() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


kept: list[DigitalInputDevice] = []

if __name__ == "__main__":
    main()
