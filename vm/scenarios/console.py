"""The maintenance console over the machine's serial port."""

import re
import socket
import time

from vm.harness import VmHarness
from vm.machine import Machine

PROMISE = "the console on the serial port takes a login and shows the outlets"
BEFORE = "charging"


def run(harness: VmHarness) -> None:
    harness.wait_protecting()
    new_pin = "setpriv --reuid=cabinet-console --regid=cabinet --clear-groups cabinet console --new-pin tech"
    found = re.search(r"PIN (\d+)", harness.run(new_pin))
    harness.shows("a PIN is made by the command line", found)
    assert found is not None
    assert isinstance(harness.machine, Machine)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(harness.machine.console_path))
        line.settimeout(5)
        said = ""
        for typed in ("\r", "tech\r", f"{found[1]}\r", "status\r"):
            line.sendall(typed.encode())
            said += _heard(line, 60)
        harness.shows(
            "it knows the cabinet and lists the outlets", "VM-1" in said and re.search(r"^\s*2\s", said, re.MULTILINE)
        )


def _heard(line: socket.socket, within_s: float) -> str:
    """Return all output until there is none for the socket's timeout."""
    deadline, data = time.monotonic() + within_s, b""
    while time.monotonic() < deadline:
        try:
            data += line.recv(4096)
        except TimeoutError:
            if data:
                break
    return data.decode(errors="replace")
