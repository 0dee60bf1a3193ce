"""Status messages to the service manager by systemd's notification protocol (sd_notify(3)).

`cabinet run` also receives them. A dozen lines here replace a dependency last released in 2017.
"""

import contextlib
import os
import socket


class Notifier:
    """Sender to $NOTIFY_SOCKET; it does nothing if there is no manager."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, *assignments: str) -> None:
        """Send assignments, such as `send("READY=1", "STATUS=protecting 10 outlets")`.

        A manager that is gone or busy is no error, and the next message is still tried: a guard that stopped feeding
        the watchdog because of one full queue would be killed for it.
        """
        if self._address:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(assignments).encode(), self._address)

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Feed the manager's watchdog."""
        self.send("WATCHDOG=1")


def watchdog_interval_s() -> float | None:
    """Return the interval for `alive`: half of what the manager allows, or None if there is no watchdog."""
    allowed_us = os.environ.get("WATCHDOG_USEC")
    return int(allowed_us) / 2e6 if allowed_us else None
