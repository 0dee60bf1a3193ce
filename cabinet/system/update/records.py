"""Folder of an update: the package on trial, the package to go back to, and the progress."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cabinet.errors import CabinetError, os_error_at
from cabinet.system.atomic_file import replacing, sync
from cabinet.system.update.trial import UpdateRecord

FOLDER = Path("/var/lib/cabinet/update")


class UpdateFolder:
    """Update folder. It must belong to root alone, because root runs its contents."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.incoming = folder / "incoming.deb"  # from a bundle that may still be refused
        self.new = folder / "new.deb"
        self.old = folder / "old.deb"
        self.old_files = folder / "old"
        self._trial = folder / "trial.json"
        self._result = folder / "last.json"

    def check_private(self) -> None:
        """Raise CabinetError if another account could have put files into the folder."""
        with os_error_at(self.folder, ": run this as root"):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = self.folder.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077 or self.folder.is_symlink():
            raise CabinetError(f"{self.folder}: is not of root alone: look who made it, then remove it")

    @contextlib.contextmanager
    def alone(self, wait: bool = False) -> Iterator[None]:
        """Hold the folder while an update is prepared or run: no other process replaces a verified package.

        Raises CabinetError if another process holds it, unless `wait` is set.
        """
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise CabinetError("another update is under way (cabinet update status): wait for its end") from None
            yield
        finally:
            os.close(descriptor)

    def load(self) -> UpdateRecord | None:
        """Return the update under way, or None. Raises CabinetError if the file is not valid."""
        return self._read(self._trial)

    def last(self) -> UpdateRecord | None:
        """Return the update that ended last, or None."""
        return self._read(self._result)

    def save(self, trial: UpdateRecord) -> None:
        """Save the update, synced to disk. Raises CabinetError."""
        self._write(self._trial, trial)

    def end(self, trial: UpdateRecord) -> None:
        """End the update: keep its result; at the next boot nothing resumes."""
        self._write(self._result, trial)
        self._trial.unlink(missing_ok=True)
        sync(self.folder)

    def _read(self, path: Path) -> UpdateRecord | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=UpdateRecord)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CabinetError(f"{path}: {error.strerror}: run this as root") from error
        except msgspec.MsgspecError as error:
            raise CabinetError(f"{path}: {error}: remove it, and install the version you want with apt") from error

    def _write(self, path: Path, trial: UpdateRecord) -> None:
        with os_error_at(path), replacing(path) as file:
            file.write(msgspec.json.encode(trial))
