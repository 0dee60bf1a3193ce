"""What is behind the machine's pins and bus: the simulated cabinet, joined to the kernel's own devices.

The I2C adapter's transfers go to the simulator as they are; levels of the output lines go to it when they change, and
its alert lines pull the input lines. Every change of an output is written to /run/bench/lines.log with the monotonic
clock, which the simulator's journal uses too.
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
PLUGGED = Path("/var/lib/bench/plugged")  # a bike stays where it is when the cabinet loses its power


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
    """Frames of the adapter are frames of the simulator's, but for their heads."""
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
