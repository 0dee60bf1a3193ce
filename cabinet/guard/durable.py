"""Files that survive a power cut: the old content or the new one, never half of it."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, unfinished: Path) -> None:
    """Write `content` to `path` as a whole, by way of `unfinished` in the same folder; on disk when this returns.

    Makes the folder where it is missing. Raises OSError, and then `path` is as it was.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync(path.parent.parent)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)  # a full disk needs the room
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
