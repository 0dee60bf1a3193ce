"""Files that survive a power cut: they hold the old content or the new one, never half of it."""

import ctypes
import errno
import os
from pathlib import Path

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
        _make_folder(self.path.parent)
        descriptor = self._open_spare()
        try:
            self._allocate(descriptor, self._room)
        finally:
            os.close(descriptor)

    def write(self, content: bytes) -> None:
        """Replace the content; it is on disk on return. Raises OSError, and then the content is unchanged.

        More than `room` is accepted as well if the disk has it.
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
            _sync(self.path.parent)
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


def replace_file(path: Path, content: bytes, unfinished: Path) -> None:
    """Write `content` to `path` as a whole, through `unfinished` in the same folder; it is on disk on return.

    Make the folder if it is missing. Raises OSError, and then `path` is unchanged.
    """
    _make_folder(path.parent)
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


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
