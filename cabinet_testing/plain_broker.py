"""A real mosquitto without TLS on loopback, for tests and benches in which cabinets are messages only."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
HOST = "127.0.0.1"
UP_WITHIN_S = 20.0


def missing() -> str | None:
    """Return the reason why no broker can be started here, or None."""
    return None if MOSQUITTO else "mosquitto is not installed (apt-get install mosquitto)"


class PlainBroker:
    def __init__(self, folder: Path) -> None:
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            ("user root\n" if os.geteuid() == 0 else "")
            + f"listener {self.port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 200000\n"
            "max_inflight_messages 0\nlog_type error\nlog_type warning\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the broker; return when it accepts connections."""
        assert MOSQUITTO is not None, missing()
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + UP_WITHIN_S
        while True:
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "mosquitto does not start"
                time.sleep(0.01)
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(UP_WITHIN_S)
        self._process = None


@contextlib.contextmanager
def running() -> Iterator[PlainBroker]:
    """Run a broker for the block."""
    with tempfile.TemporaryDirectory(prefix="fleet-broker-") as folder:
        broker = PlainBroker(Path(folder))
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()
