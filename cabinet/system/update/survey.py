"""Facts about the computer on which a bundle would be installed; `trial.objections` judges them."""

import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from cabinet.errors import CabinetError
from cabinet.system.update import bundle, trial
from cabinet.system.update.records import UpdateFolder

KEYS = Path("/etc/cabinet/update-keys")

Age = Literal["newer", "same", "older"]
T = TypeVar("T")


class ComputerQueries(Protocol):
    """Queries to the computer (`computer.Computer`). All raise CabinetError."""

    def version(self) -> str: ...

    def architecture(self) -> str: ...

    def python(self) -> str: ...

    def switched_off(self) -> bool: ...

    def installed_bytes(self) -> int: ...

    def is_newer(self, version: str, than: str) -> bool: ...

    def comparing(self) -> Generator[None, None, Sequence[str]]:
        """Return the changed files; works in steps."""


def collect_facts(system: ComputerQueries, records: UpdateFolder) -> Generator[None, None, trial.ComputerFacts]:
    """Collect the facts, in steps of less than a second; those on a bundle and on charges stay open. Changes nothing.

    Raises CabinetError.
    """
    under_way = records.load()
    yield
    version, architecture = system.version(), system.architecture()
    yield
    installed = system.installed_bytes()
    folder = records.folder if records.folder.exists() else records.folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CabinetError(f"{folder}: {error.strerror}") from error
    changed = yield from system.comparing()
    return trial.ComputerFacts(
        architecture=architecture,
        python=system.python(),
        version=version,
        free=free,
        installed=installed,
        changed_files=changed,
        on_trial=under_way.new if under_way is not None else None,
        switched_off=system.switched_off(),
    )


def run_to_end(steps: Generator[object, None, T]) -> T:
    """Run all steps and return their result, for a caller with nothing else to do meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def trusted_keys(keys: Path = KEYS) -> bundle.Keys:
    """Return the keys that may sign bundles for this cabinet. Raises CabinetError."""
    try:
        return bundle.keys_in(keys.read_text(encoding="utf-8"), str(keys))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise CabinetError(f"{keys}: {why}: it says who may update this cabinet") from error


def age(system: ComputerQueries, version: str, here: str) -> Age:
    """Compare `version` with `here` in the order of dpkg."""
    if system.is_newer(version, here):
        return "newer"
    return "older" if system.is_newer(here, version) else "same"
