"""Copy of the newest backup to a stick, by root, between two untrusted folders.

The service's account may have put anything into the one, the person who prepared the stick anything into the other.
Therefore no link is followed on either side and no path is used: each folder is opened once, its files by name in it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from cabinet.system import backup_names
from cabinet.system.steward import usb_drives
from cabinet.system.steward.machine import Machine, StewardError
from cabinet.system.steward.protocol import BackupCopied

ROOM = 1.1  # free space needed, as a multiple of the backup's size
FOLDER = "cabinet-backups"  # on the drive
STEP_BYTES = 1 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # do not wait for the other end of a pipe
_PART = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PART_MODE = 0o640  # as the configuration: owner root, and the cabinet's group may restore it


def back_up(machine: Machine) -> BackupCopied:
    """Copy the newest backup, sync it and read it back. Raises StewardError, OSError; no partial file remains."""
    with _newest(machine.backups) as (name, source):
        stick = usb_drives.drive_for_backup(machine)
        with (
            usb_drives.mounted(machine, stick, usb_drives.WRITABLE) as place,
            opened(place, os.O_RDONLY | os.O_DIRECTORY) as drive,
        ):
            size, digest = _copy(source, name, drive, place)
    if stick.place is None:  # it was mounted temporarily: the mount point is gone
        return BackupCopied(f"{stick.device}: {FOLDER}/{name}", size, digest, let_go=True)
    return BackupCopied(str(place / FOLDER / name), size, digest)


@contextlib.contextmanager
def opened(path: str | Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """Open `path`, in `folder` if that is given, and yield the descriptor. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, _PART_MODE, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# --- source ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _newest(backups: Path) -> Iterator[tuple[str, int]]:
    """Yield name and descriptor of the newest of the product's own backups."""
    with contextlib.ExitStack() as held:
        try:
            folder = held.enter_context(opened(backups, _FOLDER))
        except FileNotFoundError:
            raise _none_yet(backups) from None
        except OSError as error:
            raise _foreign(backups, error) from error
        made = [name for name in os.listdir(folder) if backup_names.is_backup(name)]
        if not made:
            raise _none_yet(backups)
        name = max(made, key=backup_names.order)
        if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):  # opening a device may have side effects
            raise _foreign(backups / name)
        try:
            source = held.enter_context(opened(name, _SOURCE, folder))
        except OSError as error:
            raise _foreign(backups / name, error) from error
        if not stat.S_ISREG(os.fstat(source).st_mode):  # it was replaced since the check
            raise _foreign(backups / name)
        yield name, source


def _none_yet(backups: Path) -> StewardError:
    return StewardError(f"{backups}: no backup there yet; the service makes one a day", "no_backup_yet")


def _foreign(path: Path, error: OSError | None = None) -> Exception:
    """Return a StewardError if a link or another foreign object blocks a backup; return any other error unchanged."""
    if error is not None and error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
        return error
    text = f"{path}: a link, or another thing that the cabinet does not put there: look who did, and remove it"
    return StewardError(text, "not_ours", path=str(path))


# --- destination -----------------------------------------------------------------------------------------------------


def _copy(source: int, name: str, drive: int, place: Path) -> tuple[int, str]:
    """Copy the backup; return the number of bytes on the drive and their digest."""
    wanted = os.fstat(source).st_size
    if shutil.disk_usage(drive).free < ROOM * wanted:
        kib = str(wanted // 1024)
        raise StewardError(f"{place}: no room for {kib} KiB", "drive_full", kib=kib)
    with contextlib.suppress(FileExistsError):
        os.mkdir(FOLDER, dir_fd=drive)
    part = f"{name}.part"
    with contextlib.ExitStack() as held:
        try:
            folder = held.enter_context(opened(FOLDER, _FOLDER, drive))
        except OSError as error:
            raise _foreign(place / FOLDER, error) from error
        _remove(folder, part, place)  # left if the drive was pulled out during a copy
        copy = held.enter_context(opened(part, _PART, folder))
        try:
            size, digest = _write(source, copy)
            os.posix_fadvise(copy, 0, 0, os.POSIX_FADV_DONTNEED)  # read back from the drive, not from memory
            if _digest(copy) != digest:
                raise StewardError(f"{place}: what was written does not read back; use another", "drive_bad")
            _give_name(folder, part, name, place)
        except BaseException:
            _remove(folder, part, place)
            raise
        os.fsync(folder)
    os.sync()
    return size, digest


def _remove(folder: int, name: str, place: Path) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)  # removes a link itself, not its target
    except OSError as error:
        raise _foreign(place / FOLDER / name, error) from error


def _give_name(folder: int, part: str, name: str, place: Path) -> None:
    """Rename the copy; replaces a file, or a link, of that name."""
    try:
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise _foreign(place / FOLDER / name, error) from error


def _write(source: int, copy: int) -> tuple[int, str]:
    """Copy everything and sync it to the drive; return size and digest."""
    size, digest = 0, hashlib.sha256()
    with os.fdopen(os.dup(copy), "wb") as file:
        while block := os.read(source, STEP_BYTES):
            file.write(block)
            digest.update(block)
            size += len(block)
    os.fsync(copy)
    return size, digest.hexdigest()


def _digest(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    digest = hashlib.sha256()
    while block := os.read(file, STEP_BYTES):
        digest.update(block)
    return digest.hexdigest()
