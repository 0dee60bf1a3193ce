"""How the service is, in a file in memory for the console, which speaks to the guard only and has no network.

The service writes it with every checkpoint; one that is old, or not there, is that of a service that does not run.
Its time is the machine's monotonic clock, which both share.
"""

import contextlib
import logging
from pathlib import Path

import msgspec

from cabinet import run_folder
from cabinet.clock import NS
from cabinet.model import REFUSALS

log = logging.getLogger(__name__)

BEATS_MISSED = 3
GONE = "gone"  # the service does not run, or hangs


class Pulse(msgspec.Struct, frozen=True):
    """`hindrance`: what keeps new charges from beginning that lies with the service (one of REFUSALS), or None.

    `attacker`: the address that guesses at PINs or passwords lately, or None.
    """

    at_ns: int
    every_s: float
    hindrance: str | None
    attacker: str | None = None


def path_in(run: Path) -> Path:
    return run_folder.service_folder(run) / "service.pulse"


def write(path: Path, pulse: Pulse) -> None:
    """There as a whole or not at all. Never raises: nothing depends on it."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(pulse))
        part.replace(path)
    except OSError as error:
        log.warning("%s: %s", path, error.strerror)


def remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def hindrance(path: Path, now_ns: int) -> str | None:
    """What hinders new charges as the service says; GONE if it says nothing any more."""
    pulse = _fresh(path, now_ns)
    if pulse is None:
        return GONE
    return pulse.hindrance if pulse.hindrance in REFUSALS else None


def attacker(path: Path, now_ns: int) -> str | None:
    """The address that guesses at PINs or passwords lately, as the service says."""
    pulse = _fresh(path, now_ns)
    if pulse is None or pulse.attacker is None:
        return None
    return "".join(sign for sign in pulse.attacker[:64] if sign.isprintable())


def _fresh(path: Path, now_ns: int) -> Pulse | None:
    try:
        pulse = msgspec.json.decode(path.read_bytes(), type=Pulse)
    except (OSError, msgspec.MsgspecError):
        return None
    return pulse if 0 <= now_ns - pulse.at_ns <= BEATS_MISSED * pulse.every_s * NS else None
