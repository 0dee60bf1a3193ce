"""Agent that runs commands for the tests on the host: one JSON line in, one out, over a port of the virtual machine."""

import json
import os
import subprocess
import sys
from typing import Any, BinaryIO

PORT = "/dev/virtio-ports/agent"


def main() -> None:
    with open(PORT, "r+b", buffering=0) as port:
        port.write(b'{"up": true}\n')
        kept = b""
        while True:
            data = os.read(port.fileno(), 65536)
            if not data:
                sys.exit("nobody at the other end")
            *lines, kept = (kept + data).split(b"\n")
            for line in filter(None, lines):
                send(port, json.dumps(done(json.loads(line))).encode() + b"\n")


def send(port: BinaryIO, data: bytes) -> None:
    """Send all data; the port accepts only about a page at a time."""
    while data:
        data = data[port.write(data) :]


def done(asked: dict[str, Any]) -> dict[str, object]:
    if asked.get("hello"):
        return {"up": True}
    try:
        ran = subprocess.run(
            asked["run"], shell=True, capture_output=True, text=True, timeout=asked["within_s"], errors="replace"
        )
        return {"number": asked["number"], "status": ran.returncode, "out": ran.stdout, "err": ran.stderr}
    except subprocess.TimeoutExpired:
        return {"number": asked["number"], "status": 124, "out": "", "err": f"longer than {asked['within_s']} s"}


if __name__ == "__main__":
    main()
