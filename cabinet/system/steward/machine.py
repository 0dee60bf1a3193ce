"""Paths and programs of this computer. They are parameters: a test passes its own drives and programs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cabinet.errors import CabinetError

Run = Callable[[Sequence[str]], bytes]


class StewardError(CabinetError):
    """Failure of an operation; the message is for the technician.

    If there is a `code`, the console shows its text in the technician's language, with `params`; the log has `text`.
    """

    def __init__(self, text: str, code: str = "", **params: str) -> None:
        super().__init__(text)
        self.code = code
        self.params = params


class Machine(msgspec.Struct, frozen=True):
    """Paths that the steward reads, and its access to the clock and to programs."""

    backups: Path
    run: Run
    set_clock: Callable[[int], None]  # milliseconds since 1970; raises OSError
    mounts: Path = Path("/proc/self/mounts")
    blocks: Path = Path("/sys/class/block")
    resolver: Path = Path("/etc/resolv.conf")
    udev: Path = Path("/run/udev/data")  # udev's data of each device
    reading: Path = Path("/run/cabinet.stick")  # temporary mount point of a stick that is not mounted
