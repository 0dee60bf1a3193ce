"""Permission check of files that hold secrets: only their owner may read them."""

import os
import stat
from pathlib import Path

from cabinet.errors import CabinetError


def check_private(path: Path) -> None:
    """Raise CabinetError if another account of this machine may read or change the file; a missing file is fine."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise CabinetError(f"{path}: {error.strerror}") from error
    if found.st_uid not in (os.geteuid(), 0):
        raise CabinetError(f"{path}: holds secrets and belongs to another account: chown it to the one that runs this")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise CabinetError(f"{path}: holds secrets and others may read it (mode {mode:04o}): chmod 600 {path}")
