"""Atomic edits of a few bytes in files that belong to others; mode and owner are kept."""

import contextlib
import os
import shutil
from pathlib import Path


def replace_content(path: Path, content: bytes) -> None:
    """Replace the content of the file at `path`, links followed. Raises OSError, in which case nothing is changed.

    Mode, owner and attributes stay; a file system without owners, such as the firmware's FAT, has none to keep.
    """
    target = path.resolve()
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            before = target.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            shutil.copymode(target, part)
            os.fsync(file.fileno())
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def keep_copy(path: Path, copy: Path) -> None:
    """Copy the file to `copy` unless that exists already: the copy holds the original state of the file."""
    if copy.exists():
        return
    part = copy.with_name(f"{copy.name}.part")
    shutil.copy2(path.resolve(), part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(copy)
