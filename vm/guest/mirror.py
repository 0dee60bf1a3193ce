"""Files with the states of the simulator's coils, in place of GPIO lines, which a container does not have."""

import os
import socket
import time
from pathlib import Path

from cabinet.sim.control import SimControl

RUN = Path("/run/bench")
LINES = {1: 10, 2: 11, None: 17}  # lines of the outlets' relays, and of the contactor
PLUGGED = Path("/var/lib/bench/plugged")
LOOK_S = 0.05


def main() -> None:
    for line in LINES.values():
        value = RUN / "lines" / f"sim_gpio{line}" / "value"
        value.parent.mkdir(parents=True, exist_ok=True)
        value.write_text("0\n")
    with SimControl(Path("/run/cabinet/sim-control.sock")) as control:
        for plugged in PLUGGED.read_text().splitlines() if PLUGGED.exists() else []:
            outlet, load, charge = plugged.split()
            control.plug(int(outlet), load, float(charge))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
        follow(control)


def follow(control: SimControl) -> None:
    known = 0
    log = (RUN / "lines.log").open("a", buffering=1)
    while True:
        for entry in control.journal(known):
            known = max(known, entry["seq"])
            coil, _, what = entry["kind"].rpartition("_")
            if (coil, what) in (("coil", "on"), ("coil", "off"), ("contactor", "on"), ("contactor", "off")):
                line = LINES.get(entry.get("outlet"))
                if line is None:
                    continue  # the bench reads only the first two outlets
                (RUN / "lines" / f"sim_gpio{line}" / "value").write_text("1\n" if what == "on" else "0\n")
                log.write(f"{entry['at_ns']} {line} {int(what == 'on')}\n")
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
