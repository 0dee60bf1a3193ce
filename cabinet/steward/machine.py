"""Where things are on this computer: handed in, so that a test's drives and programs are its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cabinet.errors import CabinetError

Run = Callable[[Sequence[str]], bytes]


class StewardError(CabinetError):
    """It could not be done; the message is for the technician.

    With a `code` the console says it in the technician's language, `params` in its place; the log has `text`.
    """

    def __init__(self, text: str, code: str = "", **params: str) -> None:
        super().__init__(text)
        self.code = code
        self.params = params


class Machine(msgspec.Struct, frozen=True):
    """The paths that the steward looks at, and how the clock and programs are reached."""

    backups: Path
    run: Run
    set_clock: Callable[[int], None]  # milliseconds since 1970; raises OSError
    mounts: Path = Path("/proc/self/mounts")
    blocks: Path = Path("/sys/class/block")
    resolver: Path = Path("/etc/resolv.conf")
    udev: Path = Path("/run/udev/data")  # what udev knows of each device
    reading: Path = Path("/run/cabinet.stick")  # where a stick that nobody has mounted is mounted meanwhile
