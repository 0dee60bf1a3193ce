"""Status of the service in a file in memory, for the console, which connects to the guard only and has no network.

The service writes it with every checkpoint; if it is old or missing, the service does not run. Its time is the
machine's monotonic clock, which both share.
"""

import contextlib
import logging
from pathlib import Path

import msgspec

from cabinet.clock import NS
from cabinet.model import REFUSALS
from cabinet.system import run_folder
from cabinet.system.atomic_file import write_file

log = logging.getLogger(__name__)

BEATS_MISSED = 3
GONE = "gone"  # the service does not run, or hangs


class ServiceStatus(msgspec.Struct, frozen=True):
    """`hindrance`: the service's own reason why no charge may start (one of REFUSALS), or None.

    `attacker`: an address that has recently guessed PINs or passwords, or None. `unclosed`: a past month of the usage
    log that is not closed, or empty; `unclosed_why` gives the reason.
    """

    at_ns: int
    every_s: float
    hindrance: str | None
    attacker: str | None = None
    unclosed: str = ""
    unclosed_why: str = ""


def path_in(run: Path) -> Path:
    return run_folder.service_folder(run) / "service.pulse"


def write(path: Path, status: ServiceStatus) -> None:
    """Write the file atomically. Never raises: nothing depends on it."""
    try:
        write_file(path, msgspec.json.encode(status), synced=False)
    except OSError as error:
        log.warning("%s: %s", path, error.strerror)


def remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def start_refusal(path: Path, now_ns: int) -> str | None:
    """Return the code of the reason why no charge may start, as reported by the service; GONE without a report."""
    status = _fresh(path, now_ns)
    if status is None:
        return GONE
    return status.hindrance if status.hindrance in REFUSALS else None


def attacking_address(path: Path, now_ns: int) -> str | None:
    """Return the address that has recently guessed PINs or passwords, as reported by the service."""
    status = _fresh(path, now_ns)
    if status is None or status.attacker is None:
        return None
    return "".join(sign for sign in status.attacker[:64] if sign.isprintable())


def unclosed_month(path: Path, now_ns: int) -> tuple[str, str] | None:
    """Return the month that could not be closed and why; None if there is none, or if no service reports."""
    status = _fresh(path, now_ns)
    return None if status is None or not status.unclosed else (status.unclosed, status.unclosed_why)


def _fresh(path: Path, now_ns: int) -> ServiceStatus | None:
    try:
        status = msgspec.json.decode(path.read_bytes(), type=ServiceStatus)
    except (OSError, msgspec.MsgspecError):
        return None
    return status if 0 <= now_ns - status.at_ns <= BEATS_MISSED * status.every_s * NS else None
