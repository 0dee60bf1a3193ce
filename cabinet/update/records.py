"""What an update leaves in its folder: the package that is tried, the one to go back to, and how far it has come."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cabinet.errors import CabinetError
from cabinet.update.trial import Trial

FOLDER = Path("/var/lib/cabinet/update")


class Records:
    """The folder, which must be of root alone: what lies in it is run by root."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.incoming = folder / "incoming.deb"  # of a bundle that may still be refused
        self.new = folder / "new.deb"
        self.old = folder / "old.deb"
        self.old_files = folder / "old"
        self._trial = folder / "trial.json"
        self._result = folder / "last.json"

    def check_private(self) -> None:
        """Raises CabinetError where somebody else could have put things into the folder."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = self.folder.lstat()
        except OSError as error:
            raise CabinetError(f"{self.folder}: {error.strerror}: run this as root") from error
        if found.st_uid != os.geteuid() or found.st_mode & 0o077 or self.folder.is_symlink():
            raise CabinetError(f"{self.folder}: is not of root alone: look who made it, then remove it")

    @contextlib.contextmanager
    def alone(self, wait: bool = False) -> Iterator[None]:
        """Held while an update is prepared, and while it is seen through: what one has verified, no other replaces.

        Raises CabinetError where another holds it, unless told to wait for that one.
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

    def load(self) -> Trial | None:
        """The update under way. Raises CabinetError for a file that is none of ours."""
        return self._read(self._trial)

    def last(self) -> Trial | None:
        """The one that ended last."""
        return self._read(self._result)

    def save(self, trial: Trial) -> None:
        """On disk when this returns. Raises CabinetError."""
        self._write(self._trial, trial)

    def end(self, trial: Trial) -> None:
        """It is over: what came of it is kept, and nothing begins at the next boot."""
        self._write(self._result, trial)
        self._trial.unlink(missing_ok=True)
        self._sync()

    def _read(self, path: Path) -> Trial | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Trial)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CabinetError(f"{path}: {error.strerror}: run this as root") from error
        except msgspec.MsgspecError as error:
            raise CabinetError(f"{path}: {error}: remove it, and install the version you want with apt") from error

    def _write(self, path: Path, trial: Trial) -> None:
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(trial))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            self._sync()
        except OSError as error:
            raise CabinetError(f"{path}: {error.strerror}") from error

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
