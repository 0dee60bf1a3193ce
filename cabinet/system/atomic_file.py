"""Files that survive a power cut: they hold the old content or the new one, never half of it."""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 4096  # of an ext4 file system: the smallest part of a file that is written
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # renameat2(2)
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_libc = ctypes.CDLL(None, use_errno=True)


class ReservedFile:
    """A file that a full disk still accepts: room for it and its successor is reserved before it is needed.

    `path` holds the content, padded with blanks; `spare`, next to it and of the same size, is overwritten in place and
    synced, and then the two exchange their names in one step. So a write needs no new block, and a power cut at any
    instruction leaves the old content or the new one. Any other reader of the file sees text with blanks at its end.
    """

    def __init__(self, path: Path, room: int, synced: bool = True) -> None:
        """Reserve `room` bytes, a multiple of `BLOCK`; without `synced`, for memory, no call waits for a disk."""
        self.path = path
        self.spare = path.with_suffix(".spare")
        self._room = room
        self._synced = synced

    def read(self) -> bytes | None:
        """Return the content, with the blanks at its end; None if there is no such file. Raises OSError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def reserve(self) -> None:
        """Make the folder and the spare if they are missing. Raises OSError if the disk would reject the next write."""
        _make_folder(self.path.parent, self._synced)
        descriptor = self._open_spare()
        try:
            self._allocate(descriptor, self._room)
        finally:
            os.close(descriptor)

    def write(self, content: bytes) -> None:
        """Replace the content; it is on disk on return. More than `room` is accepted as well if the disk has it.

        Raises OSError, and then the content is unchanged; it is the new one if only the folder cannot be synced (a
        power cut may lose it then), or if no room can be reserved for the next write.
        """
        self.reserve()
        size = max(self._room, -(-(len(content) + 1) // BLOCK) * BLOCK)
        full = content + b" " * (size - len(content) - 1) + b"\n"
        descriptor = self._open_spare()
        try:
            self._allocate(descriptor, size)
            os.ftruncate(descriptor, size)  # cut a longer one
            _overwrite(descriptor, full)
            if self._synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _exchange(self.spare, self.path)
        if self._synced:
            sync(self.path.parent)
        self.reserve()  # at once, before any other writer takes the room

    def _open_spare(self) -> int:
        return os.open(self.spare, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)

    def _allocate(self, descriptor: int, size: int) -> None:
        if os.fstat(descriptor).st_size < size:
            os.posix_fallocate(descriptor, 0, size)


def _overwrite(descriptor: int, full: bytes) -> None:
    """Write the blocks that differ: each write wears the card."""
    before = os.pread(descriptor, len(full), 0)
    for at in range(0, len(full), BLOCK):
        block = full[at : at + BLOCK]
        if before[at : at + BLOCK] != block:
            _write_all(descriptor, block, at)


def _write_all(descriptor: int, block: bytes, at: int) -> None:
    written = 0
    while written < len(block):
        written += os.pwrite(descriptor, block[written:], at + written)


def _exchange(spare: Path, path: Path) -> None:
    """Give `path` the content of `spare` in one step; the spare becomes the old `path`, if there was one."""
    if path.exists() and _libc.renameat2(_AT_FDCWD, bytes(spare), _AT_FDCWD, bytes(path), _RENAME_EXCHANGE) == 0:
        return
    if path.exists() and (code := ctypes.get_errno()) not in _NO_EXCHANGE:
        raise OSError(code, os.strerror(code), str(path))
    spare.replace(path)  # the first time, and on file systems that cannot exchange


@contextlib.contextmanager
def replacing(
    path: Path, mode: int = 0o666, *, owner: int | None = None, new: bool = False, synced: bool = True
) -> Iterator[BinaryIO]:
    """Yield a file next to `path` that takes its name, with its content on disk, when the block ends.

    The file has `mode`, less the umask, and `owner`, if given, before it has any content. With `new`, an existing
    file is never replaced: raises FileExistsError. Raises OSError. On any exception the file next to it is removed,
    and `path` is unchanged, except if only the folder cannot be synced: then `path` has the new content, but may lose
    it in a power cut. Without `synced`, for memory and for output, no call waits for a disk.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # left by a process that was killed
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            if owner is not None:
                os.fchown(file.fileno(), owner, -1)
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        if new:
            os.link(part, path)  # unlike a rename, it fails if the name exists
            part.unlink()
        else:
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # a full disk needs the room
        raise
    if synced:
        sync(path.parent)


def write_file(
    path: Path, content: bytes, mode: int = 0o666, *, owner: int | None = None, new: bool = False, synced: bool = True
) -> None:
    """Write the file at once as `replacing` does, and make its folder if that is missing. Raises OSError."""
    _make_folder(path.parent, synced)
    with replacing(path, mode, owner=owner, new=new, synced=synced) as file:
        file.write(content)


def replace_content(path: Path, content: bytes) -> None:
    """Replace the content of another program's file at `path`, links followed. Raises OSError as `replacing` does.

    Mode and owner stay; a file system without owners, such as the firmware's FAT, has none to keep.
    """
    target = path.resolve()
    before = target.stat()
    with replacing(target) as file:
        file.write(content)
        with contextlib.suppress(PermissionError):
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))


def keep_copy(path: Path, copy: Path) -> None:
    """Copy the file to `copy` unless that exists already: the copy holds the original state. Raises OSError."""
    if not copy.exists():
        with replacing(copy) as file:
            shutil.copy2(path, file.name)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path, synced: bool) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        if synced:
            sync(folder.parent)
