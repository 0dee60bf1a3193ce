"""Tells the service manager how a process is doing: systemd's notification protocol (sd_notify(3)), which
`cabinet run` listens to as well. A dozen lines here instead of a dependency whose last release is from 2017.
"""

import contextlib
import os
import socket


class Notifier:
    """Sends to $NOTIFY_SOCKET; does nothing where no manager listens."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, *assignments: str) -> None:
        """Such as `send("READY=1", "STATUS=protecting 10 outlets")`.

        A manager that is gone or busy is no error, and the next message is tried all the same: a guard that stopped
        feeding the watchdog because of one full queue would be killed for it.
        """
        if self._address:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(assignments).encode(), self._address)

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Feeds the manager's watchdog."""
        self.send("WATCHDOG=1")


def watchdog_interval_s() -> float | None:
    """How often to call `alive`: half of what the manager allows, or None without a watchdog."""
    allowed_us = os.environ.get("WATCHDOG_USEC")
    return int(allowed_us) / 2e6 if allowed_us else None
