"""Sockets and small files in memory (`paths.run`), each in the folder of the process that owns it.

On a cabinet the run folder itself is root's and each process has a user of its own, so no process can place anything in
another's folder: neither a false guard socket, nor the file by which root keeps everything switched off.
"""

from pathlib import Path

MAX_SOCKET_NAME = "service/service.sock"  # a socket's path may have 107 bytes


def guard_folder(run: Path) -> Path:
    """Return the folder of the guard: its socket, and the copies of its state that survive the keeper."""
    return run / "guard"


def guard_socket(run: Path) -> Path:
    return guard_folder(run) / "guard.sock"


def service_folder(run: Path) -> Path:
    return run / "service"


def service_address(run: Path) -> Path:
    """Return the file that holds the address of the pages while they are served."""
    return service_folder(run) / "service.url"


def steward_folder(run: Path) -> Path:
    return run / "steward"


def console_terminal(run: Path) -> Path:
    """Return the link to the pseudo-terminal of a console without a serial port."""
    return run / "console" / "console.pty"
